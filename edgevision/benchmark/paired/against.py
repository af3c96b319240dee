"""Measures one build against another: bundles, graphs or engines, in interleaved pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import edgevision
from edgevision.benchmark.builds import Build, BuildRecord, FrameOpener, prepared
from edgevision.benchmark.paired.pairs import PairOptions, TimedPair, rounded_percent, run_pairs
from edgevision.benchmark.paired.record import PairedRecord, PairSettings
from edgevision.benchmark.source_state import git_state
from edgevision.benchmark.stability import MachineWatch, instabilities
from edgevision.benchmark.timing import Samples
from edgevision.contract.spec import COMPUTED, Precision, utc_now
from edgevision.device.facts import device_facts
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.engines.opening import ENGINES
from edgevision.errors import UsageError

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def other_build(text: str, build: Build) -> Build:
    """The build that `text` names: an engine, a precision and a path, each optional, separated by commas.

    What it does not name is as in `build`. Raises `UsageError`.
    """
    path: Path | None = None
    engine, precision = build.engine, build.options.precision
    for part in text.split(","):
        if part in ENGINES:
            engine = part
        elif part in PRECISIONS:
            precision = part
        elif path is None and part:
            path = Path(part)
        else:
            raise UsageError(
                f"--against {text!r}: expected a bundle, an engine or a precision, such as other_bundle, openvino, int8"
                " or openvino,int8"
            )
    if path is not None and path.suffix == ".onnx" and precision not in COMPUTED:
        precision = None  # a file has one graph
    other = Build(path or build.path, engine, replace(build.options, precision=precision))
    if other == build:
        raise UsageError(f"--against {text!r} is the build itself; name another bundle, engine or precision")
    return other


def unequal_inputs(base: BuildRecord, new: BuildRecord) -> tuple[str, ...]:
    """What the builds compute besides a different speed: inputs of different sizes."""
    if base.input_wh == new.input_wh:
        return ()
    before, after = (f"{width}x{height}" for width, height in (base.input_wh, new.input_wh))
    return (
        f"the networks' inputs differ: base {before}, new {after}; the change is that of the size too, and accuracy"
        " differs as well (edgevision eval)",
    )


def measure_against(
    base: Build,
    new: Build,
    frames: FrameOpener,
    options: PairOptions,
    scratch: Path,
    progress: Callable[[str], None] = lambda _: None,
    decided: Callable[[Sequence[float], Sequence[float]], bool] = lambda _base, _new: False,
) -> PairedRecord:
    """Run the pairs. `scratch` receives the prepared frames. Raises the errors of `open_session`.

    `decided` receives the values of base and new in all pairs, in ms per frame, and ends the measurement if it is true.
    """
    power = power_state()
    for warning in before_timing(power):
        progress(f"WARNING: {warning}")
    base_side, base_contender, source = prepared(base, frames, scratch / "base.npz")
    new_side, new_contender, _ = prepared(new, frames, scratch / "new.npz")
    unequal = unequal_inputs(base_side, new_side)
    for warning in unequal:
        progress(f"WARNING: {warning}")

    def each(number: int, pair: TimedPair) -> None:
        before, after = pair.medians_ms()
        change = (after / new_side.batch) / (before / base_side.batch) - 1
        least = math.ceil(number / options.pairs) * options.pairs
        progress(f"pair {number} of {least}: {rounded_percent(change)}")

    def enough(pairs: Sequence[TimedPair]) -> bool:
        before, after = zip(*(pair.medians_ms() for pair in pairs), strict=True)
        return decided([ms / base_side.batch for ms in before], [ms / new_side.batch for ms in after])

    with MachineWatch() as watch:
        pairs = run_pairs(base_contender, new_contender, options, each, enough)
    calls = Samples(tuple(value for pair in pairs for value in pair.base.values_ns()))
    unstable = (*instabilities(calls, watch.snapshots), *meanwhile(power, power_state()))
    session = new.options
    return PairedRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        base=base_side,
        new=new_side,
        device=device_facts(),
        settings=PairSettings(
            source=source,
            pairs=options.pairs,
            seconds=options.seconds,
            turns=options.turns,
            seed=options.seed,
            threads=session.threads,
            spin=session.spin,
            groups=options.groups,
        ),
        pairs=pairs,
        unstable=tuple(dict.fromkeys(unstable)),
        power=power,
        warnings=(*unequal, *before_timing(power)),
        snapshots=watch.snapshots,
        git=git_state(),
    )
