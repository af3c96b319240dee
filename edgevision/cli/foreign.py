"""The error for an ONNX file that another program exported: it names the command that adopts the file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgevision.errors import EdgevisionError

_LARGEST_BYTES = 256 << 20
"""Larger files are not read for the sake of an error message."""
_TIMEOUT_S = 5.0


def with_remedy(error: EdgevisionError) -> str:
    """The message of an error; for a graph without a spec with its head and the command to type."""
    from edgevision.contract.embedded_spec import MissingSpecError

    if not isinstance(error, MissingSpecError) or not _recognisable(error.graph):
        return str(error)
    return _with_head(error.graph) or str(error)


def _recognisable(graph: Path) -> bool:
    """True if the packages that read a graph are installed (a device may lack them), and the file is not too large."""
    packages = ("onnx", "onnxslim", "onnxruntime")
    if any(importlib.util.find_spec(package) is None for package in packages):
        return False
    return graph.stat().st_size <= _LARGEST_BYTES


def _with_head(graph: Path) -> str | None:
    from edgevision.contract.embedded_spec import adopt_command
    from edgevision.graph.foreign.network import UnknownSizeError, read_foreign
    from edgevision.graph.foreign.recognition import AmbiguousHeadError, recognise

    try:
        found = recognise(read_foreign(graph, timeout_s=_TIMEOUT_S))
    except UnknownSizeError:
        known, options = "its input has no fixed size", ["--size WxH"]
    except AmbiguousHeadError:
        known, options = "several heads fit it", ["--head HEAD"]
    except Exception:  # whatever prevents the recognition, the first error must be shown
        return None
    else:
        known, options = str(found), [] if found.class_count else ["--class-names FILE"]
    return f"{graph} has no edgevision spec ({known}); run: {adopt_command(graph, *options)}"
