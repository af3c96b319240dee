"""Checks that profiles explain the engine's time and are repeatable.

    python -m benchmarks.profile_check BUNDLE [BUNDLE ...] [--engines ENGINE ...] [--runs N] [--json FILE]

Each bundle is profiled `--runs` times in each engine. In the median call, the layers' times must sum to the time of the
call within 10 %. The three most expensive layers must be the same in all runs; their order may differ. Exit code 1 if
one of them fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.builds import Build
from edgevision.benchmark.frames import BenchFrames
from edgevision.benchmark.layers.record import ProfileRecord
from edgevision.benchmark.layers.run import profile_build
from edgevision.cli.present import Steps, table
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import utc_now
from edgevision.device.facts import device_facts
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass, json_text

LIMIT = 0.1
"""Maximum difference of the sum from the time of the calls."""
FIRST = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """The runs of one bundle in one engine."""

    model: str
    engine: str
    library: str
    layers: int
    shares: tuple[float, ...]
    """Sum of the layers over the time of the calls, of each run."""
    calls_ms: tuple[float, ...]
    """Mean time of a call with the profile, of each run."""
    plain_ms: tuple[float, ...]
    """Median time of a call without it, of each run."""
    first: tuple[tuple[str, ...], ...]
    """The most expensive layers of each run, the most expensive one first."""

    @property
    def complete(self) -> bool:
        """True if the layers explain the time in all runs."""
        return all(abs(share - 1) <= LIMIT for share in self.shares)

    @property
    def repeated(self) -> bool:
        """True if the most expensive layers are the same in all runs."""
        return len({frozenset(names) for names in self.first}) == 1


def checked(records: list[ProfileRecord]) -> Checked:
    """Summarize the runs of one bundle in one engine."""
    build = records[0].build
    return Checked(
        build.model,
        build.engine.engine,
        build.engine.library,
        len(records[0].layers),
        tuple(round(record.layers_share, 4) for record in records),
        tuple(record.engine_ms for record in records),
        tuple(record.inference_alone.p50_ms for record in records),
        tuple(tuple(layer.name for layer in record.costliest(FIRST)) for record in records),
    )


def main() -> None:
    """Profile, print the table and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--engines", nargs="+", default=("onnxruntime", "openvino"))
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    options = SessionOptions(threads=arguments.threads)
    found: list[Checked] = []
    with tempfile.TemporaryDirectory() as scratch:
        frames = BenchFrames(None, Path(scratch), Steps().done)
        for path in arguments.bundles:
            for engine in arguments.engines:
                build = Build(path, engine, options)
                runs = [
                    profile_build(build, frames.opener, arguments.seconds, None)
                    for _ in range(arguments.runs)
                ]
                found.append(checked(runs))
    rows = [
        [
            f"{one.model} {one.engine}",
            str(one.layers),
            ", ".join(f"{share:.1%}" for share in one.shares),
            ", ".join(f"{ms:.1f}" for ms in one.plain_ms),
            "yes" if one.repeated else "NO",
            " | ".join(", ".join(names) for names in (one.first[:1] if one.repeated else one.first)),
        ]
        for one in found
    ]
    print("\n".join(table(["", "layers", "sum / time", "p50 ms", f"same {FIRST}", "most expensive"], rows)))
    if arguments.json is not None:
        record = {
            "created": utc_now(),
            "device": json_from_dataclass(device_facts()),
            "threads": arguments.threads,
            "checked": [json_from_dataclass(one) for one in found],
        }
        atomic.write_file(arguments.json, json_text(record).encode())
    sys.exit(0 if all(one.complete and one.repeated for one in found) else 1)


if __name__ == "__main__":
    main()
