"""A classifier of torchvision or timm as `SourceModel`."""

from __future__ import annotations

from dataclasses import replace

import torch

from edgevision.checkpoint.config_beside import NAME, config_beside, label_names
from edgevision.checkpoint.reading import Checkpoint
from edgevision.errors import CheckpointError
from edgevision.export.sources import source_with_names, take_statistics
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.classifiers.family import Classifier, Family, classifier_from_state_dict
from edgevision.models.classifiers.timm_config import TimmConfig
from edgevision.models.recipe import SourceModel


def recognised_source(family: Family, checkpoint: Checkpoint) -> SourceModel:
    """A family's classifier from a state dict, with the input of timm's ``config.json`` or of its library's weights."""
    found = classifier_from_state_dict(family, checkpoint.tensors)
    config = config_beside(checkpoint.path)
    stated = TimmConfig.of(config, family.name, found.class_count) if found.library == "timm" else None
    if family.tf_models and (
        checkpoint.path.name.startswith("tf_") or (stated is not None and stated.pads_like_tensorflow)
    ):
        raise CheckpointError(
            f"{checkpoint.path}: timm's tf_ models pad their maps on other sides, which a state dict does not show;"
            " export it to ONNX with timm and run `edgevision adopt`"
        )
    names = checkpoint.class_names
    if stated is not None:
        expected = stated.over(found.expected, fixed_size=family.fixed_size)
        found = replace(found, expected=expected, input_origin=f"stated in {NAME}: {stated.architecture}")
        names = names or label_names(config, found.class_count)
    return _of_classifier(found, names)


def random_source(family: Family, class_count: int = 1000) -> SourceModel:
    """A family's smallest member with random weights of seed 0 that responds to image content."""
    torch.manual_seed(0)
    shape = family.smallest
    expected = family.expected(shape, "torchvision")
    module = shape.build(class_count)
    logits = torch.as_tensor(take_statistics(module, expected.size_wh))
    head = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        head.weight /= logits.std()  # scores that differ, but not only 0 and 1
    return _of_classifier(Classifier(module.eval(), shape, "torchvision", class_count, expected), ())


def _of_classifier(found: Classifier, class_names: tuple[str, ...]) -> SourceModel:
    expected = found.expected
    variant = f"{found.shape.name} ({found.library}), {found.class_count} classes"
    return replace(
        source_with_names(found.module, variant, found.class_count, class_names),
        size_wh=expected.size_wh,
        pixels=PixelFormat("rgb", 1 / 255, expected.mean, expected.std),
        crop_fraction=expected.crop_fraction,
        input_origin=found.input_origin,
    )
