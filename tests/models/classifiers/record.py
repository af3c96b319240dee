"""Records names, shapes and logits of torchvision, timm and transformers, so that tests need none of them.

Run it to refresh ``facts.json``, in an environment with torch, torchvision, timm and transformers::

    python -m tests.models.classifiers.record

It was run with torch 2.13.0, torchvision 0.28.0, timm 1.0.31 and transformers 5.24.0.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch

from tests.models.classifiers.library_names import CASES, CLASSES, SIDE, facts_of, images, seeded_state
from tests.models.segformer_names import SEGFORMER_IMAGE, SMALL_SEGFORMER

TORCHVISION = (
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    *(f"efficientnet_b{number}" for number in range(5)),
    *("convnext_tiny", "convnext_small", "convnext_base", "vit_b_16", "vit_b_32"),
    *(f"regnet_{kind}_{size}" for kind in "xy" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf")),
)
TIMM = (
    *("mobilenetv2_050", "mobilenetv2_100", "mobilenetv2_140"),
    *("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100", "mobilenetv3_large_100"),
    *(f"efficientnet_b{number}" for number in range(5)),
    *("convnext_tiny", "convnext_small", "convnext_base"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch32_224"),
    *("vit_base_patch16_224", "vit_base_patch32_224"),
    *(
        f"regnet{kind}_{size}"
        for kind in "xy"
        for size in ("002", "004", "006", "008", "016", "032", "040", "064", "080")
    ),
)
SEGFORMER: dict[str, dict[str, Any]] = {
    "SegFormer-B0": {},
    "SegFormer-B1": {"hidden_sizes": [64, 128, 320, 512]},
    "SegFormer-B2": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 4, 6, 3],
        "decoder_hidden_size": 768,
    },
}


def _model(case: str) -> Any:
    """The library's model of a case."""
    library, _, name = case.partition("/")
    models = importlib.import_module("torchvision.models" if library == "torchvision" else "timm")
    if case == "torchvision/mobilenet_v2 x0.35":
        return models.MobileNetV2(num_classes=CLASSES, width_mult=0.35)
    if case == "torchvision/convnext":
        block = importlib.import_module("torchvision.models.convnext").CNBlockConfig
        rows = [block(16, 32, 1), block(32, 64, 1), block(64, 128, 2), block(128, None, 1)]
        return models.convnext.ConvNeXt(rows, num_classes=CLASSES)
    if case == "torchvision/vit":
        return models.VisionTransformer(SIDE, 16, 2, 3, 192, 768, num_classes=CLASSES)
    if case == "timm/convnext":
        return models.models.convnext.ConvNeXt(
            depths=(1, 1, 2, 1), dims=(16, 32, 64, 128), num_classes=CLASSES
        )
    if case == "timm/vit":
        transformer = models.models.vision_transformer.VisionTransformer
        return transformer(SIDE, 16, embed_dim=192, depth=2, num_heads=3, num_classes=CLASSES)
    if library == "timm":
        return models.create_model(name, num_classes=CLASSES)
    return getattr(models, name)(num_classes=CLASSES)


def _segformer(**settings: Any) -> Any:
    transformers = importlib.import_module("transformers")
    config = transformers.SegformerConfig(num_labels=CLASSES, **settings)
    return transformers.SegformerForSemanticSegmentation(config)


def _sizes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.8g}") for value in values.flatten().tolist()]


def main() -> None:
    """Write ``facts.json``."""
    torchvision = importlib.import_module("torchvision.models")
    timm = importlib.import_module("timm")
    names = {f"torchvision/{name}": facts_of(_sizes(getattr(torchvision, name)())) for name in TORCHVISION}
    names |= {f"timm/{name}": facts_of(_sizes(timm.create_model(name))) for name in TIMM}
    names |= {name: facts_of(_sizes(_segformer(**settings))) for name, settings in SEGFORMER.items()}
    logits = {}
    for case in CASES:
        model = _model(case).eval()
        model.load_state_dict(seeded_state(_sizes(model)))
        with torch.inference_mode():
            logits[case] = _rounded(model(images()))
    model = _segformer(**SMALL_SEGFORMER).eval()
    model.load_state_dict(seeded_state(_sizes(model)))
    with torch.inference_mode():
        logits["segformer"] = _rounded(model(images(SEGFORMER_IMAGE)).logits[:, :, ::4, ::4])
    text = json.dumps({"names": names, "logits": logits}, indent=1)
    (Path(__file__).parent / "facts.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
