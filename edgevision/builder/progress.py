"""How far a build is, as its builder tells it."""

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
