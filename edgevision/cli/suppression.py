"""The options that set non-maximum suppression inside a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgevision.errors import UsageError
from edgevision.spec import NmsSpec

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT = NmsSpec()


def nms_options(function: F) -> F:
    """Add ``--candidates --max-detections --iou --floor --nms-steps``."""
    options = (
        ("--candidates", _DEFAULT.candidates, "Box-class pairs that enter suppression."),
        ("--max-detections", _DEFAULT.max_detections, "Boxes that leave it at most."),
        ("--iou", _DEFAULT.iou_threshold, "IoU above which a box is suppressed."),
        ("--floor", _DEFAULT.score_floor, "Scores under this are answered as 0."),
        (
            "--nms-steps",
            _DEFAULT.depth,
            "Unrolled steps: the longest chain of suppressions resolved exactly.",
        ),
    )
    for name, default, text in reversed(options):
        kind = click.INT if isinstance(default, int) else click.FLOAT
        function = click.option(name, type=kind, default=default, show_default=True, help=text)(function)
    return function


def nms_spec(candidates: int, max_detections: int, iou: float, floor: float, nms_steps: int) -> NmsSpec:
    """The settings; fewer candidates than `max_detections` mean that at most all of them leave."""
    try:
        return NmsSpec(candidates, min(max_detections, candidates), iou, floor, nms_steps)
    except ValueError as error:
        raise UsageError(str(error)) from error
