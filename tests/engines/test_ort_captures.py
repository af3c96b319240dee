"""Captured calls of ONNX Runtime's CUDA provider, on a simulated one."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines import ort_bindings, ort_captures
from edgevision.engines.onnxruntime import ON_CUDA, open_on
from edgevision.engines.ort_bindings import OrtTransfers, PinnedTransfers, transfers_of
from edgevision.engines.ort_captures import CaptureGate, capture_objection
from edgevision.engines.pinned import PinnedBatches
from edgevision.errors import EngineError
from tests.engines.host_cuda import CudaError, HostCudart
from tests.engines.host_onnxruntime import (
    REAL,
    REFUSED,
    SIDE,
    HostBinding,
    HostInference,
    HostOrt,
    HostOrtValue,
    frames_of,
    opened,
    right,
    write_channel_graph,
)

STATIC, DYNAMIC = BatchRange(2, 2, 2), BatchRange(1, 2, 12)


CAPTURED = ["plain", "captured 2", "plain", "replayed 2", "replayed 2"]
"""The calls of a capture: the outputs, the capture, then a negative, plain and replayed, and the frames again."""


@pytest.fixture
def board(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> HostOrt:
    return HostOrt(host).install(monkeypatch)


@pytest.mark.parametrize(
    ("simulated", "real"),
    [
        (HostOrtValue, REAL.OrtValue),
        (HostBinding, REAL.IOBinding),
        (HostInference, REAL.InferenceSession),
    ],
)
def test_simulated_methods_have_the_parameters_of_the_real_ones(simulated: type, real: type) -> None:
    checked = [name for name in vars(simulated) if not name.startswith("_") and name != "host"]
    assert len(checked) >= 2
    for name in checked:
        ours = inspect.signature(getattr(simulated, name)).parameters
        theirs = inspect.signature(getattr(real, name)).parameters
        needed = [each for each in theirs.values() if each.default is each.empty]
        # Parameters are named differently in 1.17; we pass all of them by place.
        assert len(needed) <= len(ours) <= len(theirs), name


def test_the_run_option_is_accepted_by_the_real_library() -> None:
    options = ort.RunOptions()
    options.add_run_config_entry(ort_captures.GRAPH_ID, "-1")
    assert options.get_run_config_entry("gpu_graph_id") == "-1"


def test_a_static_batch_is_captured_by_its_first_call_and_then_replayed(
    board: HostOrt, tmp_path: Path
) -> None:
    with opened(tmp_path, STATIC) as session:
        assert session.info.notes[-1] == "CUDA graphs for batches of none yet (at most 8)"
        assert right(session, 2)
        assert board.runs == CAPTURED
        del board.runs[:]
        for level in range(1, 5):
            assert right(session, 2, level), "the replay reads the new frames"
        assert board.runs == ["replayed 2"] * 4
        assert session.info.notes[-1] == "CUDA graphs for batches of 2 (at most 8)"
    assert board.opened == [{"use_tf32": "0", "enable_cuda_graph": "1"}]


def test_each_size_of_a_dynamic_batch_is_captured_up_to_the_limit(board: HostOrt, tmp_path: Path) -> None:
    with opened(tmp_path, DYNAMIC) as session:
        for level, count in enumerate((1, 4, 2, 4, 1, 12, 3, 5, 6, 7, 8, 9, 4, 9, 1)):
            assert right(session, count, level)
        captured = [run for run in board.runs if run.startswith("captured")]
        assert captured == [f"captured {count}" for count in (1, 4, 2, 12, 3, 5, 6, 7)]
        assert board.runs[-3:] == ["replayed 4", "plain", "replayed 1"]
        assert session.info.notes[-1] == "CUDA graphs for batches of 1, 2, 3, 4, 5, 6, 7, 12 (at most 8)"


def test_each_thread_has_its_own_graphs_as_in_onnx_runtime(board: HostOrt, tmp_path: Path) -> None:
    wrong: list[int] = []
    with opened(tmp_path, DYNAMIC) as session:

        def call(base: int) -> None:
            wrong.extend(step for step in range(10) if not right(session, 1 + (base + step) % 3, step))

        threads = [threading.Thread(target=call, args=(n,)) for n in range(ort_captures.THREADS + 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        captured = [run for run in board.runs if run.startswith("captured")]
        assert sorted(captured) == [f"captured {n}" for n in (1, 2, 3) for _ in range(ort_captures.THREADS)]
    assert wrong == []


def test_types_are_named_as_the_real_library_names_them() -> None:
    for dtype in (np.float32, np.int32, np.uint8):
        value = REAL.OrtValue.ortvalue_from_shape_and_type([2, 3], dtype, "cpu")
        assert ort_bindings._dtype(value) is dtype
        assert list(value.shape()) == [2, 3]
        assert value.data_ptr() != 0


def test_a_provider_that_cannot_capture_is_opened_without_and_says_so_once(
    board: HostOrt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board.refuses["enable_cuda_graph"] = REFUSED
    with caplog.at_level(logging.WARNING), opened(tmp_path, STATIC) as session:
        for level in range(3):
            assert right(session, 2, level)
        assert board.runs == ["plain"] * 3
        reason = "control flow nodes which can't be supported by CUDAExecutionProvider"
        assert session.info.notes[-1].startswith("no CUDA graph: ")
        assert reason in session.info.notes[-1]
    (record,) = caplog.records
    assert record.getMessage().startswith("channel: calls are not captured as CUDA graphs: ")
    assert board.opened[-1] == {"use_tf32": "0"}


def test_a_graph_that_no_setting_opens_is_an_error(board: HostOrt, tmp_path: Path) -> None:
    write_channel_graph(tmp_path / "model.onnx", STATIC)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="ONNX Runtime cannot open .*; to check the GPU's libraries"):
        open_on(ON_CUDA, tmp_path / "model.onnx", None, SessionOptions())


def test_a_capture_that_another_thread_spoils_is_tried_again(board: HostOrt, tmp_path: Path) -> None:
    board.capture_failures = ["CUDA failure 900: operation not permitted when stream is capturing"]
    with opened(tmp_path, STATIC) as session:
        assert right(session, 2)
        assert right(session, 2, 1)
        assert board.runs == [*CAPTURED[:1], "captured 2", *CAPTURED[1:], "replayed 2"]


def test_a_size_that_cannot_be_captured_runs_plain(
    board: HostOrt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board.capture_failures = ["CUDA failure 901"] * ort_captures.ATTEMPTS
    with caplog.at_level(logging.WARNING), opened(tmp_path, DYNAMIC) as session:
        for count in (3, 3, 1, 1):
            assert right(session, count)
        assert board.runs[-1] == "replayed 1"
        assert session.info.notes[-1].endswith("batches of 1 (at most 8); batch 3: CUDA failure 901")
    assert [record.getMessage() for record in caplog.records] == [
        "batches of 3 are not captured: CUDA failure 901"
    ]


def test_a_session_that_a_failed_capture_breaks_is_opened_again_without(
    board: HostOrt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board.capture_failures = ["CUDA failure 900"]
    board.breaks = "CUDA failure 901: operation failed due to a previous error during capture"
    with opened(tmp_path, DYNAMIC) as session:
        for level, count in enumerate((2, 2, 1, 3)):
            assert right(session, count, level)
        assert board.runs[-4:] == ["plain"] * 4
        assert board.opened[-1] == {"use_tf32": "0"}
        assert session.info.notes[-1] == f"no CUDA graph: a capture failed: {board.breaks}"
    assert f"channel: calls are no longer captured: {board.breaks}" in caplog.text


def test_an_error_without_a_capture_is_raised(board: HostOrt, tmp_path: Path) -> None:
    with opened(tmp_path, STATIC) as session:
        assert right(session, 2)
        board.host.fails["cudaStreamSynchronize"] = CudaError.cudaErrorLaunchFailure
        with pytest.raises(
            EngineError, match="onnxruntime-cuda failed on channel: CUDA failed in cudaStreamSync"
        ):
            session.infer(frames_of(2))
        del board.host.fails["cudaStreamSynchronize"]
        assert len(board.opened) == 1


def test_a_replay_that_differs_from_a_plain_call_is_not_used(board: HostOrt, tmp_path: Path) -> None:
    board.stale.add(2)
    with opened(tmp_path, DYNAMIC) as session:
        for level in range(3):
            assert right(session, 2, level)
        assert session.info.notes[-1].endswith("; batch 2: a replay differs from a plain call")
        assert board.runs[-1] == "plain"


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 7, 6)])
def test_a_negative_keeps_the_last_row(shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    kept = frames.copy()
    negative = ort_captures.negative_of(frames)
    np.testing.assert_array_equal(negative[:, :-1], 255 - frames[:, :-1])
    np.testing.assert_array_equal(negative[:, -1], frames[:, -1])
    np.testing.assert_array_equal(frames, kept)


def test_a_replay_that_another_capture_spoils_is_dropped(board: HostOrt, tmp_path: Path) -> None:
    board.disturbed_by = {2: 3}
    with opened(tmp_path, DYNAMIC) as session:
        for level, count in enumerate((2, 2, 1, 3, 2, 1, 3)):
            assert right(session, count, level)
        assert session.info.notes[-1] == (
            "CUDA graphs for batches of 1, 3 (at most 8); batch 2: its replay changed when batches of 3 were captured"
        )


def test_a_closed_session_raises(board: HostOrt, tmp_path: Path) -> None:
    session = opened(tmp_path, STATIC)
    assert right(session, 2)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="the session of channel is closed; open it again"):
        session.infer(frames_of(2))


def test_outputs_are_the_callers(board: HostOrt, tmp_path: Path) -> None:
    with opened(tmp_path, STATIC) as session:
        first = session.infer(frames_of(2))[0]
        kept = first.copy()
        right(session, 2, 1)
        np.testing.assert_array_equal(first, kept)


def test_frames_go_through_pinned_memory_and_those_of_the_session_s_batch_uncopied(
    board: HostOrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    copy = np.copyto

    def counted(to: Any, frames: Any) -> None:
        copied.append(frames.nbytes)
        copy(to, frames)

    monkeypatch.setattr(np, "copyto", counted)
    with opened(tmp_path, STATIC) as session:
        assert right(session, 2)
        del copied[:]
        assert right(session, 2, 1)
        assert copied == [2 * SIDE * SIDE * 3]
        batch = session.new_batch()
        batch[...] = frames_of(2, 5)
        before = len(board.host.calls)
        np.testing.assert_array_equal(session.infer(batch)[0], batch[..., 0])
        assert len(copied) == 1
        assert board.host.calls[before:] == [
            "cudaSetDevice",
            "cudaMemcpyAsync",
            "cudaStreamSynchronize",
            "cudaSetDevice",
            "cudaMemcpyAsync",
            "cudaStreamSynchronize",
        ]


def test_without_libcudart_onnx_runtime_copies(
    board: HostOrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfers = transfers_of("cuda", 0, PinnedBatches(0))
    assert isinstance(transfers, PinnedTransfers)
    transfers.close()
    transfers.close()
    board.host.fails["cudaStreamCreateWithFlags"] = CudaError.cudaErrorInsufficientDriver
    assert isinstance(transfers_of("cuda", 0, PinnedBatches(0)), OrtTransfers)
    with opened(tmp_path, STATIC) as session:
        assert right(session, 2)
        assert right(session, 2, 1)
        assert board.runs[-1] == "replayed 2"


def test_captures_run_alone_and_calls_together() -> None:
    gate, inside, most = CaptureGate(), [0], [0]
    wrong: list[str] = []
    lock = threading.Lock()
    together = threading.Barrier(3, timeout=20)

    def call() -> None:
        with gate.call():
            together.wait()
        for _ in range(30):
            with gate.call():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0)
                with lock:
                    inside[0] -= 1

    def capture() -> None:
        for _ in range(30):
            with gate.capture():
                if inside[0]:
                    wrong.append("a call during a capture")
                time.sleep(0)

    threads = [threading.Thread(target=call) for _ in range(3)]
    threads += [threading.Thread(target=capture) for _ in range(2)]
    for thread in threads[:3]:
        thread.start()
    for thread in threads[3:]:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.17.1", "captures one batch size only; update onnxruntime-gpu to 1.18"),
        ("1.18.0", None),
        ("1.31.1", None),
    ],
)
def test_versions_with_one_graph_do_not_capture(version: str, expected: str | None) -> None:
    objection = capture_objection(version)
    assert objection is None if expected is None else expected in str(objection)


def test_an_old_version_is_opened_without_captured_calls(
    board: HostOrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "__version__", "1.17.1")
    with opened(tmp_path, STATIC) as session:
        assert right(session, 2)
        assert session.info.notes[-1].startswith("no CUDA graph: ONNX Runtime 1.17.1 captures one batch size")
    assert board.opened == [{"use_tf32": "0"}]


def test_calls_are_plain_on_request(board: HostOrt, tmp_path: Path) -> None:
    write_channel_graph(tmp_path / "model.onnx", STATIC)
    with open_on(ON_CUDA, tmp_path / "model.onnx", None, SessionOptions(), captured=False) as session:
        assert right(session, 2)
        assert not any("CUDA graph" in note for note in session.info.notes)
    assert board.runs == ["plain"]
