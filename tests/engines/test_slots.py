"""Two batches in flight: copies and inference overlap, and nothing is overwritten before it was read."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.contract.session import Frames, Session, SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.session import TensorRtSession, open_engine
from edgevision.engines.tensorrt.slots import Slots
from edgevision.errors import EngineError, UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource
from tests.engines.host_cuda import CudaError, HostCudart
from tests.engines.host_tensorrt import HostTensorRt, store_engine

STATIC, DYNAMIC = BatchRange(2, 2, 2), BatchRange(1, 2, 4)


class Board:
    """A device with one engine."""

    def __init__(
        self,
        host: HostCudart,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        batch: BatchRange = STATIC,
        *,
        version: str = "10.3.0",
        dla_core: int | None = None,
    ) -> None:
        self.host = host
        self.stored, self.spec = store_engine(folder / "engine", batch, dla_core=dla_core)
        self.trt = HostTensorRt(host, self.spec, dla_cores=1)
        self.trt.version = version
        monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: self.trt.library(flavour))

    def open(self) -> TensorRtSession:
        return open_engine(self.stored, self.spec, SessionOptions())

    def steps(self, session: TensorRtSession, before: int) -> list[str]:
        """The calls since then, each with the number of its slot."""
        streams = [slot._stream.pointer for slot in slots_of(session)._slots]
        return [f"{call} {streams.index(stream)}" for call, stream in self.host.order[before:]]


@pytest.fixture(autouse=True)
def _sessions_of_earlier_tests_are_gone() -> None:
    """A caught error holds its session; an engine that is still loaded would be shared."""
    gc.collect()


@pytest.fixture
def board(host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(host, tmp_path, monkeypatch)


def slots_of(session: TensorRtSession) -> Slots:
    assert session._opened is not None
    return session._opened[1]


def frames_of(*levels: int) -> Frames:
    return np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in levels])


def scores_of(outputs: Any) -> list[int]:
    return [round(float(score) * 255) for score in outputs[1][:, 0]]


def test_the_second_batch_is_queued_before_the_first_is_waited_for(board: Board) -> None:
    with board.open() as session:
        for pending in [session.submit(frames_of(1, 2)), session.submit(frames_of(3, 4))]:
            pending.result()
        before = len(board.host.order)
        first = session.submit(frames_of(10, 20))
        second = session.submit(frames_of(30, 40))
        assert scores_of(first.result()) == [10, 20]
        third = session.submit(frames_of(50, 60))
        assert scores_of(second.result()) == [30, 40]
        assert scores_of(third.result()) == [50, 60]
        queue = ["event", "copy", "launch", "event"]
        assert board.steps(session, before) == [
            *(f"{call} 0" for call in queue),
            *(f"{call} 1" for call in queue),
            "wait 0",
            *(f"{call} 0" for call in queue),
            "wait 1",
            "wait 0",
        ]
        assert session.in_flight == 2
    assert board.host.held() == 0


@pytest.mark.parametrize("batch", [STATIC, DYNAMIC])
def test_results_are_right_in_any_order_of_waiting(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: BatchRange
) -> None:
    board = Board(host, tmp_path, monkeypatch, batch)
    with board.open() as session:
        for step in range(6):
            pending = [session.submit(frames_of(40 * n + step, 40 * n + 9)) for n in range(5)]
            order = list(np.random.default_rng(step).permutation(5))
            for n in order:
                assert scores_of(pending[n].result()) == [40 * n + step, 40 * n + 9]
    assert host.held() == 0


def test_a_slot_that_is_used_too_early_gives_wrong_results(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the tests above can fail."""
    monkeypatch.setattr(Slots, "_free", lambda self: self.first)
    with board.open() as session:
        pending = [session.submit(frames_of(10 * n, 9)) for n in range(1, 4)]
        assert scores_of(pending[0].result()) != [10, 9]


def test_a_batch_of_the_session_is_read_until_its_result(board: Board) -> None:
    """Three batches for two slots: the caller fills one while two are in flight."""
    with board.open() as session:
        ring = [session.new_batch() for _ in range(3)]
        pending: list[Any] = []
        for step in range(12):
            ring[step % 3][...] = 20 * step
            pending.append(session.submit(ring[step % 3]))
            if step:
                assert scores_of(pending[step - 1].result()) == [20 * (step - 1)] * 2
        assert scores_of(pending[-1].result()) == [220, 220]
        del ring
        gc.collect()
    assert board.host.held() == 0


def test_one_batch_at_a_time_needs_one_slot(board: Board) -> None:
    with board.open() as session:
        for level in range(5):
            assert scores_of(session.infer(frames_of(level, level))) == [level, level]
        assert len(board.trt.engines[0].contexts) == 1
        assert "batches in flight: 2" in session.info.notes


@pytest.mark.parametrize(("batch", "version", "dla_core"), [(DYNAMIC, "8.6.1", None), (STATIC, "10.3.0", 0)])
def test_engines_with_one_context_keep_one_batch_in_flight(
    host: HostCudart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: BatchRange,
    version: str,
    dla_core: int | None,
) -> None:
    board = Board(host, tmp_path, monkeypatch, batch, version=version, dla_core=dla_core)
    with board.open() as session:
        assert session.in_flight == 1
        pending = [session.submit(frames_of(n, n)) for n in (7, 8, 9)]
        assert [scores_of(each.result())[0] for each in pending] == [7, 8, 9]
        assert len(board.trt.engines[0].contexts) == 1


def test_a_jetson_keeps_one_batch_in_flight(
    jetson: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Board(jetson, tmp_path, monkeypatch).open() as session:
        assert session.in_flight == 1
        first, second = session.submit(frames_of(1, 2)), session.submit(frames_of(3, 4))
        assert (scores_of(first.result()), scores_of(second.result())) == ([1, 2], [3, 4])


def test_without_memory_for_a_second_slot_one_serves(
    board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with board.open() as session:
        first = session.submit(frames_of(1, 2))
        board.host.fails["cudaMalloc"] = CudaError.cudaErrorMemoryAllocation
        second = session.submit(frames_of(3, 4))
        assert (scores_of(first.result()), scores_of(second.result())) == ([1, 2], [3, 4])
        assert session.in_flight == 1
        assert "the second execution slot failed: CUDA failed in cudaMalloc" in caplog.text
        del board.host.fails["cudaMalloc"]
    assert board.host.held() == 0


def test_an_error_belongs_to_its_batch(board: Board) -> None:
    with board.open() as session:
        session.infer(frames_of(0, 0))
        first = session.submit(frames_of(1, 2))
        second = session.submit(frames_of(3, 4))
        board.host.fails["cudaEventSynchronize"] = CudaError.cudaErrorLaunchFailure
        third = session.submit(frames_of(5, 6))  # waits for the first one
        del board.host.fails["cudaEventSynchronize"]
        assert scores_of(second.result()) == [3, 4]
        assert scores_of(third.result()) == [5, 6]
        with pytest.raises(EngineError, match="tensorrt failed on m: CUDA failed in cudaEventSynchronize"):
            first.result()


def test_closing_finishes_what_is_in_flight(board: Board) -> None:
    session = board.open()
    pending = session.submit(frames_of(1, 2))
    session.close()
    assert board.host.held() == 0
    with pytest.raises(EngineError, match="is closed"):
        pending.result()


def test_frames_are_checked_when_they_are_given(board: Board) -> None:
    with board.open() as session, pytest.raises(UsageError, match="frames do not fit"):
        session.submit(frames_of(1, 2, 3))


def test_threads_get_their_own_results(board: Board) -> None:
    wrong: list[int] = []
    with board.open() as session:

        def call(base: int) -> None:
            for step in range(25):
                levels = [(base + 7 * step) % 256, (base + step) % 256]
                pending = session.submit(frames_of(*levels))
                if scores_of(pending.result()) != levels:
                    wrong.append(step)

        threads = [threading.Thread(target=call, args=(31 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert board.host.held() == 0


def test_engines_without_a_queue_run_at_once() -> None:
    session = BrightnessSession()
    pending = session.submit(frames_of(51))
    assert session.batches == [1]
    assert session.in_flight == 1
    assert scores_of(pending.result()) == [51]
    with pytest.raises(EngineError, match="already taken"):
        pending.result()


class Flights(Session):
    """Passes calls on, and notes how many are in flight."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner.spec, inner.info)
        self.inner = inner
        self.now = self.most = 0

    @property
    def in_flight(self) -> int:
        return self.inner.in_flight

    def new_batch(self, rows: int | None = None) -> Frames:
        return self.inner.new_batch(rows)

    def submit(self, frames: Frames) -> Any:
        pending = self.inner.submit(frames)
        self.now += 1
        self.most = max(self.most, self.now)
        flights = self

        class Counted:
            def result(self) -> Any:
                flights.now -= 1
                return pending.result()

        return Counted()

    def _infer(self, frames: Frames) -> Any:
        return self.inner.infer(frames)


@pytest.mark.parametrize(("live", "most"), [(False, 2), (True, 1)])
def test_files_keep_two_batches_in_flight_and_cameras_one(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool, most: int
) -> None:
    board = Board(host, tmp_path, monkeypatch, DYNAMIC)
    sinks = [ListSink() for _ in range(3)]
    sources = [MemorySource(40 + 7 * row, live=live) for row in range(3)]
    streams = [
        SourceStream(source, [sink], threshold=0.0) for source, sink in zip(sources, sinks, strict=True)
    ]
    with board.open() as session:
        flights = Flights(session)
        run_streams(flights, streams, options=PipelineOptions(threshold=0.0, batch=2))
        assert flights.most == most
        assert flights.now == 0
    for row, sink in enumerate(sinks):
        levels = [round(float(seen.result.scores.sum()) * 255) for seen in sink.seen]  # type: ignore[union-attr]  # found
        assert levels == sorted(levels)
        assert live or levels == list(range(40 + 7 * row)), "each frame its own result, in order"
    assert host.held() == 0


def test_a_run_that_is_stopped_leaves_nothing_in_flight(board: Board) -> None:
    source = MemorySource(None)
    seen: list[int] = []
    with board.open() as session:
        flights = Flights(session)
        stream = SourceStream(source, [ListSink()], threshold=0.0)
        run_streams(
            flights,
            [stream],
            options=PipelineOptions(threshold=0.0, batch=2),
            stop=lambda: len(seen) > 20,
            on_frame=lambda _stream, done: seen.append(done.frame.index),
        )
        assert flights.now == 0
    assert seen == sorted(seen)
    assert board.host.held() == 0
