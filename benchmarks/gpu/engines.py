"""Engines of a bundle: outputs, latency against the same plan without a session, threads, and memory growth."""

from __future__ import annotations

import gc
import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.record import Part
from edgevision.bundle.folder import Bundle, CheckRecord
from edgevision.contract.session import Frames, Session
from edgevision.device.facts import FactReading, resident_mib
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.cuda import CudaStream, DeviceBuffer, HostBuffer
from edgevision.engines.tensorrt.here import running_here
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.log import Messages, logger
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine
from edgevision.engines.tensorrt.versions import Flavour
from edgevision.errors import EdgevisionError, EngineError
from edgevision.verification.golden import verify_session

THREADS = 8
PAIRS_PER_ROUND = 50
MOST_RATIO = 1.10
MOST_GROWTH_MIB = 1.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each part runs."""

    calls: int
    """Of each of the eight threads."""
    soak: int
    """Calls during which memory is sampled."""
    rounds: int
    """Of `PAIRS_PER_ROUND` pairs each."""


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
        library = load_library(manifest.flavour, "benchmarks.gpu")
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


def fitting_engine(bundle: Path, flavour: Flavour) -> StoredEngine:
    """The bundle's engine for this device; it is built if missing."""
    library = load_library(flavour, "benchmarks.gpu")
    for attempt in range(2):
        found = choose_engine(Bundle.open(bundle), running_here(library))
        if isinstance(found, StoredEngine):
            return found
        if attempt == 0:
            command = [sys.executable, "-m", "edgevision", "build", str(bundle), "--engine", flavour]
            subprocess.run(command, check=False)
    raise EngineError(str(found))


def engine_parts(bundle: Bundle, flavour: Flavour, amounts: Amounts) -> Iterator[Part]:
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
        yield latency(session, bare, batches, amounts.rounds)
        bare.close()
        yield threads(session, batches, amounts.calls)
        yield flat_memory(session, batches, amounts.soak)
