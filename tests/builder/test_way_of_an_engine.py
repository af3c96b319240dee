"""An engine on a recorded board, end to end: built, verified, stored, selected, opened, run."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.proof import verify_here
from edgevision.bundle.folder import Bundle, Golden, write_bundle
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.device.gpu import GpuFacts
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import open_engine
from edgevision.errors import EngineError
from tests.builder.acted import ActedBuilder
from tests.engines import host_tensorrt
from tests.engines.host_cuda import HostCudart
from tests.hardware import AGX_ORIN, ORIN_NANO, ORIN_NX, Driver

pytest.importorskip("onnxruntime")
FRAMES = np.full((1, 64, 64, 3), 200, np.uint8)


class Board:
    """A recorded board with TensorRT 10.3, whose engines compute what ONNX Runtime computes."""

    def __init__(self, bundle: Path, network: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle, self.network, self.monkeypatch = bundle, network, monkeypatch
        self.messages: list[str] = []

    def become(self, gpu: GpuFacts, dla_cores: int) -> None:
        """The bundle was copied to another board."""
        cuda = HostCudart(gpu)
        self.runs_by = host_tensorrt.HostTensorRt(
            cuda, Bundle.open(self.bundle).spec, dla_cores=dla_cores, network=self.network
        )
        self.acted = ActedBuilder()
        self.acted.script.answers["Runtime", "num_DLA_cores"] = dla_cores
        self.acted.script.answers["Builder", "build_serialized_network"] = lambda *_: b"brightness"
        self.monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(gpu))
        cuda.install(self.monkeypatch)
        self.monkeypatch.setattr(tensorrt, "load_library", lambda flavour, _: self.runs_by.library(flavour))

    def build(self, precision: Precision, **request: Any) -> Path:
        watch = BuildCallbacks(self.messages.append, lambda _: None, lambda: False)
        wanted = EngineRequest(precision, memory_mib=4000, **request)
        library = self.acted.library()
        (outcome,) = build_engines(Bundle.open(self.bundle), library, wanted, watch, verify_here)
        return outcome.engine.folder

    def open(self, precision: Precision) -> Session:
        return open_session(self.bundle, engine="tensorrt", options=SessionOptions(precision=precision))


@pytest.fixture
def board(brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    dark = Bundle.open(brightness)
    graph = dark.graph_path("float").read_bytes()
    with open_session(brightness, engine="onnxruntime") as network:
        write_bundle(tmp_path / "lamp", dark.spec, graph, Golden(FRAMES, network.infer(FRAMES)))
        # The builder is scripted: a graph of this name is enough for it.
        Bundle.open(tmp_path / "lamp").add_graph("fp16", graph)
        yield Board(tmp_path / "lamp", network, monkeypatch)


def test_an_engine_for_a_dla_runs_where_it_was_built(board: Board) -> None:
    board.become(AGX_ORIN, dla_cores=2)
    folder = board.build("fp16", dla_core=1)
    made = open_engine(folder).manifest
    assert made.built_on.dla_cores == 2
    assert made.verification is not None
    assert made.verification.passed
    with board.open("fp16") as session:
        assert any("DLA" in note for note in session.info.notes)
        assert session.infer(FRAMES)[1][0, 0] == pytest.approx(200 / 255)


def test_an_engine_for_a_dla_is_refused_where_there_is_none(board: Board) -> None:
    board.become(AGX_ORIN, dla_cores=2)
    board.build("fp16", dla_core=0)
    board.become(ORIN_NANO, dla_cores=0)
    with pytest.raises(
        EngineError, match=r"Orin, 16 multiprocessors, 61.4 GiB; this is Orin, 8 multiprocessors"
    ):
        board.open("fp16")
    with pytest.raises(EngineError, match="Orin has 0 DLA cores; received --device dla:0"):
        board.build("fp16", dla_core=0)


@pytest.mark.parametrize("other", [ORIN_NX, ORIN_NANO], ids=["Orin NX", "Orin Nano"])
def test_an_engine_of_an_agx_orin_is_built_again_on_a_smaller_one(board: Board, other: GpuFacts) -> None:
    board.become(AGX_ORIN, dla_cores=2)
    first = board.build("fp16")
    board.become(replace(other, cuda=AGX_ORIN.cuda), dla_cores=0)
    with pytest.raises(EngineError, match=r"for which its kernels were not timed; rebuild: edgevision build"):
        board.open("fp16")
    second = board.build("fp16")
    assert second != first, "one would take the other's place"
    names = [path.name for path in (board.bundle / "engines").glob("timing-*")]
    assert len(names) == 2, f"timings of two GPUs in one file: {names}"
    with board.open("fp16") as session:
        assert second.name in session.info.notes[0]
    shutil.rmtree(second)
    with pytest.raises(EngineError, match="were not timed"):
        board.open("fp16")
