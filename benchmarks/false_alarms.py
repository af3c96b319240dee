"""False alarms and detections of `edgevision bench --against`, on this machine with its noise.

Run from a checkout: ``python -m benchmarks.false_alarms``. Half of the comparisons measure one build against itself,
the other half against itself with a planted slow-down, in turns. The slowed build computes longer: after each call it
keeps the CPU busy for the planted share of the call's own CPU time, which leaves out the time of other programs. With
one thread of the engine, all of its work counts. Exit code 1 if more than 5 % of the equal builds are called different,
or fewer than 95 % of the slowed ones are called slower.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgevision
from edgevision.benchmark.builds import Contender
from edgevision.benchmark.inputs import write_batches
from edgevision.benchmark.paired.pairs import GROUPS, PAIRS, PairOptions, TimedPair, run_pairs
from edgevision.bundle.folder import Bundle
from edgevision.bundle.packaged import bundle_path
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session, SessionOptions
from edgevision.contract.spec import utc_now
from edgevision.device.facts import DeviceFacts, device_facts
from edgevision.engines.opening import ENGINES, open_session
from edgevision.storage import atomic
from edgevision.storage.codec import json_text

if TYPE_CHECKING:
    from edgevision.benchmark.paired.verdict import Verdict

MOST_ALARMS = 0.05
LEAST_FOUND = 0.95


class Slowed(Session):
    """A session whose calls compute longer by a share of their own CPU time, in the calling thread."""

    def __init__(self, inner: Session, share: float) -> None:
        super().__init__(inner.spec, inner.info)
        self.inner = inner
        self.share = share

    def _infer(self, frames: Frames) -> Outputs:
        began_ns = time.thread_time_ns()
        outputs = self.inner.infer(frames)
        now_ns = time.thread_time_ns()
        until_ns = now_ns + (now_ns - began_ns) * self.share
        while time.thread_time_ns() < until_ns:
            pass
        return outputs

    def close(self) -> None:
        """Close the inner session."""
        self.inner.close()


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One comparison."""

    planted: float
    change: float
    low: float
    high: float
    p: float
    """Corrected for the number of looks."""
    certainty: str
    slower: bool
    pair_changes: tuple[float, ...]
    """New over base minus 1, in each pair."""
    wall_s: float
    load: float
    """Load average of the last minute."""


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """All comparisons on one machine."""

    created: str
    edgevision: str
    device: DeviceFacts
    model: str
    engine: str
    threads: int
    pairs: int
    """Of a group."""
    groups: int
    """Maximum number of groups."""
    seconds: float
    turns: int
    rows: tuple[ComparisonRow, ...]


def open_slowed(path: Path, engine: str, threads: int, share: float) -> Session:
    """Open the build with a planted slow-down, which may be 0: the wrapper itself must not make a difference."""
    return Slowed(open_session(path, engine=engine, options=SessionOptions(threads=threads)), share)


def compared(base: Contender, new: Contender, options: PairOptions, planted: float) -> ComparisonRow:
    """Run and judge one comparison."""
    # Local import: each measuring process imports this module, and SciPy takes a second.
    from edgevision.benchmark.paired.verdict import judge_pairs

    began_s = time.perf_counter()

    def judged(pairs: Sequence[TimedPair]) -> Verdict:
        before, after = zip(*(pair.medians_ms() for pair in pairs), strict=True)
        return judge_pairs(before, after, looks=options.groups)

    pairs = run_pairs(base, new, options, decided=lambda pairs: judged(pairs).decided(None))
    verdict = judged(pairs)
    change = verdict.change
    return ComparisonRow(
        planted=planted,
        change=round(change.estimate, 5),
        low=round(change.low, 5),
        high=round(change.high, 5),
        p=change.p,
        certainty=verdict.certainty,
        slower=verdict.slower,
        pair_changes=tuple(
            round(after / before - 1, 5) for before, after in (pair.medians_ms() for pair in pairs)
        ),
        wall_s=round(time.perf_counter() - began_s, 2),
        load=round(os.getloadavg()[0], 2),
    )


def prepared_frames(bundle: Bundle, folder: Path) -> Path:
    """Golden frames as batches of one; the included bundles have a static batch of 1."""
    path = folder / "inputs.npz"
    write_batches(path, list(bundle.golden().frames[:, None]))
    return path


def main() -> None:
    """Compare, print every verdict and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="cnn")
    parser.add_argument("--engine", choices=ENGINES, default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1, help="more: the slow-down is of one of them")
    parser.add_argument("--comparisons", type=int, default=40, help="of each kind")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--groups", type=int, default=GROUPS, help="maximum number of groups of pairs")
    parser.add_argument("--seconds", type=float, default=9.0, help="of each build in a group of pairs")
    parser.add_argument("--slow", type=float, default=8.0, help="planted slow-down in %%")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    share = arguments.slow / 100
    path = bundle_path(Path(arguments.bundle))
    rows: list[ComparisonRow] = []
    with tempfile.TemporaryDirectory(prefix="edgevision-benchmark-") as folder:
        frames = prepared_frames(Bundle.open(path), Path(folder))
        build = (path, arguments.engine, arguments.threads)
        plain = Contender("plain", functools.partial(open_slowed, *build, 0.0), frames)
        slowed = Contender("slowed", functools.partial(open_slowed, *build, share), frames)
        for number in range(arguments.comparisons):
            for planted, new in ((0.0, plain), (share, slowed)):
                options = PairOptions(
                    arguments.pairs,
                    arguments.seconds,
                    seed=2 * number + (planted > 0),
                    groups=arguments.groups,
                )
                rows.append(row := compared(plain, new, options, planted))
                print(
                    f"{number + 1:>3}  planted {planted:4.0%}: {row.change:+.1%} ({row.low:+.1%} to {row.high:+.1%}),"
                    f" p = {row.p:.2g},"
                    f" {len(row.pair_changes)} pairs, {row.certainty}; {row.wall_s:.0f} s, load {row.load:.1f}",
                    flush=True,
                )
    alarms = sum(row.certainty != "not sure" for row in rows if not row.planted)
    found = sum(row.slower for row in rows if row.planted)
    count = arguments.comparisons
    print(f"false alarms: {alarms} of {count}; slow-downs of {arguments.slow:g} % found: {found} of {count}")
    if arguments.json is not None:
        record = AlarmRecord(
            created=utc_now(),
            edgevision=edgevision.__version__,
            device=device_facts(),
            model=arguments.bundle,
            engine=arguments.engine,
            threads=arguments.threads,
            pairs=arguments.pairs,
            groups=arguments.groups,
            seconds=arguments.seconds,
            turns=PairOptions().turns,
            rows=tuple(rows),
        )
        atomic.write_file(arguments.json, json_text(record).encode())
    sys.exit(0 if alarms <= MOST_ALARMS * count and found >= LEAST_FOUND * count else 1)


if __name__ == "__main__":
    main()
