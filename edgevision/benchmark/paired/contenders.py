"""Processes that each hold one open session and time its calls on request.

A process of its own gives each build its own threads, memory and library. It is started again for every pair, because
memory placement and thread placement stay the same for the life of a process and shift its times.
"""

from __future__ import annotations

import itertools
from types import TracebackType

from edgevision.benchmark.builds import Contender
from edgevision.benchmark.inputs import read_batches
from edgevision.benchmark.processes import AnswerConnection, MeasuringProcess
from edgevision.benchmark.timing import MeasureSettings, Samples, measure

WARMUP = MeasureSettings(0.0, 1, warmup_s=0.1, warmup_count=5)
"""After opening: at least this time and count."""


class ContenderProcess:
    """Context manager: a process that opens the contender's session and times its calls."""

    def __init__(self, contender: Contender) -> None:
        self._process = MeasuringProcess(contender.name, _serve, (contender,))

    def __enter__(self) -> ContenderProcess:
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def ready(self) -> None:
        """Wait until the session is open and warm; raises `EngineError`."""
        self._process.receive()

    def measure(self, settings: MeasureSettings) -> Samples:
        """Time calls in the process; raises `EngineError`."""
        self._process.send(settings)
        return Samples(tuple(self._process.receive()))


def _serve(connection: AnswerConnection, contender: Contender) -> None:
    """Body of the process: open, report, then time calls until the connection is closed."""
    with contender.open() as session:
        batches = itertools.cycle(read_batches(contender.inputs_file))

        def call() -> None:
            session.infer(next(batches))

        measure(call, WARMUP)
        connection.send(())
        while True:
            connection.send(measure(call, connection.recv()).values_ns)
