"""The TensorRT runtime on simulated hardware, with calls checked against the signatures of real bindings."""

from __future__ import annotations

import ast
import gc
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevision.contract.session import Frames, SessionOptions
from edgevision.contract.spec import BatchRange, ModelSpec
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import contexts, execution_context
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.dla import dla_note
from edgevision.engines.tensorrt.session import TensorRtSession, open_engine
from edgevision.engines.tensorrt.versions import dialect
from edgevision.errors import BundleError, EngineError, UsageError
from tests.brightness import write_brightness_bundle
from tests.doubles import SIDE, BrightnessSession
from tests.engines.host_cuda import CudaError, HostCudart
from tests.engines.host_tensorrt import HostTensorRt, store_engine

BINDINGS = sorted((Path(__file__).parent.parent / "builder" / "bindings").glob("*.json"))
CLASSES = {
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "runtime": "Runtime",
    "inspector": "EngineInspector",
}
"""What our variables are called, and whose they are."""
SHARING = {("ICudaEngine", "create_execution_context", 1), ("IExecutionContext", "set_device_memory", 2)}
"""Called only where several contexts may use one profile: owner, member, number of arguments."""
STATIC = BatchRange(2, 2, 2)


class Board:
    """A device with TensorRT and one stored engine."""

    def __init__(
        self, cuda: HostCudart, folder: Path, monkeypatch: pytest.MonkeyPatch, batch: BatchRange = STATIC
    ) -> None:
        self.cuda, self.folder = cuda, folder
        self.stored, self.spec = store_engine(folder / "engine", batch)
        self.trt = HostTensorRt(cuda, self.spec)
        monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: self.trt.library(flavour))

    def open(self, options: SessionOptions | None = None) -> TensorRtSession:
        return open_engine(self.stored, self.spec, options or SessionOptions())


@pytest.fixture
def board(host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(host, tmp_path, monkeypatch)


def frames_of(*levels: int) -> Frames:
    return np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in levels])


def same(session: TensorRtSession, spec: ModelSpec, *levels: int) -> None:
    """The session answers as the network does when it is called directly."""
    expected = BrightnessSession(spec).infer(frames_of(*levels))
    for got, wanted in zip(session.infer(frames_of(*levels)), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def used_members() -> dict[tuple[str, str], set[int | None]]:
    """(class, member) of TensorRT that our files use, with the numbers of arguments; None: a property."""
    found: dict[tuple[str, str], set[int | None]] = {}
    for module in (contexts, execution_context, tensorrt):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        called = {id(node.func): len(node.args) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = CLASSES.get(ast.unparse(node.value).split(".")[-1])
                if owner is not None:
                    found.setdefault((owner, node.attr), set()).add(called.get(id(node)))
    return found


def span(signature: str) -> tuple[int, int]:
    """Least and most arguments of "name(self: T, a: int, b: U = <U.X: 0>) -> bool", without self."""
    inside = signature[signature.index("(") + 1 : signature.rindex(") ->")]
    while inside != (plain := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", inside)):
        inside = plain
    parameters = inside.split(",")[1:]
    return sum("=" not in parameter for parameter in parameters), len(parameters)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("f(self: T) -> bool", (0, 0)),
        ("f(self: T, name: str, shape: Dict[int, List[int]] = [1, 2]) -> bool", (1, 2)),
        ("f(self: T, strategy: S = <S.STATIC: 0>) -> C", (0, 1)),
    ],
)
def test_recorded_signatures_are_counted_rightly(signature: str, expected: tuple[int, int]) -> None:
    assert span(signature) == expected


@pytest.mark.parametrize("file", BINDINGS, ids=lambda path: path.stem)
def test_every_version_has_what_the_runtime_uses(file: Path) -> None:
    classes = json.loads(file.read_text())["classes"]
    flavour = "tensorrt-rtx" if file.stem.startswith("rtx") else "tensorrt"
    row = dialect(flavour, file.stem.split("-", 1)[1])  # type: ignore[arg-type]  # one of the two
    used = used_members()
    assert len(used) >= 14
    for (owner, member), counts in used.items():
        for count in counts:
            if (owner, member, count) in SHARING and not row.shares_profiles:
                continue
            recorded = classes[owner][member]
            if count is None:
                assert "property" in recorded, (owner, member)
                continue
            spans = [span(text) for text in recorded["method"] if "(self" in text]
            assert any(least <= count <= most for least, most in spans), (owner, member, recorded)
    assert "JSON" in classes["LayerInformationFormat"]
    assert not row.shares_profiles or "USER_MANAGED" in classes["ExecutionContextAllocationStrategy"]
    assert not row.shares_profiles or "device_memory_size_v2" in classes["ICudaEngine"]
    assert row.runtime_graphs == ("is_stream_capturable" in classes["IExecutionContext"])
    assert row.runtime_graphs == ("WHOLE_GRAPH_CAPTURE" in classes.get("CudaGraphStrategy", {}))
    assert row.runtime_graphs == classes.get("IRuntimeConfig", {}).get("cuda_graph_strategy", {}).get(
        "settable", False
    )


def test_a_session_matches_the_network(board: Board) -> None:
    with board.open() as session:
        for levels in ((0, 255), (7, 9), (7, 9)):
            same(session, board.spec, *levels)
        assert session.device_ms == 0.5
        assert session.info.engine == "tensorrt"
        assert session.info.library == "TensorRT 10.3.0, CUDA runtime 12.9"
        assert session.info.device == "NVIDIA L4"
        assert "replayed as one CUDA graph" in session.info.notes
    assert board.cuda.held() == 0


def test_calls_replay_the_graph_and_make_nothing_new(board: Board) -> None:
    with board.open() as session:
        before = len(board.cuda.calls)
        for level in range(3):
            session.infer(frames_of(level, level))
        each = [
            "cudaSetDevice",
            "cudaEventRecord",
            "cudaMemcpyAsync",
            "cudaGraphLaunch",
            "cudaEventRecord",
            "cudaSetDevice",
            "cudaEventSynchronize",
        ]
        assert board.cuda.calls[before:] == [*each, "cudaEventElapsedTime"] * 3


def test_frames_in_a_batch_of_the_session_go_to_the_device_without_a_copy_on_the_host(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []

    def counted(to: Frames, frames: Frames, copy: Callable[[Frames, Frames], None] = np.copyto) -> None:
        copied.append(frames.nbytes)
        copy(to, frames)

    monkeypatch.setattr(np, "copyto", counted)
    with board.open() as session:
        held = board.cuda.held()
        batches = [session.new_batch() for _ in range(2)]
        assert board.cuda.held() == held + 2
        for step in range(4):
            batch = batches[step % 2]
            batch[0], batch[1] = 50 * step, 200
            scores = session.infer(batch)[1][:, 0]
            np.testing.assert_array_equal(scores, np.array([50 * step, 200], np.float32) / 255)
        assert copied == []
        same(session, board.spec, 3, 4)
        assert copied == [batches[0].nbytes]
        del batch, batches
        gc.collect()
        assert board.cuda.held() == held
    assert board.cuda.held() == 0


def test_a_jetson_s_batch_is_host_memory(
    jetson: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(jetson, tmp_path, monkeypatch)
    with board.open() as session:
        batch = session.new_batch()
        batch[:] = 40
        assert session.infer(batch)[1][:, 0] == pytest.approx(40 / 255)


def test_outputs_are_owned_by_the_caller(board: Board) -> None:
    with board.open() as session:
        first = session.infer(frames_of(10, 20))
        kept = [array.copy() for array in first]
        session.infer(frames_of(200, 210))
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_network_that_cannot_be_captured_runs_without(board: Board) -> None:
    board.trt.capturable = False
    with board.open() as session:
        same(session, board.spec, 3, 4)
        (note,) = [note for note in session.info.notes if "CUDA graph" in note]
        assert note == "no CUDA graph: TensorRT could not enqueue the inference"
    assert board.cuda.held() == 0


def test_a_graph_that_cannot_be_made_is_done_without(board: Board) -> None:
    board.cuda.fails["cudaGraphInstantiateWithFlags"] = CudaError.cudaErrorNotSupported
    with board.open() as session:
        same(session, board.spec, 3, 4)
        assert any("cudaErrorNotSupported" in note for note in session.info.notes)
    assert board.cuda.held() == 0


def test_a_jetson_copies_nothing(jetson: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(jetson, tmp_path, monkeypatch)
    with board.open() as session:
        same(session, board.spec, 30, 40)
        same(session, board.spec, 50, 60)
        assert "frames and answers in shared memory, not copied" in session.info.notes
    assert not {"cudaMemcpyAsync", "cudaMalloc"} & set(jetson.calls)
    assert jetson.held() == 0


def test_sessions_share_one_engine_and_threads_one_session(board: Board) -> None:
    with board.open() as first, board.open() as second:
        assert len(board.trt.engines) == 1
        wrong: list[int] = []

        def call(session: TensorRtSession, base: int) -> None:
            for step in range(25):
                level = (base + 7 * step) % 256
                score = session.infer(frames_of(level, 255 - level))[1]
                if not np.array_equal(score[:, 0], np.array([level, 255 - level], np.float32) / 255):
                    wrong.append(level)

        threads = [threading.Thread(target=call, args=((first, second)[n % 2], 31 * n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(board.trt.engines[0].contexts) == 4, "two slots of each session"
    gc.collect()
    with board.open():
        assert len(board.trt.engines) == 2, "the engine goes with its last session"


@pytest.mark.parametrize(
    ("version", "batch", "engines"),
    [
        ("8.6.1", BatchRange(1, 2, 4), 2),
        ("8.6.1", STATIC, 1),
        ("10.3.0", BatchRange(1, 2, 4), 1),
    ],
)
def test_where_contexts_cannot_share_a_profile_each_has_its_engine(
    host: HostCudart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    batch: BatchRange,
    engines: int,
) -> None:
    board = Board(host, tmp_path, monkeypatch, batch)
    board.trt.version = version
    with board.open() as first, board.open() as second:
        assert len(board.trt.engines) == engines
        same(first, board.spec, 1, 2)
        same(second, board.spec, 3, 4)


def test_a_collected_session_frees_its_memory(board: Board) -> None:
    session = board.open()
    assert board.cuda.held() > 0
    del session
    gc.collect()
    assert board.cuda.held() == 0


def test_a_closed_session_raises(board: Board) -> None:
    session = board.open()
    session.close()
    session.close()
    with pytest.raises(EngineError, match="is closed; open it again"):
        session.infer(frames_of(1, 2))


@pytest.mark.parametrize(
    "call", ["cudaMalloc", "cudaHostAlloc", "cudaEventCreateWithFlags", "cudaMemcpyAsync"]
)
def test_a_session_that_cannot_be_made_holds_nothing(board: Board, call: str) -> None:
    board.cuda.fails[call] = CudaError.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match=f"CUDA failed in {call}: cudaErrorMemoryAllocation"):
        board.open()
    assert board.cuda.held() == 0


def test_a_failure_while_running_names_the_call(board: Board) -> None:
    with board.open() as session:
        board.cuda.fails["cudaGraphLaunch"] = CudaError.cudaErrorIllegalAddress
        with pytest.raises(EngineError, match="tensorrt failed on m: CUDA failed in cudaGraphLaunch"):
            session.infer(frames_of(1, 2))


def test_a_damaged_plan_is_never_handed_to_the_library(board: Board) -> None:
    board.stored.plan_path.write_bytes(b"brightnesz")
    with pytest.raises(
        BundleError, match=r"was modified: its sha256 differs from the manifest's; rebuild: edgevision build"
    ):
        board.open()
    assert board.trt.engines == []


def test_a_plan_that_the_library_refuses_has_its_reason(board: Board, tmp_path: Path) -> None:
    board.stored, _ = store_engine(tmp_path / "other", STATIC, plan=b"not a plan")
    with pytest.raises(EngineError, match=r"cannot load .*magicTag failed; rebuild: edgevision build"):
        board.open()


def test_a_plan_of_other_tensors_is_refused(board: Board) -> None:
    board.spec = replace(board.spec, input=replace(board.spec.frames, size_wh=(32, 32)))
    with pytest.raises(EngineError, match=r"frames uint8 \[2, 64, 64, 3\].*spec expects .*\[2, 32, 32, 3\]"):
        board.open()
    assert board.cuda.held() == 0


def test_thresholds_are_the_plans(board: Board) -> None:
    with pytest.raises(UsageError, match=r"the iou_threshold is fixed in a TensorRT engine; received 0\.5"):
        board.open(SessionOptions(iou_threshold=0.5))


def test_a_dla_engine_needs_its_core_and_reports_its_placement(board: Board, tmp_path: Path) -> None:
    board.stored, _ = store_engine(tmp_path / "dla", STATIC, dla_core=0)
    with pytest.raises(EngineError, match=r"built for DLA core 0; this device has 0"):
        board.open()
    board.trt.dla_cores = 1
    with board.open() as session:
        assert session.info.notes[-1].startswith("DLA core 0: 1 of 2 layers of the engine, 1 switches")


@pytest.mark.parametrize("text", ["", "{}", '{"Layers": null}', "[]"])
def test_an_inspector_without_layers_is_no_failure(text: str) -> None:
    assert dla_note(0, text) == "DLA core 0: the inspector lists no layers"


def test_a_bundle_without_a_fitting_engine_names_what_is_missing(tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path / "b")
    with pytest.raises(EngineError, match=r"holds no tensorrt-rtx engine; rebuild: edgevision build .*b "):
        open_session(tmp_path / "b", engine="tensorrt-rtx")
    with pytest.raises(UsageError, match=r"runs engines built for this device"):
        open_session(tmp_path / "b" / "model.onnx", engine="tensorrt-rtx")
