"""OpenVINO with a network in a type below float32: the cut before post-processing, and CPUs with and without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.contract.session import SessionOptions
from edgevision.device.cpu_class import cpu_class, cpu_computes
from edgevision.engines import openvino as engine
from edgevision.engines import precisions
from edgevision.engines.opening import open_session
from edgevision.engines.precisions import precisions_of
from edgevision.errors import EngineError, UsageError

ov = pytest.importorskip("openvino")
from edgevision.engines.openvino_parts import Parts, compile_parts, split  # noqa: E402  # after the check for openvino

needs_bf16 = pytest.mark.skipif(
    "bf16" not in cpu_computes(), reason=f"this CPU ({cpu_class()}) does not compute bf16"
)
BF16 = SessionOptions(precision="bf16", threads=1)


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The included detector, in a folder of its own."""
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(Bundle.open("street").path, tmp_path / "street"))


@pytest.fixture
def model(street: Path) -> Any:
    return engine.shared_core().read_model(Bundle.open(street).graph_path())


def types_of(parts: Parts) -> Iterator[set[str]]:
    """The types that the nodes of each part are computed in, by OpenVINO's own account."""
    for part in parts._compiled:
        infos = [node.get_rt_info() for node in part.get_runtime_model().get_ordered_ops()]
        yield {str(info["runtimePrecision"].astype(str)) for info in infos}


def answers(parts: Parts, frames: Any) -> list[Any]:
    found = parts.create_request().infer({"frames": frames})
    return [np.array(found[parts.output(name)]) for name in ("boxes", "scores", "labels")]


def test_the_cut_separates_the_network_from_post_processing(model: Any) -> None:
    every = [node.get_friendly_name() for node in model.get_ordered_ops()]
    network, post = split(model)
    before, behind = (list(part.get_ordered_ops()) for part in (network, post))
    assert not [node for node in before if node.get_friendly_name().startswith("post/")]
    assert not [node for node in behind if node.get_type_name() == "Convolution"]
    kept = {node.get_friendly_name() for node in (*before, *behind)}
    assert {name for name in every if name.startswith("post/")} <= kept
    assert [list(output.get_shape()) for output in network.outputs] == [
        [1, 33, 52, 52],
        [1, 33, 26, 26],
        [1, 33, 13, 13],
    ]
    assert [port.get_shape() for port in post.inputs] == [port.get_shape() for port in network.outputs]


def test_a_cut_graph_answers_as_the_whole_one(street: Path, model: Any) -> None:
    core, settings = engine.shared_core(), {"INFERENCE_NUM_THREADS": 1}
    frames = Bundle.open(street).golden().frames[:1]
    whole = answers(compile_parts(core, model.clone(), settings, "f32"), frames)
    network, post = split(model)
    exact = {**settings, "INFERENCE_PRECISION_HINT": "f32"}
    cut = Parts((core.compile_model(network, "CPU", exact), core.compile_model(post, "CPU", exact)))
    for expected, got in zip(whole, answers(cut, frames), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert (whole[1] > 0.05).any(), "something was found"


def test_results_that_the_network_returns_itself_pass_through() -> None:
    from openvino import opset13

    frames = opset13.parameter([1, 4], np.float32)
    scores = opset13.softmax(frames, 1)
    scores.output(0).set_names({"scores"})
    network, post = split(ov.Model([opset13.result(scores)], [frames], "whole"))
    assert [len(network.outputs), len(post.inputs), len(post.outputs)] == [1, 1, 1]


@needs_bf16
def test_the_network_is_computed_in_bf16_and_nms_in_float32(model: Any) -> None:
    core, settings = engine.shared_core(), {"INFERENCE_NUM_THREADS": 1}
    network, post = types_of(compile_parts(core, model, settings, "bf16"))
    assert "bf16" in network
    assert "bf16" not in post
    assert "f32" in post


@needs_bf16
def test_bf16_passes_verification_and_is_recorded_for_this_class(street: Path) -> None:
    bundle = Bundle.open(street)
    golden = bundle.golden()
    with open_session(street, options=BF16) as session:
        assert (session.info.engine, session.precision) == ("openvino", "bf16")
        assert "network computed in bf16, post-processing in f32" in session.info.notes
        assert session.selection == "openvino bf16: as requested"
        lower = session.infer(golden.frames[:1])
    with engine.open_graph(bundle.graph_path(), bundle.spec, SessionOptions(threads=1)) as session:
        exact = session.infer(golden.frames[:1])
    assert 1e-5 < np.abs(lower[1] - exact[1]).max() < 0.05, "it is another computation of the same network"
    (record,) = Bundle.open(street).graph("bf16").verifications
    assert (record.engine, record.machine_class, record.passed) == ("openvino", cpu_class(), True)


@needs_bf16
def test_candidates_before_nms_come_from_the_same_computation(street: Path) -> None:
    bundle = Bundle.open(street)
    golden = bundle.golden()
    with engine.open_graph(bundle.graph_path(), bundle.spec, BF16) as session:
        found = session.infer_candidates(golden.frames[:1])
        assert found is not None
        _, outputs = found
        for shown, own in zip(outputs, session.infer(golden.frames[:1]), strict=True):
            np.testing.assert_array_equal(shown, own)


def without_types(monkeypatch: pytest.MonkeyPatch, *types: str) -> None:
    for module in (engine, precisions):
        monkeypatch.setattr(module, "cpu_computes", lambda: types)


def test_a_cpu_without_bf16_is_named_with_what_to_use(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_types(monkeypatch, "fp16")
    monkeypatch.setattr(engine, "cpu_model", lambda: "AMD EPYC 7551")
    monkeypatch.setattr(engine, "cpu_class", lambda: "x86-64 AVX2")
    with pytest.raises(EngineError) as caught:
        open_session(street, options=BF16)
    assert str(caught.value) == (
        "bf16 needs a CPU with AMX, AVX512-BF16 or ARM BF16; this CPU (AMD EPYC 7551, x86-64 AVX2) computes float32,"
        " fp16; use --precision float, or make an INT8 graph, which every CPU runs: edgevision quantize"
    )


def test_an_openvino_that_lacks_the_type_is_named(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    without_types(monkeypatch, "bf16")
    monkeypatch.setattr(engine, "shared_core", Core)
    with pytest.raises(EngineError, match=r"OpenVINO \S+ does not compute bf16 on this CPU"):
        open_session(street, options=BF16)


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_other_engines_refuse_bf16(street: Path, name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"{name} does not compute a float graph in bf16; openvino does: --engine"
    ):
        open_session(street, engine=name, options=BF16)


def test_bf16_is_a_precision_of_openvino_where_the_cpu_computes_it(
    street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(street)
    for types, expected in (((), ("float",)), (("fp16",), ("float",)), (("bf16", "fp16"), ("float", "bf16"))):
        without_types(monkeypatch, *types)
        assert precisions_of(bundle, "openvino") == expected
        assert precisions_of(bundle, "onnxruntime") == ("float",)


@pytest.mark.parametrize(("types", "expected"), [(("fp16",), True), ((), False)])
def test_an_fp16_graph_is_computed_in_fp16_where_the_cpu_does(
    street: Path, monkeypatch: pytest.MonkeyPatch, types: tuple[str, ...], expected: bool
) -> None:
    if "FP16" not in engine.shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this OpenVINO does not compute fp16 on this CPU")
    without_types(monkeypatch, *types)
    bundle = Bundle.open(street)
    golden = bundle.golden()
    half = SessionOptions(precision="fp16", threads=1)
    with engine.open_graph(bundle.graph_path(), bundle.spec, half) as session:
        assert ("network computed in f16, post-processing in f32" in session.info.notes) == expected
        scores = session.infer(golden.frames[:1])[1]
    difference = np.abs(scores - golden.answers[1][:1]).max()
    assert (difference > 1e-5) == expected
    assert difference < 0.02
