"""A logger for TensorRT that keeps errors and warnings and prints nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt

_ERRORS, _WARNINGS = 20, 5000
"""Messages kept. The first of a chain of errors is the cause, and chains are short; warnings come for every tensor."""
_NO_RANGE = "Missing scale and zero-point for tensor"
"""Beginning of TensorRT's warning for a tensor without an INT8 range: https://github.com/NVIDIA/TensorRT/issues/3131.
"""


class Messages:
    """Errors and warnings that the library logged, oldest first."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: deque[str] = deque(maxlen=_WARNINGS)

    def forget_errors(self) -> None:
        """Clear the errors before another attempt."""
        self.errors.clear()

    def distinct_warnings(self) -> tuple[str, ...]:
        """Each warning once, on one line."""
        return tuple(dict.fromkeys(" ".join(message.split()) for message in self.warnings))

    def reason(self) -> str:
        """The errors on one line, without repetitions."""
        distinct = list(dict.fromkeys(message.strip() for message in self.errors))
        return "; ".join(distinct[:3]) or "the library gave no reason"


def logger(library: Library, messages: Messages) -> trt.ILogger:
    """A logger of the library's own class that keeps errors and warnings and prints nothing."""
    base: Any = library.module.ILogger
    severity: Any = base.Severity

    class Log(base):  # type: ignore[misc]  # the base class belongs to the loaded library
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, level: Any, text: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                if len(messages.errors) < _ERRORS:
                    messages.errors.append(text)
            elif level == severity.WARNING:
                messages.warnings.append(text)

    log: trt.ILogger = Log()
    return log


def warned(warnings: tuple[str, ...]) -> str:
    """Warnings on one line: the first three, and the number of missing INT8 ranges."""
    missing = [text for text in warnings if _NO_RANGE in text]
    others = [text for text in warnings if _NO_RANGE not in text]
    parts = [f"no INT8 range for {len(missing)} tensors, whose layers do not run in INT8"] if missing else []
    parts += others[: 3 - len(parts)]
    left = len(others) - len(others[: 3 - bool(missing)])
    return "; ".join(parts) + (f" (and {left} more)" if left else "")
