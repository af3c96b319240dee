"""CUDA graphs: one for each batch size in use, and those of TensorRT-RTX."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevision.contract.session import Frames, SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt import execution_context
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.replays import Replays
from edgevision.engines.tensorrt.session import TensorRtSession, open_engine
from edgevision.engines.tensorrt.versions import Flavour
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource
from tests.engines.host_cuda import CudaError, HostCudart
from tests.engines.host_tensorrt import HostRuntimeCache, HostTensorRt, store_engine

STREET = BatchRange(1, 2, 12)
"""As many cameras as may send a frame at once."""


class Board:
    """A device with one engine for batches that vary."""

    def __init__(
        self,
        host: HostCudart,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        batch: BatchRange = STREET,
        flavour: Flavour = "tensorrt",
        *,
        user_allocation: bool | None = None,
    ) -> None:
        self.host = host
        self.cache = folder / "cache"
        self.stored, self.spec = store_engine(
            folder / "engine", batch, flavour=flavour, user_allocation=user_allocation
        )
        self.trt = HostTensorRt(host, self.spec)
        monkeypatch.setenv("EDGEVISION_CACHE", str(self.cache))
        monkeypatch.setattr(HostRuntimeCache, "compiled", 0)
        monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: self.trt.library(flavour))

    def open(self) -> TensorRtSession:
        return open_engine(self.stored, self.spec, SessionOptions())

    def call(self, session: TensorRtSession, count: int, level: int = 0) -> list[str]:
        """One batch, its answer compared with the network's own; returns the calls of CUDA that it made."""
        before = len(self.host.calls)
        frames = frames_of(*((level + 19 * row) % 256 for row in range(count)))
        answers = session.infer(frames)
        made = self.host.calls[before:]
        for got, wanted in zip(answers, BrightnessSession(self.spec).infer(frames), strict=True):
            np.testing.assert_array_equal(got, wanted)
        return made

    def graph_note(self, session: TensorRtSession) -> str:
        (note,) = [note for note in session.info.notes if "CUDA graph" in note]
        return note


@pytest.fixture
def board(host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(host, tmp_path, monkeypatch)


def frames_of(*levels: int) -> Frames:
    return np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in levels])


def is_replay(made: list[str]) -> bool:
    """True if only the frames, which lie elsewhere each time, were copied outside of the graph."""
    return (
        "cudaGraphLaunch" in made
        and "cudaStreamBeginCapture" not in made
        and made.count("cudaMemcpyAsync") == 1
    )


def test_each_batch_size_has_a_graph_from_its_second_call_on(board: Board) -> None:
    with board.open() as session:
        assert is_replay(board.call(session, 2, 7)), "the usual size is captured when the engine is opened"
        for count in (1, 4, 3):
            assert not is_replay(board.call(session, count, 11))
            made = board.call(session, count, 90)
            assert made == [
                "cudaSetDevice",
                "cudaEventRecord",
                "cudaMemcpyAsync",
                "cudaGraphLaunch",
                "cudaEventRecord",
                "cudaSetDevice",
                "cudaEventSynchronize",
                "cudaEventElapsedTime",
            ]
        for step, count in enumerate((1, 2, 4, 3, 3, 2, 1, 4)):
            assert is_replay(board.call(session, count, 31 * step)), "the right graph, whatever came before"
        assert board.graph_note(session) == (
            "CUDA graphs for batches of 1, 2, 3, 4 (at most 8), 0.0 MiB of activations shared"
        )
        contexts = board.trt.engines[0].contexts
        assert len(contexts) == 5, "one for each graph, and one for sizes without"
        assert len({context.activations for context in contexts}) == 1, "they share their memory"
        with pytest.raises(UsageError, match="received uint8"):
            session.infer(frames_of(*range(13)))
    assert board.host.held() == 0


def test_graphs_are_bounded_and_those_in_use_stay(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_context, "Replays", lambda: Replays(limit=3, idle_calls=20))
    with board.open() as session:
        for count in (1, 3):
            board.call(session, count)
        # 1, 2 and 3 are captured. Sizes that take turns with them do not push them out.
        for step in range(12):
            assert not is_replay(board.call(session, 4 + step % 4, step))
            assert is_replay(board.call(session, 1 + step % 3, step))
        # From now on 1 is not used: the next size takes its place, once.
        for step in range(22):
            board.call(session, 2 + step % 2, step)
        board.call(session, 5, 3)
        assert is_replay(board.call(session, 5, 4))
        assert not is_replay(board.call(session, 1, 5))
        assert board.graph_note(session).startswith("CUDA graphs for batches of 2, 3, 5 (at most 3)")
        assert len(board.host.executables) == 3
    assert board.host.held() == 0


def test_the_memory_of_graphs_is_reported(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(free: Any, total: Any) -> int:
        free[0], total[0] = (1000 - 6 * len(board.host.executables)) << 20, 8 << 30
        return CudaError.cudaSuccess

    monkeypatch.setattr(board.host.cudaMemGetInfo, "_body", memory)
    with board.open() as session:
        board.call(session, 5)
        assert board.graph_note(session).endswith("about 12 MiB for the graphs")


def test_a_size_that_cannot_be_captured_runs_without_a_graph_and_reports_the_reason(board: Board) -> None:
    with board.open() as session:
        board.host.fails["cudaGraphInstantiateWithFlags"] = CudaError.cudaErrorMemoryAllocation
        board.call(session, 3)
        del board.host.fails["cudaGraphInstantiateWithFlags"]
        assert "cudaStreamBeginCapture" not in board.call(session, 3), "it is not tried with every call"
        assert is_replay(board.call(session, 2))
        assert "; batch 3: CUDA failed in cudaGraphInstantiateWithFlags" in board.graph_note(session)
    assert board.host.held() == 0


def test_where_one_context_has_the_profile_nothing_is_captured(board: Board) -> None:
    board.trt.version = "8.6.1"
    with board.open() as session:
        for count in (1, 2, 12, 2):
            assert not is_replay(board.call(session, count))
        assert board.graph_note(session) == (
            "no CUDA graph: the batch is dynamic (1:2:12); TensorRT 8.6 allows one context per profile"
        )


def test_work_on_a_dla_is_not_captured(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(host, tmp_path, monkeypatch, BatchRange(2, 2, 2))
    board.stored, _ = store_engine(tmp_path / "dla", BatchRange(2, 2, 2), dla_core=0)
    board.trt.dla_cores = 1
    with board.open() as session:
        assert not is_replay(board.call(session, 2))
        assert board.graph_note(session) == "no CUDA graph: work on a DLA is not captured"


def test_a_jetson_captures_them_without_copies(
    jetson: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(jetson, tmp_path, monkeypatch)
    with board.open() as session:
        for count in (1, 5, 1, 5, 2):
            board.call(session, count, 40 * count)
        assert "cudaMemcpyAsync" not in jetson.calls
        assert board.graph_note(session).startswith("CUDA graphs for batches of 1, 2, 5 ")
    assert jetson.held() == 0


def test_threads_of_two_sessions_get_their_own_outputs(board: Board) -> None:
    wrong: list[int] = []
    with board.open() as first, board.open() as second:
        sessions = (first, second)

        def call(base: int) -> None:
            for step in range(20):
                levels = [(base + 7 * step + row) % 256 for row in range(1 + (base + step) % 5)]
                scores = sessions[base % 2].infer(frames_of(*levels))[1][:, 0]
                if not np.array_equal(scores, np.array(levels, np.float32) / 255):
                    wrong.append(step)

        threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [session.info.notes[1].split(" (")[0] for session in sessions] == [
            "CUDA graphs for batches of 1, 2, 3, 4, 5"
        ] * 2
    assert wrong == []
    assert board.host.held() == 0


def test_many_cameras_are_served_by_graphs(board: Board) -> None:
    """Five cameras of which not all have a frame at once: from the engine on disk to results in their sinks."""
    sinks = [ListSink() for _ in range(5)]
    cameras = [MemorySource(30 + 7 * row) for row in range(5)]
    streams = [
        SourceStream(camera, [sink], threshold=0.0) for camera, sink in zip(cameras, sinks, strict=True)
    ]
    with board.open() as session:
        run_streams(session, streams, options=PipelineOptions(threshold=0.0, batch=5))
        launched = board.host.calls.count("cudaGraphLaunch")
        captured = board.host.calls.count("cudaStreamBeginCapture")
        assert launched > 10 * captured
        note = board.graph_note(session)
    assert note.startswith("CUDA graphs for batches of ")
    for row, sink in enumerate(sinks):
        levels = [round(float(seen.result.scores.sum()) * 255) for seen in sink.seen]  # type: ignore[union-attr]  # found
        assert levels == list(range(30 + 7 * row)), "each frame its own answer, in order"
    assert board.host.held() == 0


class TestRtx:
    @pytest.fixture
    def rtx(self, host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
        return Board(host, tmp_path, monkeypatch, flavour="tensorrt-rtx")

    def test_it_captures_a_batch_that_varies_by_itself(self, rtx: Board) -> None:
        with rtx.open() as session:
            for count in (1, 2, 12, 1):
                assert "cudaGraphLaunch" not in rtx.call(session, count)
            (context,) = rtx.trt.engines[0].contexts
            assert context.config is not None
            assert context.config.cuda_graph_strategy == "WHOLE_GRAPH_CAPTURE"
            assert rtx.graph_note(session) == (
                "CUDA graphs by TensorRT-RTX 1.7.1 itself, one for each batch size"
            )

    @pytest.mark.parametrize("user_allocation", [True, False])
    def test_a_static_batch_is_captured_if_the_library_says_that_it_can_be(
        self, host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, user_allocation: bool
    ) -> None:
        batch = BatchRange(2, 2, 2)
        rtx = Board(host, tmp_path, monkeypatch, batch, "tensorrt-rtx", user_allocation=user_allocation)
        with rtx.open() as session:
            assert is_replay(rtx.call(session, 2)) == user_allocation
            if not user_allocation:
                assert "cudaStreamBeginCapture" not in rtx.host.calls
                assert rtx.graph_note(session).endswith("edgevision build BUNDLE --rebuild")
        assert host.held() == 0

    def test_an_engine_for_memory_of_others_gets_it(self, rtx: Board) -> None:
        with rtx.open():
            (context,) = rtx.trt.engines[0].contexts
            assert context.activations in rtx.host.device
        assert rtx.host.held() == 0

    def test_kernels_that_came_later_are_kept_at_the_end(self, rtx: Board) -> None:
        for expected in (4, 0):
            before = HostRuntimeCache.compiled
            with rtx.open() as session:
                for count in (1, 2, 5):
                    rtx.call(session, count)
            assert HostRuntimeCache.compiled - before == expected

    def test_and_once_after_the_first_calls(self, rtx: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt, "WARM_CALLS", 5)
        session = rtx.open()
        (file,) = [path for path in rtx.cache.rglob("*.cache") if path.is_file()]
        at_start = file.read_bytes()
        for count in (1, 5, 7, 1):
            rtx.call(session, count)
        assert file.read_bytes() == at_start
        rtx.call(session, 1)
        for thread in threading.enumerate():
            if thread.name == "keep-kernels":
                thread.join()
        kept = file.read_bytes()
        assert b" for 7" in kept, "a process that is killed later has them"
        session.close()

    def test_sessions_of_one_engine_share_what_was_compiled(self, rtx: Board) -> None:
        with rtx.open() as first, rtx.open() as second:
            rtx.call(first, 5)
            rtx.call(second, 5)
            assert HostRuntimeCache.compiled == 3, "at the start, for 2, and for 5"


def test_graphs_leave_in_the_order_of_their_use() -> None:
    closed: list[int] = []
    replays = Replays(limit=2, idle_calls=0)

    def graph(count: int) -> Any:
        return SimpleNamespace(close=lambda: closed.append(count)), object()

    for count in (1, 2):
        replays.find(count)
        replays.add(count, lambda count=count: graph(count))  # type: ignore[misc]  # bound now
    assert replays.find(1) is not None
    assert replays.has_room(3)
    replays.add(3, lambda: graph(3))
    assert (closed, replays.sizes) == ([2], (1, 3))
    replays.close()
    replays.close()
    assert closed == [2, 1, 3]
