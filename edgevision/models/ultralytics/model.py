"""Models of the Ultralytics package, rebuilt from its pickled checkpoints.

YOLOv8 to YOLO26, and YOLOv3, v5, v6 in that form; described at https://docs.ultralytics.com/models. Parameter names are
those of the checkpoints: ``model.0.conv.weight``, ``model.22.cv2.0.0.conv.weight``. Architecture, classes, strides and
kind of head come from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import Checkpoint, named_entries, state_dict_from_module
from edgevision.contract.spec import Task
from edgevision.errors import CheckpointError
from edgevision.models.layers.blocks import Joint, fold_norms
from edgevision.models.layers.part import Builder, kind_of
from edgevision.models.layers.trunk import PROBE_PX, Sources, probe, run_trunk, strides_of, trunk_from_module
from edgevision.models.ultralytics.blocks import merge_branches
from edgevision.models.ultralytics.heads import HEADS, HeadKind, SegmentHead, TowerHead
from edgevision.models.ultralytics.heads.segment import fused_proto
from edgevision.models.ultralytics.kinds import ULTRALYTICS_KINDS
from edgevision.models.weights import assign_weights

PACKAGE = "ultralytics"
_ONE_TO_ONE = "one2one_"

HeadName = Literal["one2one", "one2many"]
"""One-to-one heads give each object one box and need no NMS; one-to-many heads do (arXiv 2405.14458)."""


class UltralyticsModel(nn.Module):
    """Float ``[B,3,H,W]`` RGB in 0..1 to logits ``[B,C]`` (classify), or to the raw maps of `TowerHead`.

    `sources` lists the inputs of each layer, -1 being the image. `strides` is empty for a classifier.
    """

    def __init__(self, layers: Sequence[nn.Module], sources: Sources, facts: ModelFacts) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.sources = sources
        self.facts = facts

    def forward(self, x: torch.Tensor) -> Any:
        """Images to logits, or to a list of raw maps."""
        return run_trunk(self.model, self.sources, x)

    @property
    def tower_head(self) -> TowerHead:
        """The head of every model but a classifier."""
        head = self.model[-1]
        assert isinstance(head, TowerHead)
        return head

    @property
    def mask_count(self) -> int:
        """Number of prototypes; 0 for a model without masks."""
        head = self.model[-1]
        return head.mask_count if isinstance(head, SegmentHead) else 0

    def fuse(self) -> UltralyticsModel:
        """Fold normalisations and merge parallel convolutions, in place; outputs change only by rounding."""
        fold_norms(self)
        merge_branches(self)
        return self


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a checkpoint's model."""

    task: Task
    variant: str
    """Such as "yolo11n, 80 classes"."""
    names: tuple[str, ...]
    strides: tuple[int, ...] = ()
    """Input pixels for each cell of each scale, finest first."""
    heads: tuple[HeadName, ...] = ("one2many",)
    """Heads that the file holds; the first is the file's own choice."""
    head: HeadName = "one2many"
    """The head of this model."""
    size: int | None = None
    """Side of the training images, if the file states it."""

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.names)


def is_ultralytics(checkpoint: Checkpoint) -> bool:
    """True if the checkpoint holds a pickled model of the package."""
    return checkpoint.module is not None and checkpoint.module.class_name.startswith(f"{PACKAGE}.")


def ultralytics_from_checkpoint(checkpoint: Checkpoint, head: HeadName | None = None) -> UltralyticsModel:
    """Rebuild the model of a checkpoint, in eval mode; every weight must be used.

    `head` selects one of two heads; None takes the file's choice. Raises `CheckpointError` that names an unknown layer,
    a missing head, or the weights that do not fit.
    """
    try:
        if checkpoint.module is None:
            raise CheckpointError(
                "bare weights, which do not describe their layers; expected the .pt of the ultralytics package"
            )
        return _from_module(checkpoint.module, checkpoint.class_names, head)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _from_module(
    root: PickledObject, class_names: tuple[str, ...], wanted: HeadName | None
) -> UltralyticsModel:
    last = _last_layer(root)
    kind = HEADS.get(kind_of(last))
    if kind is None:
        raise CheckpointError(
            f"its head {last.class_name!a:.120} is not supported; supported: {', '.join(sorted(HEADS))}"
        )
    heads = _heads_of(last)
    chosen = wanted or heads[0]
    if chosen not in heads:
        raise CheckpointError(f"it has no head {chosen}; its heads: {', '.join(heads)}")
    root = _with_last(root, _pruned_head(last, kind, chosen))
    layers, sources = trunk_from_module(root, _builders(), "a model of the ultralytics package")
    strides = _strides(layers, sources)
    tensors = state_dict_from_module(root)
    class_count = _class_count(layers, sources)
    names = class_names if len(class_names) == class_count else tuple(map(str, range(class_count)))
    variant = f"{_variant(root)}, {class_count} {'class' if class_count == 1 else 'classes'}"
    if len(heads) > 1:
        variant += f", head {chosen}"
    facts = ModelFacts(kind.task, variant, names, strides, heads, chosen, _size(root))
    model = UltralyticsModel(layers, sources, facts)
    assign_weights(model, tensors)
    return model.eval()


def _builders() -> Mapping[str, Builder]:
    return {
        **ULTRALYTICS_KINDS,
        "Proto26": fused_proto,
        **{name: kind.build for name, kind in HEADS.items()},
    }


def _last_layer(root: PickledObject) -> PickledObject:
    trunk = dict(named_entries(root, "_modules")).get("model")
    layers = named_entries(trunk, "_modules") if isinstance(trunk, PickledObject) else []
    if not layers or not isinstance(layers[-1][1], PickledObject):
        raise CheckpointError(
            f"holds a {root.class_name!a:.120}, expected a model of the ultralytics package"
        )
    return layers[-1][1]


def _with_last(root: PickledObject, head: PickledObject) -> PickledObject:
    """A copy of the model with another last layer."""
    trunk = dict(named_entries(root, "_modules"))["model"]
    assert isinstance(trunk, PickledObject)
    layers = dict(named_entries(trunk, "_modules"))
    layers[next(reversed(layers))] = head
    return _with_modules(root, {"model": _with_modules(trunk, layers)})


def _with_modules(layer: PickledObject, modules: dict[str, object]) -> PickledObject:
    return PickledObject(layer.class_name, layer.arguments, {**layer.state, "_modules": modules})


def _heads_of(head: PickledObject) -> tuple[HeadName, ...]:
    """The head's branches, the one that the file uses first.

    A fused one-to-one head has lost the other. ``_end2end`` is False where the file was switched to one-to-many.
    """
    present = {name for name, part in named_entries(head, "_modules") if isinstance(part, PickledObject)}
    if f"{_ONE_TO_ONE}cv2" not in present:
        return ("one2many",)
    if "cv2" not in present:
        return ("one2one",)
    return ("one2many", "one2one") if head.state.get("_end2end") is False else ("one2one", "one2many")


def _pruned_head(head: PickledObject, kind: HeadKind, chosen: HeadName) -> PickledObject:
    """The head with one of its branches, under the names of the only one, and without parts for training."""
    modules = dict(named_entries(head, "_modules"))
    dfl = modules.pop("dfl", None)
    if isinstance(dfl, PickledObject):
        _check_bins(dfl)
    ones = {name: part for name, part in modules.items() if name.startswith(_ONE_TO_ONE)}
    modules = {name: part for name, part in modules.items() if name not in ones}
    if chosen == "one2one":
        modules |= {name.removeprefix(_ONE_TO_ONE): part for name, part in ones.items()}
    for path in kind.unused:
        name, _, rest = path.partition(".")
        part = modules.get(name)
        if not rest:
            modules.pop(name, None)
        elif isinstance(part, PickledObject):
            kept = {key: inner for key, inner in named_entries(part, "_modules") if key != rest}
            modules[name] = _with_modules(part, dict(kept))
    return _with_modules(head, modules)


def _check_bins(dfl: PickledObject) -> None:
    """The layer that takes a distribution's mean has the bins' numbers as its weights, or none."""
    for name, tensor in state_dict_from_module(dfl).items():
        if not torch.equal(tensor.flatten(), torch.arange(tensor.numel(), dtype=tensor.dtype)):
            raise CheckpointError(f"dfl.{name[:60]!a} does not count its bins from 0")


class _Inputs(Joint):
    """Returns its maps unchanged."""

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return list(maps)


def _strides(layers: list[nn.Module], sources: Sources) -> tuple[int, ...]:
    if not isinstance(layers[-1], TowerHead):
        return ()
    return strides_of(probe([*layers[:-1], _Inputs()], sources))


def _class_count(layers: list[nn.Module], sources: Sources) -> int:
    """The number of classes, after a check of the head's channels."""
    outputs = probe(layers, sources)
    head = layers[-1]
    if not isinstance(head, TowerHead):
        return int(outputs.shape[1])
    scales = len(sources[-1])
    boxes, classes = outputs[:scales], outputs[scales : 2 * scales]
    counts = {map_.shape[1] for map_ in classes}
    if {map_.shape[1] for map_ in boxes} != {4 * head.bins} or len(counts) != 1:
        raise CheckpointError(
            f"its head has {[map_.shape[1] for map_ in (*boxes, *classes)]} channels, expected {4 * head.bins} for"
            " boxes and equal numbers of classes"
        )
    further = {map_.shape[1] for map_ in outputs[2 * scales : 3 * scales]} if head.further else {0}
    if further != {head.further}:
        raise CheckpointError(f"its third tower has {sorted(further)} channels, expected {head.further}")
    return int(counts.pop())


def _variant(root: PickledObject) -> str:
    """The name of the described architecture, such as "yolo11n"."""
    described = root.state.get("yaml")
    stated = described.get("yaml_file") if isinstance(described, dict) else None
    stem = str(stated).replace("\\", "/").rpartition("/")[2].removesuffix(".yaml")
    return stem if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", stem) and stated else "a model"


def _size(root: PickledObject) -> int | None:
    arguments = root.state.get("args")
    stated = arguments.get("imgsz") if isinstance(arguments, dict) else None
    return stated if type(stated) is int and 32 <= stated <= PROBE_PX * 16 else None
