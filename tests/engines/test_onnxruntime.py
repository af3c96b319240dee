"""Providers of ONNX Runtime: there is no silent fallback.

The CPU build's second provider, Azure's, starts everywhere and takes no node of an ordinary graph: a real case of a
provider that leaves all to the CPU.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
import pytest

from edgevision.contract.session import Frames, SessionOptions
from edgevision.engines import onnxruntime as engine
from edgevision.engines.onnxruntime import (
    CUDA,
    ON_CPU,
    TENSORRT,
    ProviderTarget,
    node_shares,
    open_on,
)
from edgevision.engines.opening import open_session
from edgevision.engines.ort_sessions import BoundSession
from edgevision.engines.ort_settings import CPU
from edgevision.engines.pinned import PinnedBatches
from edgevision.errors import EngineError, UsageError
from tests.brightness import SIDE, write_brightness_bundle

AZURE = ProviderTarget("onnxruntime-azure", "AzureExecutionProvider", (CPU,))
HERE = ort.get_available_providers()
needs_azure = pytest.mark.skipif(
    AZURE.provider not in HERE, reason="this ONNX Runtime has no second provider"
)
counts_nodes = pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"), reason="ONNX Runtime before 1.24"
)
STRICT = SessionOptions()
LENIENT = SessionOptions(allow_fallback=True)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("bundles") / "b"
    write_brightness_bundle(bundle)
    return bundle / "model.onnx"


def frames_of(level: int) -> Frames:
    return np.full((1, SIDE, SIDE, 3), level, np.uint8)


@pytest.mark.skipif(CUDA in HERE, reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize("options", [STRICT, LENIENT])
@pytest.mark.parametrize(
    ("name", "provider"), [("onnxruntime-cuda", CUDA), ("onnxruntime-tensorrt", TENSORRT)]
)
def test_a_build_without_the_provider_is_no_fallback(
    graph: Path, name: str, provider: str, options: SessionOptions
) -> None:
    with pytest.raises(EngineError) as caught:
        open_session(graph.parent, engine=name, options=options)
    assert f"has no {provider}, only " in str(caught.value)
    assert "pip uninstall -y onnxruntime && pip install 'edgevision[gpu]'" in str(caught.value)


@needs_azure
@counts_nodes
def test_a_provider_that_takes_no_node_is_an_error(graph: Path) -> None:
    with pytest.raises(EngineError) as caught:
        open_on(AZURE, graph, None, STRICT)
    assert str(caught.value) == (
        f"AzureExecutionProvider takes 0.0% of the nodes of {graph}, expected at least 95%"
        " (CPUExecutionProvider 100.0% of the nodes); to run with AzureExecutionProvider,"
        " CPUExecutionProvider instead: --allow-fallback"
    )


@needs_azure
@counts_nodes
def test_an_allowed_fallback_is_reported_and_runs(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), open_on(AZURE, graph, None, LENIENT) as session:
        assert session.infer(frames_of(51))[1][0, 0] == pytest.approx(0.2)
        assert session.info.notes[0].startswith("fallback allowed: AzureExecutionProvider takes 0.0%")
    assert "because of --allow-fallback" in caplog.text


@needs_azure
def test_a_version_that_cannot_count_lets_the_cpu_take_nothing(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "get_provider_graph_assignment_info"
    for owner in ort.InferenceSession.__mro__:
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
    with pytest.raises(EngineError) as caught:
        open_on(AZURE, graph, None, STRICT)
    assert "fallback to CPU EP has been explicitly disabled" in str(caught.value)
    assert "cannot report node assignment (1.24 can)" in str(caught.value)
    with open_on(AZURE, graph, None, LENIENT) as session:
        assert session.info.notes == ()


def test_a_provider_that_does_not_start_is_an_error(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What onnxruntime-gpu 1.31 does where CUDA's libraries are missing: it logs, and opens on the CPU alone.
    real = ort.InferenceSession

    def without(path: str, settings: Any, providers: Any, **more: Any) -> Any:
        return real(path, settings, providers=[entry for entry in providers if entry[0] == CPU], **more)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", without)
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("libcudart.so.13 not found"), raising=False)
    monkeypatch.setattr(without, "get_provider_graph_assignment_info", None, raising=False)
    with pytest.raises(
        EngineError, match=r"CUDAExecutionProvider did not start: its libraries or the driver"
    ):
        open_on(engine.ON_CUDA, graph, None, STRICT)
    with open_on(engine.ON_CUDA, graph, None, LENIENT) as session:
        assert (session.info.engine, session.info.device) == ("onnxruntime-cuda", "cpu")
        assert session.info.providers == (CPU,)
        assert session.infer(frames_of(255))[1][0, 0] == 1


@counts_nodes
def test_nodes_are_counted_by_provider(graph: Path) -> None:
    settings = ort.SessionOptions()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    assert node_shares(ort.InferenceSession(str(graph), settings, providers=[CPU])) == {CPU: 1.0}


def test_a_fused_piece_counts_its_nodes() -> None:
    def piece(name: str, count: int) -> Any:
        return SimpleNamespace(ep_name=name, get_nodes=lambda: [None] * count)

    pieces = [piece(TENSORRT, 90), piece(CUDA, 1), piece(TENSORRT, 5), *[piece(CPU, 1)] * 4]
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: pieces)
    assert node_shares(session) == {TENSORRT: 0.95, CPU: 0.04, CUDA: 0.01}


@needs_azure
@counts_nodes
@pytest.mark.parametrize("share", [0.949, 0.951])
def test_the_limit_is_95_percent(graph: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(engine, "node_shares", lambda _: {AZURE.provider: share, CPU: 1 - share})
    if share < engine.LEAST_SHARE:
        with pytest.raises(EngineError, match=r"takes 94\.9% of the nodes"):
            open_on(AZURE, graph, None, STRICT)
    else:
        with open_on(AZURE, graph, None, STRICT) as session:
            assert session.info.notes == (
                "AzureExecutionProvider 95.1% of the nodes, CPUExecutionProvider 4.9% of the nodes",
            )


def bound_on_cpu(graph: Path) -> BoundSession:
    plain = open_on(ON_CPU, graph, None, STRICT)
    return BoundSession(plain.spec, plain.info, plain._inference, [], "cpu")


def test_bound_tensors_give_equal_outputs_owned_by_the_caller(graph: Path) -> None:
    with open_on(ON_CPU, graph, None, STRICT) as plain:
        bound = bound_on_cpu(graph)
        first = bound.infer(frames_of(51))
        kept = [array.copy() for array in first]
        for level in (0, 200, 255):
            for got, wanted in zip(bound.infer(frames_of(level)), plain.infer(frames_of(level)), strict=True):
                np.testing.assert_array_equal(got, wanted)
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_bound_tensors_serve_several_threads(graph: Path) -> None:
    with bound_on_cpu(graph) as bound:
        wrong: list[int] = []

        def call(base: int) -> None:
            for step in range(50):
                level = (base + step) % 256
                if abs(float(bound.infer(frames_of(level))[1][0, 0]) - level / 255) > 1e-6:
                    wrong.append(level)

        threads = [threading.Thread(target=call, args=(40 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_batches_of_a_gpu_are_pinned_if_cuda_can_be_called(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = open_on(ON_CPU, graph, None, STRICT)
    bound = BoundSession(plain.spec, plain.info, plain._inference, [], "cuda")
    assert bound.new_batch(3).shape == (3, *frames_of(0).shape[1:]), "aligned without CUDA"
    made: list[tuple[int, ...]] = []

    def new(self: PinnedBatches, shape: tuple[int, ...]) -> np.ndarray:
        made.append(shape)
        return np.zeros(shape, np.uint8)

    monkeypatch.setattr(PinnedBatches, "new", new)
    bound.new_batch(2)
    assert made == [(2, *frames_of(0).shape[1:])]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_graph_alone_has_no_other_precision(graph: Path, precision: Literal["fp16", "int8"]) -> None:
    """It ran in float without a word before."""
    with pytest.raises(
        UsageError, match=f"model.onnx is one graph; --precision {precision} selects a graph of"
    ):
        open_session(graph, options=SessionOptions(precision=precision))
    with open_session(graph, engine="onnxruntime", options=SessionOptions(precision="float")) as session:
        assert session.infer(frames_of(3))
