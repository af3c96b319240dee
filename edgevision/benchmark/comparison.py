"""Compares all engines and graphs of a bundle that pass verification on this machine.

The candidates are timed in one process in rounds: in each round every candidate runs for the same time, so that other
load affects all of them. The first call of a round is discarded, because the previous candidate's threads may still
spin and the caches hold its data.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgevision.benchmark.timing import MeasureSettings, Samples, measure
from edgevision.bundle.fastest import LEAST_ROUNDS, ROUNDS, Excluded, Timing
from edgevision.bundle.folder import Bundle, Golden
from edgevision.bundle.selection import latest_verification
from edgevision.contract.inputs import Batch
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.machine_class import machine_class
from edgevision.device.names import DeviceName
from edgevision.engines.choices import EngineComparison, facts_here
from edgevision.engines.fastest import BUILT
from edgevision.engines.opening import compared_engines, device_of, open_session
from edgevision.engines.precisions import precisions_of
from edgevision.errors import EngineError, GraphError, MissingExtraError, VerificationError, first_line
from edgevision.verification.first_opening import store_record, with_cached_records
from edgevision.verification.golden import verify_session

SECONDS = 5.0
"""Default time of a comparison, for all candidates together."""
LEAST_CALLS = 1
"""Timed calls of a candidate in a round."""
PATIENCE = 2
"""A comparison with `ROUNDS` rounds may take this many times as long as requested; else it has `LEAST_ROUNDS`."""

Opener = Callable[[Bundle, str, SessionOptions], Session]


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """Settings of a comparison."""

    command: str
    """The command that measures, for later messages."""
    seconds: float = SECONDS
    """For all candidates together, without opening and verifying them. Slow networks take longer: at least
    `LEAST_ROUNDS` rounds of `LEAST_CALLS` calls."""
    threads: int | None = None
    device: DeviceName | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """An open session that passed verification."""

    session: Session
    precision: Precision
    batches: tuple[Batch, ...]


def _open(bundle: Bundle, engine: str, options: SessionOptions) -> Session:
    return open_session(bundle.path, engine=engine, options=options)


def compare_engines(
    bundle: Bundle,
    options: ComparisonOptions,
    *,
    opener: Opener = _open,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> EngineComparison:
    """Verify and time every graph in every installed engine.

    A graph without a record of this engine version on this class of machine runs its golden frames first. Raises
    `VerificationError` if nothing passes, `MissingExtraError` if no engine is installed.
    """
    bundle = with_cached_records(bundle)
    golden = bundle.golden()
    device = None if options.device is None else str(options.device)
    opening = SessionOptions(threads=options.threads, device=device)
    with contextlib.ExitStack() as stack:
        candidates: list[_Candidate] = []
        excluded: list[Excluded] = []
        for engine in compared_engines(options.device):
            for precision in precisions_of(bundle, engine):
                # The golden frames run below; a built engine has its own record.
                wanted = replace(opening, precision=precision, force=engine not in BUILT)
                try:
                    session = stack.enter_context(opener(bundle, engine, wanted))
                    _verify(session, bundle, precision, golden)
                except MissingExtraError:
                    break
                except VerificationError as error:
                    excluded.append(Excluded(engine, precision, "failed verification", first_line(error)))
                except (EngineError, GraphError) as error:
                    excluded.append(Excluded(engine, precision, "cannot run", first_line(error)))
                else:
                    candidates.append(_Candidate(session, precision, _batches(session, golden)))
        if not candidates and excluded:
            reasons = "; ".join(f"{one.name}: {one.detail}" for one in excluded)
            raise VerificationError(f"no engine can run {bundle.path}: {reasons}")
        if not candidates:
            on_cpu = options.device is None or options.device.kind == "cpu"
            package, extra = ("onnxruntime", "cpu") if on_cpu else ("onnxruntime-gpu", "gpu")
            raise MissingExtraError(package, extra, options.command)
        timings = _timed(candidates, options, clock_ns)
    return EngineComparison(
        created=utc_now(),
        command=options.command,
        facts=facts_here(bundle, options.threads, device),
        timings=tuple(timings),
        excluded=tuple(excluded),
    )


def _verify(session: Session, bundle: Bundle, precision: Precision, golden: Golden) -> None:
    """Raise `VerificationError` unless the graph passed in this version of the engine on this class of machine.

    A built engine has its own record, which opening it checks.
    """
    engine = session.info.engine
    if engine in BUILT:
        return
    here = machine_class(engine, session.info.gpu_index)
    record = latest_verification(bundle.graph(precision), engine, here)
    if record is None or (record.machine_class, record.library) != (here, session.info.library):
        record = verify_session(session, golden, precision=precision)
        store_record(bundle, precision, record)
    if not record.passed:
        raise VerificationError(record.failures)


def _batches(session: Session, golden: Golden) -> tuple[Batch, ...]:
    """Golden inputs in batches: the cost of NMS depends on the content."""
    size, count = session.spec.batch.opt, len(golden.inputs)
    return tuple(golden.inputs[np.arange(start, start + size) % count] for start in range(count))


def _timed(
    candidates: Sequence[_Candidate], options: ComparisonOptions, clock_ns: Callable[[], int]
) -> list[Timing]:
    seconds = options.seconds
    calls = [_call(candidate) for candidate in candidates]
    first = [measure(call, MeasureSettings(0.0, LEAST_CALLS, 0.0, 1), clock_ns=clock_ns) for call in calls]
    slowest_round_s = sum(samples.total_s / LEAST_CALLS * (LEAST_CALLS + 1) for samples in first)
    rounds = ROUNDS if slowest_round_s * ROUNDS <= PATIENCE * seconds else LEAST_ROUNDS
    part = MeasureSettings(seconds / rounds / len(calls), LEAST_CALLS, 0.0, 1)
    samples = [[measure(call, part, clock_ns=clock_ns) for call in calls] for _ in range(rounds)]
    return [
        _timing(candidate, device_of(candidate.session.info.engine, options.device), own)
        for candidate, own in zip(candidates, zip(*samples, strict=True), strict=True)
    ]


def _call(candidate: _Candidate) -> Callable[[], object]:
    batches = itertools.cycle(candidate.batches)
    return lambda: candidate.session.infer(next(batches))


def _timing(candidate: _Candidate, device: DeviceName, rounds: Sequence[Samples]) -> Timing:
    whole = Samples(tuple(value for samples in rounds for value in samples.values_ns))
    info = candidate.session.info
    return Timing(
        engine=info.engine,
        library=info.library,
        precision=candidate.precision,
        device=str(device),
        rounds_ms=tuple(round(samples.percentile_ms(50), 4) for samples in rounds),
        median_ms=round(whole.percentile_ms(50), 4),
        p90_ms=round(whole.percentile_ms(90), 4),
    )
