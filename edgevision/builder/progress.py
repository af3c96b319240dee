"""Tracks the progress of a build from the builder's callbacks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Progress of a build."""

    fraction: float
    """0 to 1, in the builder's own steps, which do not take equal times."""
    phase: str
    """Innermost phase in progress, as named by the builder."""


@dataclass(slots=True)
class _Phase:
    name: str
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Nested phases of a build, reported from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[_Phase] = []
        self._furthest = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase inside `parent` with this number of steps."""
        with self._lock:
            self._open.append(_Phase(name, parent, max(steps, 1)))

    def step(self, name: str, index: int) -> None:
        """Mark step `index` of a phase as done."""
        with self._lock:
            for phase in self._open:
                if phase.name == name:
                    phase.done = max(phase.done, index + 1)

    def finish(self, name: str) -> None:
        """End a phase."""
        with self._lock:
            self._open = [phase for phase in self._open if phase.name != name]

    def progress(self) -> BuildProgress:
        """The share of completed steps; each phase counts as the next step of its parent."""
        with self._lock:
            fraction, width, name = 0.0, 1.0, ""
            parent: str | None = None
            while phase := next((p for p in self._open if p.parent == parent and p.name != parent), None):
                width /= phase.steps
                fraction += width * min(phase.done, phase.steps)
                parent = name = phase.name
            # A parent's step completes just after its last phase was closed: never go back.
            self._furthest = max(self._furthest, min(fraction, 1.0))
            return BuildProgress(self._furthest, name)


def progress_monitor(
    library: Library,
    report: Callable[[BuildProgress], None],
    stop: Callable[[], bool],
    failures: list[BaseException],
) -> trt.IProgressMonitor:
    """A monitor of the library's own class; the builder stops at the next step after `stop` returns True.

    An exception of `report` or `stop` (a closed terminal, an interrupt) must not pass through the library, which would
    end the process. It is appended to `failures` and stops the build.
    """
    phases = Phases()
    base: Any = library.module.IProgressMonitor

    def report_and_continue() -> bool:
        try:
            report(phases.progress())
            return not failures and not stop()
        except BaseException as error:  # raised again after the builder has returned
            failures.append(error)
            return False

    class Monitor(base):  # type: ignore[misc]  # the base class belongs to the loaded library
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)
            report_and_continue()

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return report_and_continue()

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    monitor: trt.IProgressMonitor = Monitor()
    return monitor
