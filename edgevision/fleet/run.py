"""Runs a benchmark on all devices at once; a device that dies, hangs or disagrees is reported and not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import edgevision
from edgevision.benchmark.record_files import read_record
from edgevision.errors import UsageError
from edgevision.fleet.devices import Device
from edgevision.fleet.node import Answer, NodeOptions
from edgevision.fleet.package import BundlePackage
from edgevision.storage import atomic

POLL_S = 1.0


class DeviceLostError(Exception):
    """A device does not answer any more; for the report."""


class Fleet(Protocol):
    """Calls to devices, which `cluster.RayFleet` makes through Ray."""

    def start(self, device: Device) -> Any:
        """Begin work on a device, without waiting; returns a handle for calls."""

    def put(self, data: bytes) -> Any:
        """Give data to the cluster; devices fetch them by the reference that is returned."""

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of `FleetNode`, without waiting; returns a reference to its answer."""

    def ready(self, references: Sequence[Any], seconds: float) -> Sequence[Any]:
        """The references that have an answer, or a failure, after at most this time."""

    def answer(self, reference: Any) -> Answer:
        """The answer; raises `DeviceLostError` if the device died."""

    def stop(self, handle: Any) -> None:
        """End the work on a device, without waiting."""


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What became of one device: a record, or a problem."""

    device: Device
    record: Path | None = None
    problem: str | None = None


Steps = Generator[tuple[str, tuple[Any, ...]], Answer, Path]


@dataclass(slots=True)
class _Run:
    """The steps of one device."""

    device: Device
    handle: Any
    steps: Steps
    step: str = ""
    since_s: float = 0.0


class _StepError(Exception):
    """A step failed on a device that still answers."""


@dataclass(slots=True)
class FleetBench:
    """One benchmark of a bundle on a fleet."""

    fleet: Fleet
    bundle: BundlePackage
    options: NodeOptions
    folder: Path
    """Receives one record for each device, ``NAME.json``."""
    step_timeout_s: float
    """A device that finishes no step for so long is lost."""
    progress: Callable[[str], None] = lambda _: None
    clock_s: Callable[[], float] = time.monotonic
    _shipped: list[Any] = field(default_factory=list)

    def run(self, devices: Sequence[Device]) -> tuple[DeviceResult, ...]:
        """Run all steps on all devices at once; results in the order of the devices."""
        results: dict[str, DeviceResult] = {}
        waiting: dict[Any, _Run] = {}
        for device in devices:
            run = _Run(device, self.fleet.start(device), self._steps(device))
            self._advance(run, None, waiting, results)
        try:
            while waiting:
                for reference in self.fleet.ready(list(waiting), POLL_S):
                    run = waiting.pop(reference)
                    try:
                        answer = self.fleet.answer(reference)
                    except DeviceLostError as error:
                        self._finish(run, results, problem=f"lost during {run.step}: {error}")
                    else:
                        self._advance(run, answer, waiting, results)
                self._drop_overdue(waiting, results)
        finally:
            for run in waiting.values():
                self.fleet.stop(run.handle)
        return tuple(results[device.node_id] for device in devices)

    def _steps(self, device: Device) -> Steps:
        """The calls to a device, in order; each receives its answer."""
        answer = yield "version", ()
        if answer.text != edgevision.__version__:
            raise _StepError(
                f"has edgevision {answer.text}; expected {edgevision.__version__}: install it there"
            )
        if not (yield "has", (self.bundle.digest,)).text:
            yield "store", (self.bundle.digest, self._reference())
        ready = yield "prepare", (self.bundle.digest, self.options)
        self.progress(f"{device.name}: verified, {ready.text}")
        record = yield "bench", (self.options,)
        return self._write(device, record.text)

    def _reference(self) -> Any:
        """The bundle in the cluster, where it is put once."""
        if not self._shipped:
            self._shipped.append(self.fleet.put(self.bundle.data))
        return self._shipped[0]

    def _write(self, device: Device, text: str) -> Path:
        path = self.folder / f"{device.name}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, text.encode())
        try:
            record = read_record(path)
        except UsageError as error:
            path.unlink()
            raise _StepError(f"returned no record: {error}") from error
        if record.graph_sha256 not in self.bundle.graphs:
            path.unlink()
            raise _StepError(f"measured another graph: sha256 {record.graph_sha256}")
        return path

    def _advance(
        self, run: _Run, answer: Answer | None, waiting: dict[Any, _Run], results: dict[str, DeviceResult]
    ) -> None:
        """Check the answer to a step and begin the next one."""
        if answer is not None and answer.problem is not None:
            kind = "disagrees" if answer.differs else f"failed to {run.step}"
            self._finish(run, results, problem=f"{kind}: {answer.problem}")
            return
        try:
            run.step, arguments = next(run.steps) if answer is None else run.steps.send(answer)
        except StopIteration as done:
            self._finish(run, results, record=done.value)
        except _StepError as error:
            self._finish(run, results, problem=str(error))
        else:
            run.since_s = self.clock_s()
            waiting[self.fleet.call(run.handle, run.step, *arguments)] = run

    def _drop_overdue(self, waiting: dict[Any, _Run], results: dict[str, DeviceResult]) -> None:
        now_s = self.clock_s()
        for reference, run in list(waiting.items()):
            if now_s - run.since_s > self.step_timeout_s:
                del waiting[reference]
                self._finish(run, results, problem=f"no answer to {run.step} for {self.step_timeout_s:g} s")

    def _finish(
        self,
        run: _Run,
        results: dict[str, DeviceResult],
        *,
        record: Path | None = None,
        problem: str | None = None,
    ) -> None:
        results[run.device.node_id] = DeviceResult(run.device, record, problem)
        self.progress(f"{run.device.name}: {problem or f'wrote {record}'}")
        self.fleet.stop(run.handle)
