"""Times a quantized graph against its float graph in alternation, from camera frame to result."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.timing import MeasureSettings, Samples, measure
from edgevision.contract.image import Frame
from edgevision.contract.inputs import Tensors
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import open_session
from edgevision.errors import EngineError, GraphError, MissingExtraError

ENGINES = ("onnxruntime", "openvino")
"""Engines that can be timed on the machine that quantizes."""
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class PairedSpeed:
    """Two graphs in one engine: p50 of each in ms, and the median of the rounds' time ratios, float to other."""

    engine: str
    library: str
    float_ms: float
    quantized_ms: float
    ratio: float


def paired_speeds(
    bundle: Path,
    precision: Precision,
    inputs: Sequence[Frame] | Tensors,
    *,
    seconds: float = 4.0,
    engines: Sequence[str] = ENGINES,
) -> tuple[PairedSpeed, ...]:
    """Time a bundle's graph of `precision` against its float graph in every installed engine of `engines`."""
    found = []
    for engine in engines:
        try:
            with (
                open_session(bundle, engine=engine, options=SessionOptions(precision="float")) as left,
                open_session(
                    bundle, engine=engine, options=SessionOptions(precision=precision, force=True)
                ) as right,
            ):
                found.append(paired_speed(left, right, inputs, seconds))
        except (MissingExtraError, EngineError, GraphError):
            continue  # an engine that rejects the graph has no speed; verification reports the reason
    return tuple(found)


def paired_speed(
    reference: Session, other: Session, inputs: Sequence[Frame] | Tensors, seconds: float
) -> PairedSpeed:
    """Time both in alternation for `seconds` in total, so that other load affects both.

    One call is a user's call: fit a camera frame, run inference, and extract its result; with tensors, inference.
    """
    calls = [_call(session, inputs) for session in (reference, other)]
    part = MeasureSettings(seconds / (2 * ROUNDS), 2, 0.0, 0)
    for call in calls:
        measure(call, MeasureSettings(0.0, 2, 0.0, 0))
    rounds = [(measure(calls[0], part), measure(calls[1], part)) for _ in range(ROUNDS)]
    whole = [Samples(tuple(value for pair in rounds for value in pair[side].values_ns)) for side in (0, 1)]
    ratio = statistics.median(a.percentile_ms(50) / b.percentile_ms(50) for a, b in rounds)
    return PairedSpeed(
        engine=reference.info.engine,
        library=reference.info.library,
        float_ms=round(whole[0].percentile_ms(50), 3),
        quantized_ms=round(whole[1].percentile_ms(50), 3),
        ratio=round(ratio, 4),
    )


def _call(session: Session, inputs: Sequence[Frame] | Tensors) -> Callable[[], object]:
    if isinstance(inputs, Tensors):
        return lambda: session.infer(inputs)
    pictures = itertools.cycle(inputs)
    batch = session.spec.batch.opt
    return lambda: session(list(itertools.islice(pictures, batch)))
