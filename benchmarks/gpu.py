"""Checks of the runtime on an NVIDIA GPU: copies, events, CUDA graphs, engines, latency, threads and memory growth.

Run on a machine with a GPU: ``python benchmarks/gpu.py BUNDLE``. README.md lists the parts. A part whose library is
missing is reported as not run and is no failure. Exit code 1 if a limit is exceeded, 2 if no part could run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgevision
from edgevision.bundle.folder import Bundle, CheckRecord
from edgevision.contract.session import Frames, Session
from edgevision.contract.spec import utc_now
from edgevision.device.facts import DeviceFacts, FactReading, device_facts, resident_mib
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.cuda import CudaDevice, CudaEvent, CudaStream, DeviceBuffer, HostBuffer
from edgevision.engines.tensorrt.here import running_here
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.log import Messages, logger
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine
from edgevision.engines.tensorrt.versions import FLAVOURS, Flavour
from edgevision.errors import EdgevisionError, EngineError
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass
from edgevision.verification.golden import verify_session

COPY_BYTES = 64 << 20
THREADS = 8
PAIRS_PER_ROUND = 50
MOST_RATIO = 1.10
MOST_GROWTH_MIB = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the program: checks and figures, or the reason why it did not run."""

    name: str
    not_run: str | None = None
    checks: tuple[CheckRecord, ...] = ()
    figures: tuple[FactReading, ...] = ()
    """Measured values; units are in the names."""
    notes: tuple[str, ...] = ()
    samples_ns: tuple[int, ...] = ()
    """All samples of the part's main figure, in order."""


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """Contents of `gpu.json`."""

    created: str
    edgevision: str
    device: DeviceFacts
    cuda: CudaDevice | None
    settings: tuple[FactReading, ...]
    parts: tuple[Part, ...]


def copies() -> Part:
    """Copy bytes to the device and back through pinned and through pageable memory."""
    with contextlib.ExitStack() as stack:
        there, back = (stack.enter_context(contextlib.closing(HostBuffer(COPY_BYTES))) for _ in range(2))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(COPY_BYTES)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        begin, middle, end = (stack.enter_context(contextlib.closing(CudaEvent())) for _ in range(3))
        byte = np.dtype(np.uint8)
        sent, received = there.array(byte, (COPY_BYTES,)), back.array(byte, (COPY_BYTES,))
        sent[:] = np.random.default_rng(0).integers(0, 256, COPY_BYTES, np.uint8)
        wall_ns = []
        for _ in range(10):
            received[:] = 0
            began = time.perf_counter_ns()
            stream.record(begin)
            stream.copy_to_device(device.pointer, there.pointer, COPY_BYTES)
            stream.record(middle)
            stream.copy_to_host(back.pointer, device.pointer, COPY_BYTES)
            stream.record(end)
            end.wait()
            wall_ns.append(time.perf_counter_ns() - began)
        to_ms, from_ms = middle.ms_since(begin), end.ms_since(middle)
        different = float(np.count_nonzero(sent != received))
        loose = sent.copy()
        began = time.perf_counter_ns()
        stream.copy_to_device(device.pointer, loose.ctypes.data, COPY_BYTES)
        stream.synchronize()
        loose_ms = (time.perf_counter_ns() - began) / 1e6
    share = (to_ms + from_ms) / (wall_ns[-1] / 1e6)
    gib = COPY_BYTES / 2**30
    return Part(
        "copies and events",
        checks=(
            CheckRecord("bytes that differ after the copies", different, "<=", 0.0),
            CheckRecord("device time over wall time of the same copies", share, "<=", 1.02),
            CheckRecord("device time over wall time, from below", share, ">=", 0.80),
        ),
        figures=(
            FactReading("to the device, pinned, GiB/s", gib / to_ms * 1e3),
            FactReading("to the host, pinned, GiB/s", gib / from_ms * 1e3),
            FactReading("to the device, not pinned, GiB/s", gib / loose_ms * 1e3),
        ),
        samples_ns=tuple(wall_ns),
    )


def graphs() -> Part:
    """Eight small copies, queued one by one and launched as one captured graph: same bytes, less CPU time."""
    size, count = 4096, 8
    one_by_one: list[int] = []
    replayed: list[int] = []
    different = 0
    with contextlib.ExitStack() as stack:
        there, back = (stack.enter_context(contextlib.closing(HostBuffer(size))) for _ in range(2))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(size)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        byte = np.dtype(np.uint8)
        sent, received = there.array(byte, (size,)), back.array(byte, (size,))

        def queue() -> None:
            for _ in range(count // 2):
                stream.copy_to_device(device.pointer, there.pointer, size)
                stream.copy_to_host(back.pointer, device.pointer, size)

        graph = stack.enter_context(contextlib.closing(stream.capture(queue)))
        for step in range(1000):
            sent[:] = step % 251
            for times, work in ((one_by_one, queue), (replayed, lambda: stream.launch(graph))):
                received[:] = 255
                began = time.perf_counter_ns()
                work()
                times.append(time.perf_counter_ns() - began)
                stream.synchronize()
                different += int(np.count_nonzero(received != step % 251))
    return Part(
        "captured graphs",
        checks=(CheckRecord("bytes that differ after a replay", float(different), "<=", 0.0),),
        figures=(
            FactReading("queueing 8 copies, us", statistics.median(one_by_one) / 1e3),
            FactReading("launching them as a graph, us", statistics.median(replayed) / 1e3),
        ),
        samples_ns=tuple(replayed),
    )


def outputs(bundle: Bundle, engine: str) -> Part:
    """Run the golden frames through an engine and compare with the source model's outputs."""
    with open_session(bundle.path, engine=engine) as session:
        record = verify_session(session, bundle.golden())
        notes = (session.info.library, session.info.device, *session.info.notes)
    return Part(f"outputs of {engine}", checks=record.checks, notes=notes)


class BareEngine:
    """The same plan without the session: pre-filled buffers, copies, network, one wait."""

    def __init__(self, stored: StoredEngine) -> None:
        manifest = stored.manifest
        library = load_library(manifest.flavour, "benchmarks/gpu.py")
        self._log = logger(library, Messages())
        self._runtime: Any = library.module.Runtime(self._log)
        self._engine: Any = self._runtime.deserialize_cuda_engine(stored.plan())
        self._context: Any = self._engine.create_execution_context()
        self._stream = CudaStream()
        self._tensors: list[tuple[bool, HostBuffer, DeviceBuffer]] = []
        rows = manifest.batch.opt
        for tensor in manifest.tensors:
            shape = (rows, *tensor.shape[1:])
            if tensor.mode == "input" and not manifest.batch.static:
                self._context.set_input_shape(tensor.name, shape)
            size = int(np.prod(shape)) * np.dtype(tensor.dtype).itemsize
            self._tensors.append((tensor.mode == "input", HostBuffer(size), DeviceBuffer(size)))
            self._context.set_tensor_address(tensor.name, self._tensors[-1][2].pointer)
            if tensor.mode == "input":
                self.frames = self._tensors[-1][1].array(np.dtype(np.uint8), shape)

    def run(self) -> None:
        """Run once; the outputs are in the host buffers afterwards."""
        for is_input, host, device in self._tensors:
            if is_input:
                self._stream.copy_to_device(device.pointer, host.pointer, host.size_bytes)
        self._context.execute_async_v3(self._stream.pointer)
        for is_input, host, device in self._tensors:
            if not is_input:
                self._stream.copy_to_host(host.pointer, device.pointer, host.size_bytes)
        self._stream.synchronize()

    def close(self) -> None:
        """Free all resources."""
        for _, host, device in self._tensors:
            host.close()
            device.close()
        self._stream.close()


def latency(session: Session, bare: BareEngine, batches: tuple[Frames, ...], rounds: int) -> Part:
    """Alternate session calls and bare calls on the same frames; the ratio is the median of the rounds' ratios."""
    inputs = itertools.cycle(batches)
    measured = [_pairs(session, bare, inputs) for _ in range(rounds + 1)][1:]  # after warm-up
    ratios = [statistics.median(ours) / statistics.median(theirs) for ours, theirs, _ in measured]
    ours, theirs, device_ms = (list(itertools.chain(*values)) for values in zip(*measured, strict=True))
    return Part(
        "latency against the bare engine",
        checks=(CheckRecord("ours over the bare engine's", statistics.median(ratios), "<=", MOST_RATIO),),
        figures=(
            FactReading("ours, median ms", statistics.median(ours) / 1e6),
            FactReading("bare, median ms", statistics.median(theirs) / 1e6),
            FactReading("device time of ours, median ms", statistics.median(device_ms)),
            FactReading("lowest ratio of a round", min(ratios)),
            FactReading("highest ratio of a round", max(ratios)),
        ),
        samples_ns=tuple(ours),
    )


def _pairs(
    session: Session, bare: BareEngine, inputs: Iterator[Frames]
) -> tuple[list[int], list[int], list[float]]:
    """One round: session call in ns, bare call in ns, device time of the session call in ms."""
    ours: list[int] = []
    theirs: list[int] = []
    device_ms: list[float] = []
    for frames in itertools.islice(inputs, PAIRS_PER_ROUND):
        bare.frames[...] = frames
        began = time.perf_counter_ns()
        bare.run()
        middle = time.perf_counter_ns()
        session.infer(frames)
        ours.append(time.perf_counter_ns() - middle)
        theirs.append(middle - began)
        device_ms.append(session.device_ms or 0.0)
    return ours, theirs, device_ms


def threads(session: Session, batches: tuple[Frames, ...], calls: int) -> Part:
    """Eight threads on one session; every output must equal the serial one, bit for bit."""
    serial = [session.infer(frames) for frames in batches]
    wrong: list[int] = []

    def call(seed: int) -> None:
        picks = np.random.default_rng(seed).integers(0, len(batches), calls)
        for pick in picks.tolist():
            got = session.infer(batches[pick])
            if not all(map(np.array_equal, got, serial[pick])):
                wrong.append(pick)

    workers = [threading.Thread(target=call, args=(seed,)) for seed in range(THREADS)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    return Part(
        f"{THREADS} threads, {calls} calls each",
        checks=(CheckRecord("outputs that differ from the serial ones", float(len(wrong)), "<=", 0.0),),
        figures=(FactReading("calls/s", THREADS * calls / seconds),),
    )


def flat_memory(session: Session, batches: tuple[Frames, ...], calls: int) -> Part:
    """Memory of the process and of the device over many identical calls."""
    inputs = itertools.cycle(batches)
    host, device = [], []
    for step in range(calls):
        session.infer(next(inputs))
        if step % max(calls // 100, 1) == 0:
            gc.collect()
            host.append(resident_mib())
            device.append(float(-cuda.memory_mib()[0]))
    third = len(host) // 3
    return Part(
        f"memory over {calls} calls",
        checks=tuple(
            CheckRecord(
                f"growth of {name} memory, MiB",
                statistics.median(v[-third:]) - statistics.median(v[third : 2 * third]),
                "<=",
                MOST_GROWTH_MIB,
            )
            for name, v in (("host", host), ("device", device))
        ),
        figures=(FactReading("host memory at the end, MiB", host[-1]),),
    )


def guarded(name: str, part: Callable[[], Part]) -> Part:
    """Run a part; an error becomes a part that did not run."""
    try:
        return part()
    except EdgevisionError as error:
        return Part(name, not_run=str(error))


def fitting_engine(bundle: Path, flavour: Flavour) -> StoredEngine:
    """The bundle's engine for this device; it is built if missing."""
    library = load_library(flavour, "benchmarks/gpu.py")
    for attempt in range(2):
        found = choose_engine(Bundle.open(bundle), running_here(library))
        if isinstance(found, StoredEngine):
            return found
        if attempt == 0:
            command = [sys.executable, "-m", "edgevision", "build", str(bundle), "--engine", flavour]
            subprocess.run(command, check=False)
    raise EngineError(str(found))


def engine_parts(bundle: Bundle, flavour: Flavour, options: argparse.Namespace) -> Iterator[Part]:
    """Parts that need a plan of this flavour, or one part with the reason why it does not run."""
    try:
        stored = fitting_engine(bundle.path, flavour)
        yield outputs(bundle, flavour)
    except EdgevisionError as error:
        yield Part(f"outputs of {flavour}", not_run=str(error))
        return
    frames = bundle.golden().frames
    with open_session(bundle.path, engine=flavour) as session:
        size = session.spec.frames.batch.opt
        batches = tuple(np.repeat(frames[i : i + 1], size, axis=0) for i in range(len(frames)))
        bare = BareEngine(stored)
        yield latency(session, bare, batches, options.rounds)
        bare.close()
        yield threads(session, batches, options.calls)
        yield flat_memory(session, batches, options.soak)


def part_lines(part: Part) -> list[str]:
    """Printed lines of a part."""
    if part.not_run is not None:
        return [f"{part.name}: not run: {part.not_run}"]
    lines = [f"{part.name}"]
    for check in part.checks:
        verdict = "ok  " if check.passed else "FAIL"
        lines.append(
            f"  {verdict} {check.name}: {check.measured:.4g}, must be {check.relation} {check.limit:g}"
        )
    lines += [f"       {figure.name}: {figure.value:.4g}" for figure in part.figures]
    return lines + [f"       {note}" for note in part.notes]


def main() -> int:
    """Run every part that can run, print the results and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--calls", type=int, default=10_000, help="calls of each of the eight threads")
    parser.add_argument("--soak", type=int, default=100_000, help="calls during which memory is sampled")
    parser.add_argument("--rounds", type=int, default=10, help=f"of {PAIRS_PER_ROUND} pairs each")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    parts: list[Part] = []

    def done(part: Part) -> None:
        parts.append(part)
        print("\n".join(part_lines(part)), flush=True)

    done(guarded("copies and events", copies))
    done(guarded("captured graphs", graphs))
    for engine in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        done(guarded(f"outputs of {engine}", lambda engine=engine: outputs(bundle, engine)))  # type: ignore[misc]
    for flavour in FLAVOURS:
        for part in engine_parts(bundle, flavour, options):
            done(part)
    if all(part.not_run for part in parts):
        print("no part could run on this machine; no record is written")
        return 2
    device = cuda.cuda_device()
    settings = tuple(FactReading(name, float(getattr(options, name))) for name in ("calls", "soak", "rounds"))
    record = GpuRecord(utc_now(), edgevision.__version__, device_facts(), device, settings, tuple(parts))
    folder = options.output / re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_file(
        folder / "gpu.json", (json.dumps(json_from_dataclass(record), indent=1) + "\n").encode()
    )
    print(f"wrote {folder / 'gpu.json'}")
    return int(any(not check.passed for part in parts for check in part.checks))


if __name__ == "__main__":
    sys.exit(main())
