"""Finds the head of a PyTorch module from its task, its outputs and the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx

from edgevision.contract.spec import BOX_TASKS, Task
from edgevision.errors import GraphError, RecipeError
from edgevision.graph.conventions import DETECTORS, expected_outputs
from edgevision.graph.foreign.network import facts_of
from edgevision.graph.foreign.recognition import match
from edgevision.graph.graft import translator_image
from edgevision.graph.heads import classifier, segmenter
from edgevision.graph.heads.cells.decoded import DecodedHead, decoded_head
from edgevision.graph.heads.head import MOST_CLASSES, DetectionHead, NetworkFacts, NetworkOutput
from edgevision.graph.heads.segmenter import SegmenterHead
from edgevision.models.recipe import SourceModel

Sizes = tuple[int, int]


def with_head(
    source: SourceModel,
    name: str,
    task: Task,
    size_wh: Sizes,
    outputs: tuple[NetworkOutput, ...],
    network: Callable[[], onnx.ModelProto],
) -> SourceModel:
    """The source with its head as an object. `network` exports the module; it is called only for a head given by name.

    Raises `RecipeError` with expected and received outputs if they do not match task, head and classes. `name` is the
    recipe's.
    """
    count = len(source.classes)
    if count > MOST_CLASSES:
        raise RecipeError(
            f"{name}: there are {count:,} class names; at most {MOST_CLASSES:,} classes are supported"
        )
    try:
        if task not in BOX_TASKS:
            _check_without_boxes(task, source, outputs, size_wh)
            return source
        if source.head is None or isinstance(source.head, DecodedHead):
            final = source.head is not None and source.head.suppressed
            return replace(source, head=decoded_head(task, outputs, count, suppressed=final))
        if isinstance(source.head, str):
            return replace(source, head=_named_head(source, source.head, task, size_wh, network))
    except GraphError as error:
        hint = _fitting_heads(task, outputs, size_wh, count) if source.head is None else ""
        raise RecipeError(f"{name}: {error}{hint}") from error
    if source.head.class_count != count:
        raise RecipeError(
            f"{name}: there are {count} class names; its head has {source.head.class_count} classes; make them equal"
        )
    return source


def segmenter_head(outputs: Sequence[NetworkOutput], size_wh: Sizes, class_count: int) -> SegmenterHead:
    """The head that selects the class of each pixel; raises `GraphError` for outputs of other shapes."""
    found = segmenter.recognise(_facts(outputs, size_wh, class_count)) if outputs else None
    if found is None:
        raise GraphError(
            f"task segment of {class_count} classes expects {segmenter.EXPECTED}; received {_listed(outputs)}"
        )
    return found


def detection_head(source: SourceModel) -> DetectionHead | None:
    """The head of a source after `with_head`; None for a classifier and a segmenter."""
    assert not isinstance(source.head, str), "the head is still a name"
    return source.head


def _check_without_boxes(
    task: Task, source: SourceModel, outputs: tuple[NetworkOutput, ...], size_wh: Sizes
) -> None:
    if source.head is not None:
        raise GraphError(f"task {task} expects no head; received {source.head!r}: remove head=")
    if task == "segment":
        segmenter_head(outputs, size_wh, len(source.classes))
    elif task == "translate":
        translator_image(outputs)
    elif classifier.recognise(_facts(outputs, size_wh, len(source.classes))) is None:
        raise GraphError(
            f"task classify of {len(source.classes)} classes expects {classifier.EXPECTED}; received"
            f" {_listed(outputs)}"
        )
    elif len(source.classes) == 1:
        raise GraphError(
            "task classify needs two classes or more: the Softmax of one value is always 1. Export a network that"
            " returns two logits, such as torch.cat((torch.zeros_like(x), x), 1) for the only logit x of a Sigmoid"
        )


def _named_head(
    source: SourceModel, head: str, task: Task, size_wh: Sizes, network: Callable[[], onnx.ModelProto]
) -> DetectionHead:
    names = [
        name for name, convention in DETECTORS.items() if convention.task == task and not convention.packed
    ]
    if head not in names:
        raise GraphError(f"task {task} has no head {head!r}; its heads are {', '.join(names)}")
    facts = facts_of(network(), size_wh, len(source.classes))
    shapes = [facts]
    if source.keypoints is not None:
        shapes = [replace(facts, keypoint_shape=(len(source.keypoints), values)) for values in (3, 2)]
    for known in shapes:
        found = match(head, known)
        if found is not None and found.head is not None:
            return found.head
    raise GraphError(
        f"head {head} of {len(source.classes)} classes expects {expected_outputs(head)}; received"
        f" {_listed(facts.outputs)}"
    )


def _fitting_heads(task: Task, outputs: tuple[NetworkOutput, ...], size_wh: Sizes, count: int) -> str:
    """The library's heads that these shapes match, as a hint."""
    facts = _facts(outputs, size_wh, count)
    names = [
        name
        for name, convention in DETECTORS.items()
        if convention.task == task and not convention.packed and match(name, facts) is not None
    ]
    return f"; these outputs have the shapes of head {' or '.join(names)}: set head=" if names else ""


def _facts(outputs: Sequence[NetworkOutput], size_wh: Sizes, class_count: int) -> NetworkFacts:
    return NetworkFacts(tuple(outputs), size_wh, class_count, frozenset())


def _listed(outputs: Sequence[NetworkOutput]) -> str:
    return "; ".join(map(str, outputs)) or "no output"
