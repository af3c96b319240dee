"""Runs one scenario of MLPerf's LoadGen on a session, in a process of its own.

LoadGen decides when queries are issued, times them and writes its logs. This module answers them, in LoadGen's thread.
In the server scenario another thread answers, because queries arrive at random while others run.
"""

from __future__ import annotations

import importlib.metadata
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlperf_loadgen as lg
import numpy as np

from edgevision.benchmark.builds import Contender
from edgevision.benchmark.inputs import read_batches
from edgevision.benchmark.paired.contenders import WARMUP
from edgevision.benchmark.processes import AnswerConnection
from edgevision.benchmark.scenarios.options import Scenario, ScenarioOptions
from edgevision.benchmark.timing import MeasureSettings, measure
from edgevision.contract.inputs import Batch, joined
from edgevision.contract.session import Session

SCENARIO_NAMES: dict[Scenario, str] = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}
Sample = tuple[int, int]
"""LoadGen's identity of a sample in a query, and its index among the frames."""
TRIAL = MeasureSettings(0.3, 5, 0.0, 0)
"""Calls that estimate the speed before the test."""
MARGIN = 1.1
"""Offline sends so many times the samples that the estimated speed needs for the minimum time."""


@dataclass(frozen=True, slots=True)
class LoadGenRun:
    """Totals of a finished test; its logs hold the times."""

    samples: int
    wall_s: float
    """From the first issue to the last answer."""
    settings: tuple[tuple[str, str], ...]
    """LoadGen's settings, as given to it."""
    version: str


def run_loadgen(
    connection: AnswerConnection,
    contender: Contender,
    scenario: Scenario,
    options: ScenarioOptions,
    logs: Path,
) -> None:
    """Body of the process: sends one `LoadGenRun`."""
    several = options.samples_per_query if scenario == "multi-stream" else 1
    with contender.open() as session:
        inputs = joined(read_batches(contender.inputs_file))
        system = SystemUnderTest(session, inputs)

        def query() -> None:
            most = session.spec.batch.max
            for start in range(0, several, most):
                system.run([n % len(inputs) for n in range(start, min(start + most, several))])

        measure(query, WARMUP)
        settings = loadgen_settings(scenario, options, measure(query, TRIAL).percentile_ms(50) / 1e3)
        _start(system, settings, len(inputs), logs, threaded=scenario == "server")
    connection.send(
        LoadGenRun(
            samples=system.samples,
            wall_s=(system.last_ns - system.first_ns) / 1e9,
            settings=described(settings),
            version=importlib.metadata.version("mlcommons-loadgen"),
        )
    )


def loadgen_settings(scenario: Scenario, options: ScenarioOptions, query_s: float) -> lg.TestSettings:
    """LoadGen's settings; `query_s` is the estimated time of a query."""
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, SCENARIO_NAMES[scenario])
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = round(options.min_duration_s * 1e3)
    settings.min_query_count = options.min_queries
    settings.max_query_count = options.max_queries or 0
    settings.single_stream_expected_latency_ns = round(query_s * 1e9)
    settings.multi_stream_expected_latency_ns = round(query_s * 1e9)
    settings.multi_stream_samples_per_query = options.samples_per_query
    settings.offline_expected_qps = MARGIN / query_s
    settings.server_target_qps = options.target_rate or 0.5 / query_s
    settings.server_target_latency_ns = round(options.target_latency_ms * 1e6)
    return settings


def described(settings: lg.TestSettings) -> tuple[tuple[str, str], ...]:
    """All plain settings with their values."""
    names = [
        name for name in dir(settings) if not name.startswith("_") and not callable(getattr(settings, name))
    ]
    return tuple((name, str(getattr(settings, name))) for name in names)


class SystemUnderTest:
    """Answers LoadGen's queries with a session. The rows of `inputs` are the samples."""

    def __init__(self, session: Session, inputs: Batch) -> None:
        self._session = session
        self._inputs = inputs
        self.samples = 0
        self.first_ns = 0
        self.last_ns = 0

    def run(self, indices: Sequence[int]) -> None:
        """Infer at most a batch of samples; a static batch is filled by repetition."""
        batch = self._session.spec.batch
        padded = [*indices, *[indices[-1]] * (batch.min - len(indices))]
        self._session.infer(self._inputs[np.array(padded)])

    def answer(self, issued_ns: int, samples: Sequence[Sample]) -> None:
        """Infer the samples of one query and report each batch to LoadGen when it is finished."""
        self.first_ns = self.first_ns or issued_ns
        most = self._session.spec.batch.max
        for start in range(0, len(samples), most):
            part = samples[start : start + most]
            self.run([index for _, index in part])
            self.last_ns = time.perf_counter_ns()
            lg.QuerySamplesComplete([lg.QuerySampleResponse(identity, 0, 0) for identity, _ in part])
        self.samples += len(samples)


def _start(
    system: SystemUnderTest, settings: lg.TestSettings, count: int, logs: Path, *, threaded: bool
) -> None:
    """Run the test; returns when all queries are answered and the logs are written."""
    waiting: queue.SimpleQueue[tuple[int, list[Sample]] | None] = queue.SimpleQueue()

    def issue(queries: Sequence[lg.QuerySample]) -> None:
        samples = [(query.id, query.index) for query in queries]
        if threaded:
            waiting.put((time.perf_counter_ns(), samples))
        else:
            system.answer(time.perf_counter_ns(), samples)

    def serve() -> None:
        while (query := waiting.get()) is not None:
            system.answer(*query)

    output = lg.LogOutputSettings()
    output.outdir = str(logs)
    output.copy_summary_to_stdout = False
    log_settings = lg.LogSettings()
    log_settings.log_output = output
    log_settings.enable_trace = True  # the only log with the time of every query
    thread = threading.Thread(target=serve, name="answers")
    thread.start()
    sut = lg.ConstructSUT(issue, lambda: None)
    samples = lg.ConstructQSL(count, count, lambda _: None, lambda _: None)
    try:
        lg.StartTestWithLogSettings(sut, samples, settings, log_settings)
    finally:
        waiting.put(None)
        thread.join()
        lg.DestroyQSL(samples)
        lg.DestroySUT(sut)
