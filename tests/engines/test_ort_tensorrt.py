"""Options of the TensorRT provider follow the graph's precision, checked against the wheels' behaviour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines import devices, ort_settings, ort_tensorrt
from edgevision.engines import onnxruntime as engine
from edgevision.engines.onnxruntime import TENSORRT
from edgevision.engines.opening import open_session
from edgevision.engines.ort_settings import CPU
from edgevision.engines.ort_tensorrt import linked_tensorrt, readable_graph, strongly_typed, tensorrt_options
from edgevision.errors import EngineError, UsageError
from tests.brightness import write_brightness_bundle

WHEELS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("ort_providers.json").read_text())[
    "wheels"
]
PRECISIONS: tuple[Precision, ...] = ("float", "fp16", "int8")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_brightness_bundle(tmp_path / "b")
    opened = Bundle.open(tmp_path / "b")
    graph = opened.graph_path().read_bytes()
    return opened.add_graph("fp16", graph).add_graph("int8", graph)


@pytest.fixture(params=WHEELS)
def wheel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """This ONNX Runtime calls itself that wheel."""
    facts: dict[str, Any] = WHEELS[request.param]
    monkeypatch.setattr(ort, "__version__", request.param)
    monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda: facts["tensorrt"])
    return facts


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_enabled_where_typing_is_weak_alone(
    bundle: Bundle, wheel: dict[str, Any], precision: Precision
) -> None:
    options = tensorrt_options(bundle.graph_path(precision), precision)
    enabled = {name for name, value in options.items() if name in ("trt_fp16_enable", "trt_int8_enable")}
    needed = {"float": set(), "fp16": {"trt_fp16_enable"}, "int8": {"trt_fp16_enable", "trt_int8_enable"}}
    assert enabled == (set() if wheel["strongly_typed"] else needed[precision])


def test_only_options_supported_by_the_wheel_are_set(bundle: Bundle, wheel: dict[str, Any]) -> None:
    for precision in PRECISIONS:
        assert set(tensorrt_options(bundle.graph_path(precision), precision)) <= set(wheel["options"])


def test_no_wheel_has_an_option_for_strong_typing() -> None:
    assert not [name for wheel in WHEELS.values() for name in wheel["options"] if "strong" in name]


def test_fp8_is_refused_where_typing_is_weak(bundle: Bundle, wheel: dict[str, Any]) -> None:
    if wheel["strongly_typed"]:
        assert tensorrt_options(bundle.graph_path(), "fp8")
    else:
        with pytest.raises(EngineError, match="has no option for FP8 graphs"):
            tensorrt_options(bundle.graph_path(), "fp8")


def test_engines_of_other_precision_typing_and_tensorrt_have_separate_folders(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = set()
    for version, major in (("1.17.1", 8), ("1.23.2", 10), ("1.31.1", 10), ("1.23.2", 8)):
        monkeypatch.setattr(ort, "__version__", version)
        monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda major=major: major)
        for precision in PRECISIONS:  # three names of the same bytes
            options = tensorrt_options(bundle.graph_path(precision), precision)
            assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
            folders.add(options["trt_engine_cache_path"])
    assert len(folders) == 9  # 1.17.1 and a 1.23.2 for TensorRT 8 are alike


@pytest.mark.parametrize(
    ("version", "tensorrt", "strong"),
    [
        ("1.17.1", 8, False),
        ("1.18.0", 10, True),
        ("1.18.0", 8, False),
        ("1.26.0", 10, True),
        ("1.27.0", 10, False),
    ],
)
def test_a_build_for_another_tensorrt_is_detected(version: str, tensorrt: int, strong: bool) -> None:
    assert strongly_typed(version, tensorrt) is strong


@pytest.mark.parametrize(
    ("name", "content", "major"),
    [
        ("libonnxruntime_providers_tensorrt.so", b"\0libnvinfer_plugin.so.8\0libnvinfer.so.8\0", 8),
        ("libonnxruntime_providers_tensorrt.so", b"\0libnvinfer.so.10\0", 10),
        ("onnxruntime_providers_tensorrt.dll", b"\0nvinfer_10.dll\0", 10),
        ("other.so", b"libnvinfer.so.10", None),
    ],
)
def test_the_linked_tensorrt_is_read_off_the_library(
    tmp_path: Path, name: str, content: bytes, major: int | None
) -> None:
    (tmp_path / name).write_bytes(content)
    assert linked_tensorrt(tmp_path) == major


def test_tensorrt_8_reads_the_form_of_opset_17(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda: 8)
    graph = bundle.graph_path("int8")
    with pytest.raises(EngineError, match=r"has no form of opset 17; create it: edgevision quantize"):
        readable_graph(graph, "int8")
    record = Verification("export", "onnxruntime", "onnxruntime 1", 1, (), "now")
    bundle.add_form("int8", "opset17", graph.read_bytes(), record)
    assert readable_graph(graph, "int8").name == "model.int8.opset17.onnx"
    assert readable_graph(bundle.graph_path("fp16"), "fp16").name == "model.fp16.onnx"
    monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda: 10)
    assert readable_graph(graph, "int8") == graph


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_bundle_s_graph_is_opened_with_the_options_of_its_precision(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    """From the bundle to the provider's options; the CPU's provider stands in for TensorRT's."""
    monkeypatch.setattr(ort, "__version__", "1.31.1")
    monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda: 10)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    seen: list[dict[str, str]] = []
    real = ort_settings.open_inference

    def opened(model: str, settings: Any, providers: Any) -> Any:
        seen.extend(options for name, options in providers if name == TENSORRT)
        return real(model, settings, (CPU,))

    monkeypatch.setattr(engine, "open_inference", opened)
    monkeypatch.setattr(engine, "_check_providers", lambda *_: ())
    options = SessionOptions(precision=precision, force=True)
    with open_session(bundle.path, engine="onnxruntime-tensorrt", options=options) as session:
        assert session.precision == precision
    assert seen
    for each in seen:
        assert each["trt_fp16_enable"] == "1"
        assert ("trt_int8_enable" in each) == (precision == "int8")
        assert f"-{precision}-weak-trt10" in each["trt_engine_cache_path"]


def test_a_gpu_is_selected_by_its_number(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_tensorrt, "linked_tensorrt", lambda: 10)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, engine.CUDA, CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(devices, "gpu_names", lambda: ("RTX 4090", "T4"))
    seen: list[tuple[str, str | None]] = []
    real = ort_settings.open_inference

    def opened(model: str, settings: Any, providers: Any) -> Any:
        seen.extend((name, options.get("device_id")) for name, options in providers if name != CPU)
        return real(model, settings, (CPU,))

    monkeypatch.setattr(engine, "open_inference", opened)
    monkeypatch.setattr(engine, "_check_providers", lambda *_: ())
    for name in ("onnxruntime-tensorrt", "onnxruntime-cuda"):
        for device in (None, "cuda", "cuda:1"):
            options = SessionOptions(precision="float", device=device)
            with open_session(bundle.path, engine=name, options=options) as session:
                assert session.info.gpu_index == (device == "cuda:1")
    both, one = [TENSORRT, engine.CUDA], [engine.CUDA]
    assert seen == [(name, number) for names in (both, one) for number in (None, None, "1") for name in names]
    with pytest.raises(
        UsageError, match=r"no device cuda:2; it has: cpu \(.*\), cuda:0 \(RTX 4090\), cuda:1 \(T4\)"
    ):
        open_session(bundle.path, options=SessionOptions(device="cuda:2"))
