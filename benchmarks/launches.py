"""Counts nodes and measures time of each part of a finished graph, and the time beyond the network alone.

    python -m benchmarks.launches BUNDLE [BUNDLE ...] [--baseline FILE.onnx ...] [--rounds N] [--json FILE]

The parts are pre-processing, network, decoding, top-k (the selections before NMS), NMS, and compaction (the last
selection and everything after it). For networks with finished boxes, decoding and top-k contain everything before
compaction. Nodes are those that an engine runs after its own fusions. For TensorRT-RTX they are the kernels of an
engine for SM 8.9, which is built without a GPU. The time of a part is the sum of the medians of its nodes in the
engine's profile.

"Beyond" compares the whole graph with the network alone: the same graph without ``pre/`` and ``post/``, from the float
image to the raw outputs. Both run in turn on the same frame, in alternating order. The time is the median difference
of the rounds, and the share is their median ratio. `--cpu-time` measures CPU time of the process instead of wall time,
for machines with other load.

A baseline is a graph that another version of edgevision wrote for the same model. The first baseline belongs to the
first bundle, and so on. Baselines run in the same rounds. Exit code 1 if a share exceeds its limit: 8 % in float32, and
15 % in OpenVINO's bfloat16 on CPUs with AMX.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from benchmarks.graph_parts import NodeTimes, network_alone
from benchmarks.profiles import ENGINES, opened, profiled
from edgevision.benchmark.layers.parts import NETWORK, PARTS, parts_of
from edgevision.bundle.folder import Bundle
from edgevision.cli.present import table
from edgevision.contract.spec import utc_now
from edgevision.device.facts import device_facts
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass, json_text

LIMITS = {"onnxruntime": 8.0, "openvino f32": 8.0}
AMX_LIMIT = 15.0
RTX = "tensorrt-rtx"
WARM_UP = 3

Call = Callable[[], object]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a graph in one engine."""

    part: str
    nodes: int
    ms: float | None
    """None for TensorRT-RTX, whose engine does not run here."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One graph in one engine."""

    model: str
    graph: str
    """"new" or "baseline"."""
    engine: str
    parts: tuple[Part, ...]
    whole_ms: float | None
    network_ms: float | None
    beyond_ms: float | None
    beyond_percent: float | None


@dataclass(frozen=True, slots=True)
class Subject:
    """A finished graph and a real frame that fits it."""

    model: str
    graph: str
    file: onnx.ModelProto
    frames: npt.NDArray[np.uint8]


def subjects(bundles: list[Path], baselines: list[Path]) -> list[Subject]:
    """The graphs of bundles, each followed by its baseline."""
    found = []
    for place, path in enumerate(bundles):
        bundle = Bundle.open(path)
        frames = bundle.golden().frames[:1]
        found.append(Subject(bundle.spec.name, "new", onnx.load(bundle.graph_path()), frames))
        if place < len(baselines):
            found.append(Subject(bundle.spec.name, "baseline", onnx.load(baselines[place]), frames))
    return found


def rtx_parts(subject: Subject) -> tuple[Part, ...]:
    """Kernels of each part; a kernel of several parts counts for the last of them."""
    from tests.rtx import inspected_rtx_engine

    parts = parts_of(subject.file.graph.node)
    order = {part: place for place, part in enumerate(PARTS)}
    counts: Counter[str] = Counter()
    for names in inspected_rtx_engine(subject.file.SerializeToString()).sources:
        known = [parts[name] for name in names if name in parts]
        # Copies of outputs and casts that TensorRT adds itself name no node; they stand at the end.
        counts[max(known, key=order.__getitem__) if known else PARTS[-1]] += 1
    return tuple(Part(part, counts[part], None) for part in PARTS)


def cpu_parts(subject: Subject, engine: str, threads: int, rounds: int) -> tuple[Part, ...]:
    """Nodes and milliseconds of each part from the engine's profile."""
    times = profiled(subject.file, engine, {"frames": subject.frames}, threads, rounds)
    return tuple(Part(part, *_of_part(times, part)) for part in PARTS)


def _of_part(times: NodeTimes, part: str) -> tuple[int, float]:
    found = [
        statistics.median(values)
        for name, values in times.samples_ms.items()
        if times.parts.get(name, NETWORK) == part
    ]
    return len(found), round(sum(found), 3)


def beyond(
    found: list[Subject], engine: str, threads: int, rounds: int, clock: Callable[[], int]
) -> list[tuple[float, float, float, float]]:
    """Of each graph: its time, that of its network alone, their difference, and the difference in percent."""
    calls: list[tuple[Call, Call]] = []
    for one in found:
        bare, feed = network_alone(one.file, one.frames)
        whole = opened(one.file, engine, {"frames": one.frames}, threads)
        calls.append((whole, opened(bare, engine, feed, threads)))
    samples: dict[tuple[int, int], list[float]] = defaultdict(list)
    places = [(index, which) for index in range(len(calls)) for which in (0, 1)]
    for number in range(rounds + WARM_UP):
        for index, which in places if number % 2 else places[::-1]:
            began = clock()
            calls[index][which]()
            if number >= WARM_UP:
                samples[index, which].append((clock() - began) / 1e6)
    figures = []
    for index in range(len(calls)):
        times, alone = (np.array(samples[index, which]) for which in (0, 1))
        figures.append(
            (_median(times), _median(alone), _median(times - alone), _median(100 * (times / alone - 1)))
        )
    return figures


def _median(values: Floats) -> float:
    return round(float(np.median(values)), 3)


def has_amx() -> bool:
    """True if this CPU has AMX tiles for bfloat16."""
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and "amx_bf16" in cpu.read_text()


def printed(figures: list[Figures]) -> list[str]:
    """A table for each model: parts in rows, engines in columns, ``baseline -> new``."""
    lines = []
    for model in dict.fromkeys(one.model for one in figures):
        of_model = [one for one in figures if one.model == model]
        engines = [
            sorted((one for one in of_model if one.engine == engine), key=lambda one: one.graph)
            for engine in dict.fromkeys(one.engine for one in of_model)
        ]
        head = [model, *(cell for pair in engines for cell in (f"{pair[0].engine}: nodes", "ms"))]
        rows = [
            [
                part,
                *(
                    cell
                    for pair in engines
                    for cell in (
                        _arrow([one.parts[place].nodes for one in pair]),
                        _arrow([one.parts[place].ms for one in pair]),
                    )
                ),
            ]
            for place, part in enumerate(PARTS)
        ]
        for name, values in (
            ("beyond the network, ms", [[one.beyond_ms for one in pair] for pair in engines]),
            ("beyond the network, %", [[one.beyond_percent for one in pair] for pair in engines]),
        ):
            rows.append([name, *(cell for value in values for cell in ("", _arrow(value)))])
        lines += [*table(head, rows), ""]
    return lines


def _arrow(values: Sequence[float | None]) -> str:
    return " -> ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in values if v is not None)


def main() -> None:
    """Measure, print the tables and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--baseline", nargs="*", type=Path, default=[])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--engines", nargs="+", choices=(*ENGINES, RTX), default=(*ENGINES, RTX))
    parser.add_argument("--json", type=Path, help="write the record to this file")
    arguments = parser.parse_args()
    clock = time.process_time_ns if arguments.cpu_time else time.perf_counter_ns
    found = subjects(arguments.bundles, arguments.baseline)
    figures: list[Figures] = []
    for engine in (one for one in ENGINES if one in arguments.engines):
        measured = beyond(found, engine, arguments.threads, arguments.rounds, clock)
        for one, values in zip(found, measured, strict=True):
            parts = cpu_parts(one, engine, arguments.threads, arguments.rounds)
            figures.append(Figures(one.model, one.graph, engine, parts, *values))
    if RTX in arguments.engines:
        figures += [
            Figures(one.model, one.graph, RTX, rtx_parts(one), None, None, None, None) for one in found
        ]
    print("\n".join(printed(figures)))
    limits = {**LIMITS, **({"openvino bf16": AMX_LIMIT} if has_amx() else {})}
    failed = [
        f"{one.model} in {one.engine}: {one.beyond_percent:.1f} % beyond the network, limit {limits[one.engine]:g} %"
        for one in figures
        if one.graph == "new" and one.engine in limits and (one.beyond_percent or 0) > limits[one.engine]
    ]
    print("\n".join(failed))
    if arguments.json is not None:
        record = {
            "created": utc_now(),
            "device": json_from_dataclass(device_facts()),
            "clock": "process CPU time" if arguments.cpu_time else "wall time",
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "figures": [json_from_dataclass(one) for one in figures],
        }
        atomic.write_file(arguments.json, json_text(record).encode())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
