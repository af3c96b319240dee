"""Suppression settings that a graph carries as named values, for engines to replace."""

from __future__ import annotations

import mmap
from pathlib import Path

from edgevision.errors import GraphError

IOU_THRESHOLD = "nms.iou_threshold"
SCORE_FLOOR = "nms.score_floor"
"""Names of the scalar float32 initializers that an engine may replace when it loads the graph.

Nothing computed from them alone is in the graph: a value that depends on constants only is folded by engines
before they look at replaced initializers, and the replacement would be without effect and without a warning.
"""


def carries(graph: Path, name: str) -> bool:
    """True if the ONNX file holds a value of that name: names stand in it as they are, so its bytes are searched."""
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(name.encode()) >= 0


def refuse_absent(graph: Path, name: str) -> None:
    """Raise `GraphError` if there is no such value to replace: an engine might go on without a word."""
    if not carries(graph, name):
        raise GraphError(
            f"{graph.name} has no value {name!r} to override: its own network suppresses boxes, with settings that were"
            " fixed when it was exported; leave the option out, or export that network with others"
        )
