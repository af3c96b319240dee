"""Checks of the runtime on an NVIDIA GPU.

``python -m benchmarks.gpu --check [BUNDLE ...]`` checks a machine in less than four minutes: every call of CUDA, the
execution slots with a stand-in engine, ONNX Runtime's CUDA provider, decoding, eight videos, training, and TensorRT if
it is installed. ``python -m benchmarks.gpu BUNDLE`` measures a bundle's engines for half an hour: copies, captured
graphs, outputs, latency, threads, and memory growth. README.md lists the parts.

A part whose library is missing is reported as not run and is no failure. Exit code 1 if a limit is exceeded or a step
fails, 2 if no part could run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.check import (
    CALLS,
    TOTAL_S,
    CheckOptions,
    Step,
    check,
    parts_to_json,
    run_apart,
    run_step,
    steps_of,
)
from benchmarks.gpu.engines import PAIRS_PER_ROUND, Amounts, engine_parts, outputs
from benchmarks.gpu.memory import copies, graphs
from benchmarks.gpu.record import Part, guarded, part_lines, summary_lines, write_record
from edgevision.bundle.folder import Bundle
from edgevision.device.facts import FactReading
from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.versions import FLAVOURS
from edgevision.storage import atomic

RESULTS = Path(__file__).resolve().parents[1] / "results"


def measured(bundle: Bundle, amounts: Amounts, done: list[Part]) -> None:
    """Run the parts of the long run one after another; adds them to `done`."""

    def add(part: Part) -> None:
        done.append(part)
        print("\n".join(part_lines(part)), flush=True)

    add(guarded("copies and events", copies))
    add(guarded("captured graphs", graphs))
    for engine in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        add(guarded(f"outputs of {engine}", lambda engine=engine: outputs(bundle, engine)))  # type: ignore[misc]  # bound now
    for flavour in FLAVOURS:
        for part in engine_parts(bundle, flavour, amounts):
            add(part)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE")
    parser.add_argument("--check", action="store_true", help="check the machine in less than four minutes")
    parser.add_argument("--video", type=Path, help="video of the eight; default: one that is made")
    parser.add_argument("--calls", type=int, help="calls of each of the eight threads [10000; --check: 200]")
    parser.add_argument("--soak", type=int, default=100_000, help="calls during which memory is sampled")
    parser.add_argument("--rounds", type=int, default=10, help=f"of {PAIRS_PER_ROUND} pairs each")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of --check")
    parser.add_argument("--train-seconds", type=float, default=60.0, help="of training")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=TOTAL_S, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run every part that can run, print the results and write the record."""
    parser = arguments()
    options = parser.parse_args(argv)
    checked = CheckOptions(
        tuple(path.resolve() if path.exists() else path for path in options.bundles),
        options.video,
        options.calls or CALLS,
        options.seconds,
        options.train_seconds,
        options.limit,
    )
    steps = steps_of(checked)
    if options.step is not None:
        (step,) = (step for step in steps if step.name == options.step)
        atomic.write_file(options.into, parts_to_json(run_step(step, checked)).encode())
        return 0
    parts: list[Part] = []
    if options.check:
        passed_on = _passed_on(checked)

        def done(part: Part) -> None:
            print("\n".join(part_lines(part)), flush=True)

        def launch(step: Step, limit_s: float) -> list[Part]:
            return run_apart(step, passed_on, limit_s)

        parts = check(steps, launch, done)
    elif len(options.bundles) != 1:
        parser.error("expected one BUNDLE, or --check")
    else:
        amounts = Amounts(options.calls or 10_000, options.soak, options.rounds)
        measured(Bundle.open(options.bundles[0]), amounts, parts)
    if all(part.not_run for part in parts):
        print("no part could run on this machine; no record is written")
        return 2
    print("\n".join(["", *summary_lines(parts)]))
    names = ("seconds", "train_seconds") if options.check else ("soak", "rounds")
    settings = [FactReading(name, float(getattr(options, name))) for name in names]
    file = "gpu-check.json" if options.check else "gpu.json"
    print(f"wrote {write_record(options.output, file, cuda.cuda_device(), settings, parts)}")
    return int(any(not part.passed for part in parts))


def _passed_on(options: CheckOptions) -> list[str]:
    """The arguments of a step's process."""
    numbers = {"calls": options.calls, "seconds": options.seconds, "train-seconds": options.train_s}
    found = [*map(str, options.bundles), *(f"--{name}={value}" for name, value in numbers.items())]
    return found if options.video is None else [*found, "--video", str(options.video.resolve())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
