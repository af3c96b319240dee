"""The GPU benchmark: its parts and the whole check on simulated hardware, and its messages without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import check, engines, kernels, memory, providers, stand_in, training, videos
from benchmarks.gpu.check import CheckOptions, Step
from benchmarks.gpu.record import NotHereError, Part, part_lines, summary_lines
from edgevision.bundle.folder import Bundle, CheckRecord
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.device.gpu import driver_cuda_version
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.cuda import CudaEvent, CudaStream
from edgevision.engines.tensorrt.manifest import PlanTensor
from edgevision.engines.tensorrt.session import open_engine
from edgevision.engines.tensorrt.slots import Slots
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.errors import EngineError, MissingExtraError
from tests.engines.host_cuda import CudaError, HostCudart
from tests.engines.host_tensorrt import HostTensorRt, store_engine
from tests.hardware import L4

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 16


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    stand_in = HostCudart(L4)
    stand_in.pageable = stand_in.maps = True
    monkeypatch.setattr(memory, "COPY_BYTES", 4096)
    monkeypatch.setattr(memory, "LAUNCHES", 50)
    return stand_in.install(monkeypatch)


def test_every_declared_function_is_called(host: HostCudart) -> None:
    part = memory.every_call()
    assert part.passed, part_lines(part)
    assert len(part.notes) == 2, "two errors, and no function that was missed"
    assert host.held() == 0


def test_a_function_that_is_not_called_is_named(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaEvent, "ms_since", lambda *_: 0.0)
    part = memory.every_call()
    assert not part.passed
    assert part.notes[0] == "cudaEventElapsedTime"


def test_copies_and_graphs_are_compared_byte_by_byte(host: HostCudart) -> None:
    moved = memory.copies()
    assert moved.checks[0].passed
    assert len(moved.samples_ns) == 10
    assert memory.graphs().checks[0].passed
    assert host.held() == 0


def test_a_copy_that_loses_bytes_fails(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaStream, "copy_to_host", lambda *_: None)
    assert not memory.copies().checks[0].passed


def test_slots_are_checked_with_copies_where_there_is_no_compiler(host: HostCudart) -> None:
    parts = stand_in.slot_parts(6, SIDE)
    assert [(part.name, part.verdict) for part in parts] == [
        ("slot, static batch, copied", "passed"),
        ("slot, static batch, mapped memory", "passed"),
        ("slot, dynamic batch, copied", "passed"),
        ("slot, dynamic batch, mapped memory", "passed"),
        ("two batches in flight", "passed"),
        ("8 threads, 6 calls each", "passed"),
        ("kernel of the stand-in", "not run"),
    ]
    assert parts[0].notes == ("copies on the device", "replayed as one CUDA graph")
    assert host.held() == 0


def test_a_slot_with_wrong_results_fails(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slots, "_free", lambda self: self.first)
    assert not stand_in.overlap_part(kernels.CopyWork(), 6, SIDE).passed
    work = kernels.CopyWork()
    monkeypatch.setattr(work, "expected", lambda frames: frames[..., 0])
    assert not stand_in.slot_part(work, "static", zero_copy=False, calls=3, side=SIDE).passed


def test_a_lost_device_must_be_reported_as_lost(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stray(kernels.KernelWork):
        def __init__(self) -> None:
            pass

        def queue_stray(self, stream: int) -> None:
            for call in ("cudaStreamSynchronize", "cudaMalloc"):
                host.fails[call] = CudaError.cudaErrorIllegalAddress

    monkeypatch.setattr(stand_in, "available_work", lambda sm: (Stray(), None))
    part = stand_in.lost_part(stand_in.lost_messages())
    assert part.passed, part_lines(part)
    assert not stand_in.lost_part(["no error"]).passed
    monkeypatch.setattr(stand_in, "available_work", lambda sm: (kernels.CopyWork(), "no compiler"))
    with pytest.raises(NotHereError, match="needs a kernel: no compiler"):
        stand_in.lost_messages()


def test_the_kernel_compiles_without_a_gpu() -> None:
    try:
        image = kernels.compiled("sm_90")
    except EngineError as error:
        pytest.skip(str(error))
    assert image.startswith(b"\x7fELF")
    assert b"mask_of" in image
    with pytest.raises(EngineError, match="NVRTC cannot compile for sm_12: "):
        kernels.compiled("sm_12")


def stored_engine(folder: Path, batch: BatchRange) -> tuple[StoredEngine, Any]:
    stored, spec = store_engine(folder, batch)
    length = batch.max if batch.static else -1
    tensors = (
        PlanTensor("frames", "input", "uint8", (length, 64, 64, 3)),
        *(PlanTensor(t.name, "output", t.dtype, (length, *t.shape[1:])) for t in spec.outputs),
    )
    return replace(stored, manifest=replace(stored.manifest, tensors=tensors)), spec


@pytest.mark.parametrize("batch", [BatchRange(2, 2, 2), BatchRange(1, 2, 4)])
def test_an_engine_is_timed_and_called_by_threads(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: BatchRange
) -> None:
    stored, spec = stored_engine(tmp_path / "engine", batch)
    module = HostTensorRt(host, spec)
    for place in (engines, tensorrt):
        monkeypatch.setattr(place, "load_library", lambda flavour, purpose: module.library(flavour))
    monkeypatch.setattr(engines, "PAIRS_PER_ROUND", 3)
    batches = tuple(np.full((2, 64, 64, 3), level, np.uint8) for level in (0, 100, 200))
    with open_engine(stored, spec, SessionOptions()) as session:
        bare = engines.BareEngine(stored)
        bare.frames[...] = batches[1]
        bare.run()
        scores = bare._tensors[2][1].array(np.dtype(np.float32), (2, 1))
        np.testing.assert_array_equal(scores, session.infer(batches[1])[1])
        timed = engines.latency(session, bare, batches, rounds=2)
        assert len(timed.samples_ns) == 6
        assert timed.figures[2].value == 0.5
        bare.close()
        assert engines.threads(session, batches, 20).checks[0].measured == 0
        flat = engines.flat_memory(session, batches, 9)
        assert [check.name for check in flat.checks] == [
            "growth of host memory, MiB",
            "growth of device memory, MiB",
        ]
    assert host.held() == 0


def test_wrong_outputs_of_a_thread_are_counted() -> None:
    calls = iter(range(10_000))

    class Drifting:
        def infer(self, frames: Any) -> Any:
            return (np.array([next(calls) // 100]),)

    part = engines.threads(Drifting(), (np.zeros(1), np.zeros(1)), 50)  # type: ignore[arg-type]  # fakes
    assert part.checks[0].measured > 0


class TestSteps:
    """Whatever becomes of a step, the others run."""

    @pytest.fixture(autouse=True)
    def _gpu(self, host: HostCudart) -> None:
        pass

    def check(self, *steps: Step, total_s: float = 60.0) -> list[Part]:
        options = CheckOptions(())
        return check.check(
            steps, lambda step, _: check.run_step(step, options), lambda _: None, total_s=total_s
        )

    def test_missing_failed_and_passed(self) -> None:
        def missing(_: CheckOptions) -> list[Part]:
            raise NotHereError("no such library")

        def broken(_: CheckOptions) -> list[Part]:
            raise ZeroDivisionError("by zero")

        def exceeded(_: CheckOptions) -> list[Part]:
            return [Part("c", checks=(CheckRecord("share", 0.5, ">=", 0.9),)), Part("d")]

        parts = self.check(Step("a", 9, missing), Step("b", 9, broken), Step("c", 9, exceeded))
        assert [(part.name, part.verdict) for part in parts] == [
            ("a", "not run"),
            ("b", "FAILED"),
            ("c", "FAILED"),
            ("d", "passed"),
        ]
        lines = [line for part in parts for line in part_lines(part)]
        assert lines[:2] == ["a: not run: no such library", "b: FAILED: ZeroDivisionError: by zero"]
        assert summary_lines(parts)[0].split() == ["part", "verdict", "checks", "time"]

    def test_without_time_a_step_is_not_begun(self) -> None:
        parts = self.check(Step("a", 9, lambda _: [Part("a")]), total_s=0.5)
        assert parts[0].failed == "no time is left of 0 s"

    def test_a_step_that_hangs_is_killed(self) -> None:
        step = Step("memory", 30, lambda _: [])
        (part,) = check.run_apart(step, ["--calls", "1"], 0.05)
        assert part.failed == "took longer than 0 s"

    def test_a_process_that_ends_early_is_a_failure(self) -> None:
        (part,) = check.run_apart(Step("none of these", 30, lambda _: []), [], 60)
        assert str(part.failed).startswith("ended with 1: ValueError: ")

    def test_parts_survive_the_way_between_processes(self) -> None:
        parts = [Part("a", not_run="x"), Part("b", checks=(CheckRecord("c", 1.0, "<=", 2.0),), seconds=2.5)]
        assert check.parts_from_json(check.parts_to_json(parts)) == parts


def test_training_is_sampled(tmp_path: Path) -> None:
    levels = iter([0.0, *[80.0] * 10_000])
    command = [sys.executable, "-c", "import time; time.sleep(0.5); print('epoch 1')"]
    part = training.training(command, lambda: next(levels), 1)
    assert part.passed, part_lines(part)
    assert part.figures[0].value > 60
    assert part.notes == ("epoch 1",)
    assert not training.training([sys.executable, "-c", "raise SystemExit(3)"], lambda: 50.0, 1).passed
    data = training.write_images(tmp_path / "data", 3, 64)
    assert len(list((data / "labels").iterdir())) == 3


def test_decoding_without_nvdec_is_not_run(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = videos.write_h264(tmp_path / "video.mp4", (128, 64), 5)
    if driver_cuda_version():
        pytest.skip("this machine has an NVIDIA driver")
    with pytest.raises(NotHereError, match="NVDEC, BGR: not run: "):
        videos.decoding(video)


def scaling_bundle(folder: Path) -> Bundle:
    """A model with the parts that `network_alone` finds, for batches of one to eight."""
    onnx = pytest.importorskip("onnx")
    from edgevision.bundle.folder import Golden, write_bundle
    from tests.engines.host_onnxruntime import write_channel_graph

    spec = write_channel_graph(folder / "unused.onnx", BatchRange(1, 4, 8))
    helper, types = onnx.helper, onnx.TensorProto
    side = spec.frames.size_wh[0]
    nodes = [
        helper.make_node("Cast", ["frames"], ["image"], "pre/cast", to=types.FLOAT),
        helper.make_node("Mul", ["image", "half"], ["halved"], "net/mul"),
        helper.make_node("Gather", ["halved", "first"], ["plane"], "post/gather", axis=3),
        helper.make_node("Cast", ["plane"], ["mask"], "post/cast", to=types.UINT8),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array(value, kind), name)
        for name, value, kind in (("half", 0.5, np.float32), ("first", 0, np.int64))
    ]
    graph = helper.make_graph(
        nodes,
        "scaling",
        [helper.make_tensor_value_info("frames", types.UINT8, ["batch", side, side, 3])],
        [helper.make_tensor_value_info("mask", types.UINT8, ["batch", side, side])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    frames = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    golden = Golden(frames, (frames[..., 0] // 2,))
    return write_bundle(folder / "scaling", spec, model.SerializeToString(), golden)


def test_the_provider_is_compared_with_the_network_alone(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = scaling_bundle(tmp_path)
    with pytest.raises(NotHereError, match="has no CUDAExecutionProvider"):
        providers.provider_parts(bundle)
    from tests.engines.host_onnxruntime import HostOrt

    board = HostOrt(host).install(monkeypatch)
    (part,) = providers.provider_parts(bundle, 0.01)
    assert part.passed, part_lines(part)
    assert [figure.name for figure in part.figures] == [
        "plain, ms",
        "captured, ms",
        "captured, TF32, NHWC, ms",
        "outputs whose bits differ, plain and captured",
        "network alone, ms",
        "network alone, captured, ms",
        "network alone, captured, NHWC, ms",
        "network alone, captured, NHWC, TF32, ms",
    ]
    assert len(part.samples_ns) >= providers.LEAST_CALLS
    board.refuses["enable_cuda_graph"] = "control flow"
    (part,) = providers.provider_parts(bundle, 0.01)
    assert [check.name for check in part.checks if not check.passed] == [
        "captured: is captured",
        "captured, TF32, NHWC: is captured",
    ]


def test_the_whole_check_runs_on_simulated_hardware(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    bundle = scaling_bundle(tmp_path)
    from tests.engines.host_onnxruntime import HostOrt

    HostOrt(host).install(monkeypatch)
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stand_in, "slot_parts", partial(stand_in.slot_parts, side=SIDE))
    monkeypatch.setattr(videos, "write_h264", lambda path, *_: short_video(path))
    monkeypatch.setattr(check, "packaged_names", lambda: ())
    monkeypatch.setattr(engines, "load_library", without_tensorrt)
    monkeypatch.setattr(training, "gpu_use", lambda: lambda: 60.0)
    ending = [sys.executable, "-c", "print('epoch 1')"]
    monkeypatch.setattr(training, "train_command", lambda *_: ending)

    def here(step: Step, arguments: Sequence[str], limit_s: float) -> list[Part]:
        assert 0 < limit_s <= step.limit_s
        parsed = program.arguments().parse_args(arguments)
        options = CheckOptions(tuple(parsed.bundles), parsed.video, parsed.calls, parsed.seconds)
        return check.run_step(step, options)

    monkeypatch.setattr(program, "run_apart", here)
    results = tmp_path / "results"
    arguments = ["--check", str(bundle.path), "--calls", "4", "--seconds", "0.1", "-o", str(results)]
    assert program.main(arguments) in (0, 1)
    record = json.loads((results / "nvidia-l4" / "gpu-check.json").read_text())
    verdicts = {
        part["name"]: Part(part["name"], part.get("not_run"), part.get("failed")) for part in record["parts"]
    }
    assert [name for name, part in verdicts.items() if part.failed] == []
    ran = {name for name, part in verdicts.items() if part.not_run is None}
    assert ran >= {
        "every call of CUDA",
        "copies and events",
        "captured graphs",
        "slot, static batch, copied",
        "two batches in flight",
        "8 threads, 4 calls each",
        "onnxruntime-cuda, channel float",
        "eight videos",
        "training",
    }
    assert record["cuda"]["name"] == "NVIDIA L4"
    printed = capsys.readouterr().out
    assert "part " in printed
    assert "wrote " in printed


def without_tensorrt(flavour: str, purpose: str) -> Any:
    raise MissingExtraError(flavour, "tensorrt", purpose)


def short_video(path: Path) -> Path:
    return WRITE(path, (64, 64), 6)


WRITE = videos.write_h264


@pytest.mark.skipif(driver_cuda_version() > 0, reason="this machine has an NVIDIA driver")
@pytest.mark.parametrize("option", [(), ("--check",)])
def test_without_a_gpu_every_part_reports_the_reason_and_no_record_is_written(
    brightness_bundle: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    parts = len(check.steps_of(CheckOptions((brightness_bundle,)))) if option else 6
    command = [sys.executable, "-m", "benchmarks.gpu", *option, str(brightness_bundle)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "results")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout.count(": not run: ") == parts
    assert "no NVIDIA driver was found" in done.stdout
    assert not (tmp_path / "results").exists()
