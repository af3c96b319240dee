"""How far a build is, as its builder tells it, and a log that keeps what went wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevision.build.library import Library

if TYPE_CHECKING:
    import tensorrt as trt

_KEPT = 20
"""Messages kept: the first of a chain of errors is the cause, and chains are shorter than this."""


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Where a build is."""

    fraction: float
    """0 to 1, by the builder's own steps, which do not take equal times."""
    phase: str
    """The innermost phase that is under way, in the builder's words."""


@dataclass(slots=True)
class _Phase:
    name: str
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Nested phases of a build, told by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[_Phase] = []
        self._furthest = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside `parent`, with so many steps."""
        with self._lock:
            self._open.append(_Phase(name, parent, max(steps, 1)))

    def step(self, name: str, index: int) -> None:
        """Step `index` of a phase is done."""
        with self._lock:
            for phase in self._open:
                if phase.name == name:
                    phase.done = max(phase.done, index + 1)

    def finish(self, name: str) -> None:
        """A phase ends."""
        with self._lock:
            self._open = [phase for phase in self._open if phase.name != name]

    def progress(self) -> BuildProgress:
        """The share of steps that are done, each phase taking its place in the next step of its parent."""
        with self._lock:
            fraction, width, name = 0.0, 1.0, ""
            parent: str | None = None
            while phase := next((p for p in self._open if p.parent == parent and p.name != parent), None):
                width /= phase.steps
                fraction += width * min(phase.done, phase.steps)
                parent = name = phase.name
            # A step of a parent ends a moment after its last phase was closed: never go back.
            self._furthest = max(self._furthest, min(fraction, 1.0))
            return BuildProgress(self._furthest, name)


def progress_monitor(
    library: Library,
    report: Callable[[BuildProgress], None],
    stop: Callable[[], bool],
    failures: list[BaseException],
) -> trt.IProgressMonitor:
    """A monitor of the library's own kind; the builder gives up at the next step after `stop` says so.

    What `report` or `stop` raises (a closed terminal, an interrupt) must not pass through the library, which would end
    the process: it is put into `failures`, and ends the build.
    """
    phases = Phases()
    base: Any = library.module.IProgressMonitor

    def told() -> bool:
        try:
            report(phases.progress())
            return not failures and not stop()
        except BaseException as error:  # raised again when the builder has returned
            failures.append(error)
            return False

    class Monitor(base):  # type: ignore[misc]  # a class of whichever library is loaded
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)
            told()

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return told()

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    monitor: trt.IProgressMonitor = Monitor()
    return monitor


_NO_RANGE = "Missing scale and zero-point for tensor"
"""How TensorRT begins to say that a tensor's INT8 range is not known: https://github.com/NVIDIA/TensorRT/issues/3131."""


class Messages:
    """Errors and warnings that the library logged, oldest first."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=_KEPT)
        self.warnings: deque[str] = deque(maxlen=_KEPT)

    def distinct_warnings(self) -> tuple[str, ...]:
        """Each warning once, in one line."""
        return tuple(dict.fromkeys(" ".join(message.split()) for message in self.warnings))

    def reason(self) -> str:
        """The errors in one line; what the library repeats in other words is left out."""
        distinct = list(dict.fromkeys(message.strip() for message in self.errors))
        return "; ".join(distinct[:3]) or "the library gave no reason"


def logger(library: Library, messages: Messages) -> trt.ILogger:
    """A logger of the library's own kind that keeps errors and warnings and prints nothing."""
    base: Any = library.module.ILogger
    severity: Any = base.Severity

    class Log(base):  # type: ignore[misc]  # a class of whichever library is loaded
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, level: Any, text: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                messages.errors.append(text)
            elif level == severity.WARNING:
                messages.warnings.append(text)

    log: trt.ILogger = Log()
    return log


def warned(warnings: tuple[str, ...]) -> str:
    """Warnings in one line: the first three, and how many ranges of INT8 are missing."""
    missing = [text for text in warnings if _NO_RANGE in text]
    others = [text for text in warnings if _NO_RANGE not in text]
    said = [f"no INT8 range for {len(missing)} tensors, whose layers do not run in INT8"] if missing else []
    said += others[: 3 - len(said)]
    left = len(others) - len(others[: 3 - bool(missing)])
    return "; ".join(said) + (f" (and {left} more)" if left else "")
