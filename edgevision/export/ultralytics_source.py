"""Models of the Ultralytics package as `SourceModel`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from edgevision.checkpoint.reading import Checkpoint
from edgevision.contract.results import Outputs
from edgevision.contract.spec import NmsSpec, Task
from edgevision.errors import CheckpointError
from edgevision.export.sources import classifier_source, spread_logits, take_statistics
from edgevision.graph.heads import AnchorFreeHead, AnchorFreeObbHead, AnchorFreePoseHead
from edgevision.models.detections import detections, detections_and_rows, values_of_rows
from edgevision.models.masks import Mixture, mixture_of_detections
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
    """A model with folded normalisation; the plain reference does decoding and NMS."""
    model.fuse()
    facts = model.facts
    if facts.task == "classify":
        source = classifier_source(model, facts.variant, facts.class_count, facts.names)
        side, stride = facts.size or _CLASSIFIER_SIZE, _CLASSIFIER_STRIDE
        return replace(
            source, task="classify", fit="center-crop", size_wh=_square(side, stride), stride=stride
        )
    return SourceModel(
        model,
        facts.variant,
        facts.names,
        functools.partial(_ANSWERS[facts.task], model),
        _graph_head(model),
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


def _detections(model: UltralyticsModel, tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
    assert nms is not None, "a detector needs NMS settings"
    return detections(*_decoded(model, model(tensor)), nms, suppress=model.facts.head != "one2one")


def _mixture(model: UltralyticsModel, tensor: torch.Tensor, nms: NmsSpec | None) -> Mixture:
    assert nms is not None, "a detector needs NMS settings"
    *maps, prototypes = model(tensor)
    scales = len(model.facts.strides)
    return mixture_of_detections(
        *_decoded(model, maps),
        rows_of(maps[2 * scales :]),
        prototypes,
        nms,
        suppress=model.facts.head != "one2one",
    )


def _poses(model: UltralyticsModel, tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
    assert nms is not None, "a detector needs NMS settings"
    head = model.tower_head
    assert isinstance(head, PoseTowers)
    maps = model(tensor)
    strides, shape = model.facts.strides, (head.points, head.values)
    points = decode_keypoints(maps[2 * len(strides) :], strides, shape, centred=head.centred)
    suppress = model.facts.head != "one2one"
    found, rows = detections_and_rows(*_decoded(model, maps), nms, suppress=suppress)
    return (*found, values_of_rows(points, rows, nms.max_detections))


def _oriented(model: UltralyticsModel, tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
    assert nms is not None, "a detector needs NMS settings"
    head = model.tower_head
    assert isinstance(head, ObbHead)
    maps, strides = model(tensor), model.facts.strides
    sides, classes, angles = (
        maps[start : start + len(strides)] for start in range(0, len(maps), len(strides))
    )
    boxes, scores = decode_oriented(sides, classes, angles, strides, logit=head.logit)
    return detections(boxes, scores, nms, suppress=model.facts.head != "one2one")


def _decoded(model: UltralyticsModel, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    scales = len(model.facts.strides)
    return decode(maps[:scales], maps[scales : 2 * scales], model.facts.strides)


_ANSWERS: Mapping[Task, Callable[[UltralyticsModel, torch.Tensor, NmsSpec | None], Outputs | Mixture]] = {
    "detect": _detections,
    "instances": _mixture,
    "pose": _poses,
    "obb": _oriented,
}


def _square(side: int, stride: int) -> tuple[int, int]:
    """A square of at least this side whose side is a multiple of the stride."""
    side = -(-side // stride) * stride
    return side, side
