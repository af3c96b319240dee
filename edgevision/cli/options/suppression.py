"""Options for NMS inside a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgevision.cli.options.numbers import FiniteRange
from edgevision.contract.spec import BOX_TASKS, NmsSpec, Task, default_nms
from edgevision.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT = NmsSpec()
_NAMES = ("pre_nms_topk", "max_detections", "iou", "score_threshold", "nms_steps")
_MASKS = default_nms("instances").max_detections


def nms_options(function: F) -> F:
    """Add ``--pre-nms-topk --max-detections --iou --score-threshold --nms-steps``."""
    options = (
        ("--pre-nms-topk", _DEFAULT.candidates, "Number of box-class pairs that enter NMS."),
        (
            "--max-detections",
            None,
            f"Maximum detections per image.  [default: {_DEFAULT.max_detections}; with masks {_MASKS}]",
        ),
        ("--iou", _DEFAULT.iou_threshold, "IoU threshold above which NMS removes a box."),
        ("--score-threshold", _DEFAULT.score_floor, "The graph sets lower scores to 0."),
        (
            "--nms-steps",
            _DEFAULT.depth,
            "Number of unrolled NMS steps. NMS is exact for suppression chains up to this length.",
        ),
    )
    for name, default, text in reversed(options):
        kind = FiniteRange(0, 1) if isinstance(default, float) else click.INT
        function = click.option(name, type=kind, default=default, show_default=True, help=text)(function)
    return function


def check_nms_applies(ctx: click.Context, task: Task) -> None:
    """Raise `UsageError` if an option of `nms_options` was given for a task without NMS."""
    if task in BOX_TASKS:
        return
    for parameter in ctx.command.params:
        given = parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if given and parameter.name in _NAMES:
            raise UsageError(
                f"{parameter.opts[0]} is an option of NMS, and a model with the task {task} has none; omit it"
            )


def nms_spec(
    pre_nms_topk: int,
    max_detections: int | None,
    iou: float,
    score_threshold: float,
    nms_steps: int,
    *,
    task: Task = "detect",
) -> NmsSpec:
    """The NMS settings; `pre_nms_topk` also limits `max_detections`."""
    most = default_nms(task).max_detections if max_detections is None else max_detections
    try:
        return NmsSpec(pre_nms_topk, min(most, pre_nms_topk), iou, score_threshold, nms_steps)
    except ValueError as error:
        raise UsageError(str(error)) from error
