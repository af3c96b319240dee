"""Recognises the head of a third-party network from its outputs, operators and metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgevision.errors import GraphError
from edgevision.graph.conventions import (
    CLASSIFIER,
    DETECTORS,
    HEADS,
    IMAGE,
    NOTABLE,
    SEGMENTER,
    TASKS,
    expected_outputs,
    known_heads,
)
from edgevision.graph.foreign import images
from edgevision.graph.foreign.network import FLOATS, ForeignNetwork
from edgevision.graph.heads import classifier, segmenter
from edgevision.graph.heads.head import MOST_CLASSES, DetectionHead, NetworkFacts, NetworkOutput
from edgevision.graph.heads.keypoint_maps import reason_against
from edgevision.graph.heads.segmenter import SegmenterHead
from edgevision.graph.surgery import RENAMED

_SHOWN_OUTPUTS = 4


@dataclass(frozen=True, slots=True)
class Recognition:
    """The head of a network, and the reason."""

    name: str
    """One of `conventions.HEADS`."""
    head: DetectionHead | None
    """None for a classifier, a segmenter and an image."""
    class_count: int
    """0: the outputs do not show it, and there are no class names."""
    reason: str
    """One line, such as "one output [1, 84, 8400], 80 classes"."""
    segmenter: SegmenterHead | None = None
    wrong_choice: str = ""
    """Of a chosen head that is in doubt while exactly one other fits: the error of its use."""

    def __str__(self) -> str:
        return f"head {self.name}: {self.reason}"


class AmbiguousHeadError(GraphError):
    """A network that several heads fit."""


def recognise(source: ForeignNetwork, wanted: str | None = None) -> Recognition:
    """The head of a network; `wanted` is the user's choice, which has to match the shapes.

    Without a choice, a head must be free of doubt, and be the only one. Raises `GraphError` for an unsuitable choice,
    `AmbiguousHeadError` if several heads fit, and `GraphError` if none does.
    """
    matching = _matching(source)
    if wanted is not None and wanted not in matching:
        raise _not_the_head(source, wanted)
    doubts = {name: reason for name in matching if (reason := _doubt(source.facts, name)) is not None}
    fitting = [found for name, found in matching.items() if name not in doubts]
    if wanted is not None:
        found = matching[wanted]
        if wanted in doubts and len(fitting) == 1:
            name = source.path.name
            wrong = f"{name} has the head {fitting[0].name!r}, not {wanted!r}: {doubts[wanted]}; omit --head"
            return replace(found, wrong_choice=wrong)
        return found
    if len(fitting) > 1:
        raise _ambiguous(source, fitting)
    if not fitting:
        raise _no_head(source, doubts)
    (found,) = fitting
    notable = {name: reason for name, reason in doubts.items() if name in NOTABLE}
    excluded = "".join(f"; not {name}: {reason}" for name, reason in notable.items())
    return replace(found, reason=found.reason + excluded)


def _matching(source: ForeignNetwork) -> dict[str, Recognition]:
    """Every head whose shapes and task match."""
    task, facts = source.metadata.task, source.facts
    if not facts.outputs:
        return {}
    heads = HEADS if task is None else TASKS.get(task, ())
    if facts.plugin is not None:
        heads = tuple(name for name in heads if name == "tensorrt-nms")
    found = {name: match(name, facts) for name in heads}
    return {name: one for name, one in found.items() if one is not None}


def match(name: str, facts: NetworkFacts) -> Recognition | None:
    """The head of this name if the shapes match."""
    if name == CLASSIFIER:
        count = classifier.recognise(facts)
        return None if count is None else Recognition(name, None, count, _reason(facts, count))
    if name == SEGMENTER:
        mask = segmenter.recognise(facts)
        if mask is None:
            return None
        return Recognition(name, None, mask.class_count, _reason(facts, mask.class_count), mask)
    if name == IMAGE:
        factor = images.recognise(facts)
        return (
            None
            if factor is None
            else Recognition(name, None, 0, f"{_shapes(facts)}, {factor} times the input")
        )
    head = DETECTORS[name].recognise(facts)
    if head is None:
        return None
    return Recognition(name, head, head.class_count, _reason(facts, head.class_count))


def _excluded_by_names(source: ForeignNetwork) -> str:
    """Lines for the heads that only the number of class names excludes, with both numbers; empty if there is none."""
    given = source.facts.class_count
    if given is None:
        return ""
    free = _matching(replace(source, facts=replace(source.facts, class_count=None)))
    lines = [
        f"  {name}: the outputs have {_classes(found.class_count)}, but there are {given} class names"
        for name, found in free.items()
        if found.class_count and match(name, source.facts) is None
    ]
    if not lines:
        return ""
    remedy = "Give one name a class with --class-names FILE"
    return "\nExcluded by the number of class names:\n" + "\n".join(lines) + f"\n{remedy}."


def _doubt(facts: NetworkFacts, name: str) -> str | None:
    """Why a head whose shapes match probably is another one."""
    first = facts.outputs[0]
    length = first.shape[0]
    packed = name in DETECTORS and DETECTORS[name].packed
    if not packed and facts.batch is not None and length not in (None, facts.batch):
        return f"the first length of {first} is not the batch, {facts.batch}"
    if len(facts.outputs) == 1 and first.dtype not in FLOATS and name != SEGMENTER:
        return f"the output is {first.dtype}, expected float32 or float16"
    if name == SEGMENTER:
        return segmenter.doubt(facts)
    if name == IMAGE:
        return images.doubt(facts)
    return classifier.doubt(facts) if name == CLASSIFIER else DETECTORS[name].doubt(facts)


def _reason(facts: NetworkFacts, class_count: int) -> str:
    seen = _shapes(facts)
    if not class_count:
        return f"{seen}, unknown number of classes"
    return f"{seen}, {_classes(class_count)}"


def _shapes(facts: NetworkFacts) -> str:
    shapes = [str(output).removeprefix(f"{output.name} {output.dtype} ") for output in facts.outputs]
    if len(shapes) == 1:
        seen = f"one output {shapes[0]}"
    else:
        named = [
            f"{_own_name(output).name} {shape}" for output, shape in zip(facts.outputs, shapes, strict=True)
        ]
        more = ", ..." if len(named) > _SHOWN_OUTPUTS else ""
        seen = f"{len(named)} outputs {', '.join(named[:_SHOWN_OUTPUTS])}{more}"
    if facts.plugin is not None:
        seen = f"{facts.plugin} of {seen}"
    return seen


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}"


def _ambiguous(source: ForeignNetwork, fitting: list[Recognition]) -> AmbiguousHeadError:
    rows = [f"  {found.name}: {found.reason} ({expected_outputs(found.name)})" for found in fitting]
    return AmbiguousHeadError(
        f"{len(fitting)} heads fit {source.path.name}; choose one with --head HEAD:\n" + "\n".join(rows)
    )


def _no_head(source: ForeignNetwork, doubts: dict[str, str]) -> GraphError:
    """The error that lists the outputs, heads with matching shapes, and the known heads."""
    task, name = source.metadata.task, source.path.name
    what = f"no head fits {name}.{_task_line(source)}"
    if task is not None and task not in TASKS:
        supported = ", ".join(map(repr, TASKS))
        what = f"{name} is a model for the task {task!r}, as its metadata states; adopt supports {supported}."
    elif (keypoints := reason_against(source.facts)) is not None:
        what += f" Its {keypoints}."
    elif task == "pose" and source.facts.keypoint_shape is None:
        what += " It has no kpt_shape: state it with --keypoints KxD, such as 17x3."
    lines = [f"  {head}: {reason}" for head, reason in doubts.items()]
    doubted = "\nMatching shapes, but (--head HEAD to use it anyway):\n" + "\n".join(lines) if lines else ""
    return GraphError(f"{what}\n{_seen(source)}{doubted}{_excluded_by_names(source)}\n{_known()}")


def _not_the_head(source: ForeignNetwork, wanted: str) -> GraphError:
    """The error that lists the actual outputs and the known heads."""
    fitting = [name for name in _matching(source) if name != wanted]
    hint = f"\nHeads that match these shapes: {', '.join(fitting)}" if fitting else ""
    return GraphError(
        f"the outputs of {source.path.name} do not match head {wanted!r}.{_task_line(source)}\n"
        f"{_seen(source)}{_excluded_by_names(source)}\n{_known()}{hint}"
    )


def _task_line(source: ForeignNetwork) -> str:
    return f" The task in the file is {source.metadata.task!r}." if source.metadata.task else ""


def _seen(source: ForeignNetwork) -> str:
    width, height = source.facts.size_wh
    named = f" and names {len(source.classes)} classes" if source.classes else ""
    outputs = "\n".join(f"  {_own_name(output)}" for output in source.facts.outputs) or "  none"
    return f"It takes {width}x{height}{named}; its outputs:\n{outputs}{_limit_line(source.facts)}"


def _limit_line(facts: NetworkFacts) -> str:
    """A line on an output that is a classifier's but for its number of classes; else empty."""
    count = classifier.output_classes(facts.outputs[0]) if len(facts.outputs) == 1 else None
    if count is None or count <= MOST_CLASSES:
        return ""
    return f"\nAs a classifier it has {count:,} classes; at most {MOST_CLASSES:,} are supported."


def _own_name(output: NetworkOutput) -> NetworkOutput:
    """An output with its name in the file, which may be one that the contract reserves."""
    return replace(output, name=output.name.removeprefix(RENAMED))


def _known() -> str:
    return f"Heads with their expected outputs:\n{known_heads()}"
