"""Models of the Ultralytics package as `SourceModel`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from edgevision.checkpoint.reading import Checkpoint
from edgevision.errors import CheckpointError
from edgevision.export.sources import source_with_names, spread_logits, take_statistics
from edgevision.graph.heads import AnchorFreeHead, AnchorFreeObbHead, AnchorFreePoseHead
from edgevision.models.recipe import SourceModel
from edgevision.models.ultralytics.decode import decode, decode_keypoints, decode_oriented, rows_of
from edgevision.models.ultralytics.heads import ObbHead, PoseTowers
from edgevision.models.ultralytics.model import HeadName, UltralyticsModel, ultralytics_from_checkpoint

_SIZE = 640
_CLASSIFIER_SIZE, _CLASSIFIER_STRIDE = 224, 32


def source_from_checkpoint(checkpoint: Checkpoint, head: HeadName | None = None) -> SourceModel:
    """The model of a checkpoint with its task and size; `head` selects one of its heads, None takes its own choice."""
    model = ultralytics_from_checkpoint(checkpoint, head)
    names = model.facts.heads if len(model.facts.heads) > 1 else ()
    heads: dict[str, Callable[[], SourceModel]] = {
        name: functools.partial(source_from_checkpoint, checkpoint, name) for name in names
    }
    try:
        return replace(source_of(model), heads=heads)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def source_of(model: UltralyticsModel) -> SourceModel:
    """A model with folded normalisation, and its decoding in plain PyTorch."""
    model.fuse()
    facts = model.facts
    if facts.task == "classify":
        source = source_with_names(model, facts.variant, facts.class_count, facts.names)
        side, stride = facts.size or _CLASSIFIER_SIZE, _CLASSIFIER_STRIDE
        return replace(
            source, task="classify", fit="center-crop", size_wh=_square(side, stride), stride=stride
        )
    return SourceModel(
        model,
        facts.variant,
        facts.names,
        _graph_head(model),
        functools.partial(_plain, model),
        task=facts.task,
        size_wh=_square(facts.size or _SIZE, max(facts.strides)),
        stride=max(facts.strides),
    )


def _graph_head(model: UltralyticsModel) -> AnchorFreeHead:
    facts, head = model.facts, model.tower_head
    common = facts.strides, facts.class_count, head.bins, facts.head == "one2one"
    if isinstance(head, PoseTowers):
        return AnchorFreePoseHead(*common, keypoint_shape=(head.points, head.values), centred=head.centred)
    if isinstance(head, ObbHead):
        return AnchorFreeObbHead(*common, logit=head.logit)
    return AnchorFreeHead(*common, mask_count=model.mask_count)


def with_random_statistics(model: UltralyticsModel) -> UltralyticsModel:
    """Make a randomly initialised detector respond to image content, in place: see `randomize_statistics`."""
    maps, scales = take_statistics(model), len(model.facts.strides)
    for place, (name, mean) in enumerate((("cv2", 0.0), ("cv3", -3.5))):
        for number in range(scales):
            conv = model.tower_head.get_submodule(f"{name}.{number}.2")
            logits = maps[place * scales + number]
            channels = logits.shape[1]
            spread_logits(conv, logits, torch.full((channels,), mean), torch.ones(channels))
    return model


def _plain(model: UltralyticsModel, outputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Boxes and scores; with keypoints of a pose, or with coefficients of instances."""
    head, strides = model.tower_head, model.facts.strides
    count = len(strides)
    sides, classes, further = (outputs[start : start + count] for start in range(0, 3 * count, count))
    if isinstance(head, ObbHead):
        return decode_oriented(sides, classes, further, strides, logit=head.logit)
    found = decode(sides, classes, strides)
    if isinstance(head, PoseTowers):
        shape = (head.points, head.values)
        return (*found, decode_keypoints(further, strides, shape, centred=head.centred))
    return (*found, rows_of(further)) if model.mask_count else found


def _square(side: int, stride: int) -> tuple[int, int]:
    """A square of at least this side whose side is a multiple of the stride."""
    side = -(-side // stride) * stride
    return side, side
