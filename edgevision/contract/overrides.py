"""Settings stored in a graph as named values, which engines can replace: those of NMS, and the style."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

from edgevision.errors import GraphError, UsageError

IOU_THRESHOLD = "nms.iou_threshold"
SCORE_FLOOR = "nms.score_floor"
"""Names of the scalar float32 initializers that an engine may replace when it loads the graph.

The graph contains nothing that is computed from them alone. Engines fold such values before they replace initializers,
so a replacement would silently have no effect.
"""
LABEL = "style.label"
"""Name of the int64 initializer ``[1]`` that selects one of a network's styles; the same holds for it."""


def label_number(label: str, names: Sequence[str]) -> int:
    """The number of a style given by name or number; raises `UsageError` for a model without styles, or another one."""
    if not names:
        raise UsageError(f"--label {label}: the model has no styles to choose from; omit it")
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise UsageError(f"--label {label}: expected {', '.join(names)}, or a number from 0 to {len(names) - 1}")


def carries(graph: Path, name: str) -> bool:
    """True if the ONNX file contains a value of that name; its bytes are searched, because names are stored as plain
    text.
    """
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(name.encode()) >= 0


def refuse_absent(graph: Path, name: str) -> None:
    """Raise `GraphError` if there is no such value, because an engine might silently ignore the replacement."""
    if not carries(graph, name):
        if name == LABEL:
            raise GraphError(
                f"{graph.name} has no value {name!r} to override: its style is fixed; omit --label"
            )
        raise GraphError(
            f"{graph.name} has no value {name!r} to override: its own network suppresses boxes with fixed settings;"
            " omit the option, or export that network with other settings"
        )
