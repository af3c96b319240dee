"""The float graph in TF32, by ONNX Runtime's CUDA provider on a simulated GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevision.contract.spec import BatchRange
from edgevision.device.gpu import GpuFacts
from edgevision.engines import onnxruntime as engine
from edgevision.engines import precisions
from edgevision.errors import EngineError, UsageError
from tests.engines.host_cuda import HostCudart
from tests.engines.host_onnxruntime import REFUSED, HostOrt, opened, right
from tests.hardware import L4

STATIC = BatchRange(2, 2, 2)


@pytest.fixture
def board(host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> HostOrt:
    monkeypatch.setattr(engine, "gpu_facts", lambda index=0: L4)
    return HostOrt(host).install(monkeypatch)


def turing() -> GpuFacts:
    """A card without TF32."""
    return replace(L4, name="NVIDIA T4", sm=75)


def test_products_and_layout_are_the_tensor_cores(board: HostOrt, tmp_path: Path) -> None:
    with opened(tmp_path, STATIC, precision="tf32") as session:
        assert right(session, 2)
    assert board.opened == [{"use_tf32": "1", "enable_cuda_graph": "1", "prefer_nhwc": "1"}]


def test_a_version_without_the_layout_runs_in_the_other(board: HostOrt, tmp_path: Path) -> None:
    board.refuses["prefer_nhwc"] = "unknown option"
    with opened(tmp_path, STATIC, precision="tf32") as session:
        assert right(session, 2)
        assert "not in NHWC: unknown option" in session.info.notes
    assert board.opened[-1] == {"use_tf32": "1", "enable_cuda_graph": "1"}


def test_where_nothing_is_captured_the_layout_stays(board: HostOrt, tmp_path: Path) -> None:
    board.refuses["enable_cuda_graph"] = REFUSED
    with opened(tmp_path, STATIC, precision="tf32") as session:
        assert right(session, 2)
    assert board.opened[-1] == {"use_tf32": "1", "prefer_nhwc": "1"}


def test_an_older_gpu_is_an_error(board: HostOrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "gpu_facts", lambda index=0: turing())
    with pytest.raises(
        EngineError, match=r"tf32 needs a GPU of SM 8\.0 or newer; this GPU \(NVIDIA T4\) has SM 7\.5"
    ):
        opened(tmp_path, STATIC, precision="tf32")


@pytest.mark.parametrize(("gpu", "offered"), [(L4, True), (None, False), ("turing", False)])
def test_it_is_a_candidate_on_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, gpu: Any, offered: bool
) -> None:
    monkeypatch.setattr(precisions, "gpu_facts", lambda: turing() if gpu == "turing" else gpu)
    monkeypatch.setattr(precisions, "cpu_computes", lambda: ("bf16",))
    bundle: Any = type("B", (), {"manifest": type("M", (), {"graphs": ()})})
    assert precisions.precisions_of(bundle, "onnxruntime-cuda") == (("tf32",) if offered else ())
    assert precisions.precisions_of(bundle, "openvino") == ("bf16",)
    assert precisions.precisions_of(bundle, "tensorrt") == ()


def test_it_implies_its_engine() -> None:
    assert precisions.computing_engine(None, "tf32") == "onnxruntime-cuda"
    with pytest.raises(
        UsageError, match="openvino does not compute a float graph in tf32; onnxruntime-cuda does"
    ):
        precisions.computing_engine("openvino", "tf32")
