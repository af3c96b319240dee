"""State dicts of torchvision and timm without these libraries: their names and shapes, and seeded random values."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgevision.models.classifiers import convnext, efficientnet, mobilenet_v2, mobilenet_v3, regnet, vit
from edgevision.models.classifiers.family import Family, Library, Shape

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "facts.json").read_text())
"""Recorded by `record.py`: ``names`` and ``logits``."""
FAMILIES: dict[str, Family] = {
    "mobilenet_v2": mobilenet_v2.FAMILY,
    "mobilenet_v3": mobilenet_v3.FAMILY,
    "efficientnet": efficientnet.FAMILY,
    "convnext": convnext.FAMILY,
    "regnet": regnet.FAMILY,
    "vit": vit.FAMILY,
}
CLASSES = 7

Sizes = dict[str, tuple[int, ...]]
"""Shapes by name."""

_CONVNEXT = convnext.ConvNextShape((1, 1, 2, 1), (16, 32, 64, 128))
_VIT = vit.VitShape(192, 2, 16, 4)
CASES: dict[str, tuple[str, Shape]] = {
    "torchvision/mobilenet_v2 x0.35": ("mobilenet_v2", mobilenet_v2.MobileNetV2Shape(0.35)),
    "torchvision/mobilenet_v3_small": ("mobilenet_v3", mobilenet_v3.MobileNetV3Shape("small")),
    "torchvision/mobilenet_v3_large": ("mobilenet_v3", mobilenet_v3.MobileNetV3Shape("large")),
    "torchvision/efficientnet_b0": ("efficientnet", efficientnet.FAMILY.smallest),
    "torchvision/convnext": ("convnext", _CONVNEXT),
    "torchvision/vit": ("vit", _VIT),
    "torchvision/regnet_x_400mf": (
        "regnet",
        regnet.RegNetShape("x", "400MF", (1, 2, 7, 12), (32, 64, 160, 400), 16),
    ),
    "torchvision/regnet_y_400mf": (
        "regnet",
        regnet.RegNetShape("y", "400MF", (1, 3, 6, 6), (48, 104, 208, 440), 8),
    ),
    "timm/mobilenetv2_035": ("mobilenet_v2", mobilenet_v2.MobileNetV2Shape(0.35)),
    "timm/mobilenetv3_small_050": ("mobilenet_v3", mobilenet_v3.MobileNetV3Shape("small", 0.5)),
    "timm/mobilenetv3_large_075": ("mobilenet_v3", mobilenet_v3.MobileNetV3Shape("large", 0.75)),
    "timm/efficientnet_b0": ("efficientnet", efficientnet.FAMILY.smallest),
    "timm/convnext": ("convnext", _CONVNEXT),
    "timm/vit": ("vit", _VIT),
    "timm/regnetx_002": ("regnet", regnet.FAMILY.smallest),
    "timm/regnety_002": (
        "regnet",
        regnet.RegNetShape("y", "200MF", (1, 1, 4, 7), (24, 56, 152, 368), 8),
    ),
}
"""Small models whose logits are recorded, as family and shape."""
SIDE = 64
"""Side of their images."""


def library_of(case: str) -> Library:
    """The library of a case's name."""
    return "timm" if case.startswith("timm/") else "torchvision"


def family_with(name: str, shape: Shape) -> Family:
    """The family with one more member."""
    family = FAMILIES[name]
    return family if callable(family.shapes) else replace(family, shapes=(*family.shapes, shape))


@functools.cache
def _our_sizes(shape: Any, class_count: int) -> Sizes:
    with torch.device("meta"):
        state = shape.build(class_count).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def library_sizes(shape: Shape, class_count: int, library: Library) -> Sizes:
    """Names and shapes of the library's state dict: ours, with timm's names and axes where these differ."""
    key: Any = shape  # frozen, so that it is hashable
    ours = _our_sizes(key, class_count)
    if library == "torchvision":
        return dict(ours)
    theirs = {ours: theirs for theirs, ours in shape.timm_layers().items()}
    sizes: Sizes = {}
    for name, size in ours.items():
        layer, _, leaf = name.rpartition(".")
        found = theirs[name] if name in theirs else f"{theirs[layer]}.{leaf}"
        if found == "conv_head.weight" and len(size) == 2:
            size = (*size, 1, 1)  # MobileNetV3's second last layer is a convolution there
        sizes[found] = size[:1] if found.endswith(".gamma") else size
    return sizes


def facts_of(sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Number of parameters, and sha256 of the sorted lines ``name d0 d1 ...``."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    lines = sorted(" ".join((name, *map(str, size))) for name, size in sizes.items())
    return {
        "parameters": sum(math.prod(size) for name, size in sizes.items() if not name.endswith(buffers)),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def seeded_state(sizes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Random values that depend on names and shapes only, and keep maps at a moderate scale."""
    state: dict[str, torch.Tensor] = {}
    for name, size in sorted(sizes.items()):
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])))
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(size, dtype=torch.int64)
            continue
        low, high = _range(name, size)
        values = low + (high - low) * rng.random(size, np.float32)
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def _range(name: str, size: tuple[int, ...]) -> tuple[float, float]:
    if name.endswith("running_var"):
        return 0.5, 2.0
    if name.endswith(("gamma", "layer_scale")) or (len(size) == 1 and name.endswith("weight")):
        return 0.5, 1.5
    if name.endswith(("fc2.bias", "conv_expand.bias")) and "mlp" not in name:
        return 1.0, 3.0  # of squeeze-and-excitation: gates that let most of the map pass
    if len(size) < 2 or name.endswith(("token", "pos_embedding", "pos_embed")):
        return -0.2, 0.2
    bound = math.sqrt(6 / math.prod(size[1:]))
    return -bound, bound


def images(side: int = SIDE) -> torch.Tensor:
    """Two images of noise."""
    rng = np.random.Generator(np.random.PCG64(0))
    return torch.from_numpy(2 * rng.random((2, 3, side, side), np.float32) - 1)
