"""Each version of TensorRT gets a file that it supports."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import onnx
import pytest
from onnx import helper

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.forms import graph_file, refuse_unread
from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.embedded_spec import embedded_opset
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.versions import dialect
from edgevision.errors import GraphError
from tests.builder.acted import ORIN
from tests.builder.recorded import RecordedModule, Script, working


def library(version: str) -> Library:
    return Library(
        "tensorrt", version, dialect("tensorrt", version), RecordedModule("tensorrt-10.3.0", Script())
    )


def as_opset(path: Path, opset: int) -> bytes:
    model = onnx.load(path)
    model.opset_import[0].version = opset
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def bundle(brightness: Path) -> Bundle:
    """An INT8 graph of opset 19 and its form of opset 17."""
    opened = Bundle.open(brightness)
    opened = opened.add_graph("int8", as_opset(opened.graph_path(), 19))
    record = Verification("export", "onnxruntime", "onnxruntime 1", 1, (), "now")
    return opened.add_form("int8", "opset17", as_opset(opened.graph_path(), 17), record)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("8.6.1", "model.int8.opset17.onnx"),
        ("10.3.0", "model.int8.onnx"),
        ("10.13.3", "model.int8.onnx"),
        ("11.4.0", "model.int8.onnx"),
    ],
)
def test_8_6_reads_the_form_and_others_the_graph(bundle: Bundle, version: str, name: str) -> None:
    assert graph_file(bundle, bundle.graph("int8"), library(version)).name == name
    assert graph_file(bundle, bundle.graph("float"), library(version)).name == "model.onnx"


def test_a_graph_without_its_form_is_refused_in_words(bundle: Bundle) -> None:
    bare = bundle.add_graph("int8", bundle.graph_path("int8").read_bytes())
    with pytest.raises(GraphError) as caught:
        graph_file(bare, bare.graph("int8"), library("8.6.1"))
    path = bare.path / "model.int8.onnx"
    assert str(caught.value) == (
        f"TensorRT 8.6.1 supports INT8 up to opset 17 with float32 scales; {path} has opset 19 and FP16 scales, and no"
        f" compatible form; create it: edgevision quantize {bare.path} --target tensorrt, or build"
        " --precision fp16"
    )
    assert graph_file(bare, bare.graph("int8"), library("10.3.0")) == path


def test_a_graph_of_opset_17_needs_no_form(bundle: Bundle) -> None:
    bare = bundle.add_graph("int8", as_opset(bundle.graph_path(), 17))
    assert graph_file(bare, bare.graph("int8"), library("8.6.1")).name == "model.int8.onnx"


@pytest.mark.parametrize("opset", [9, 17, 19, 300])
def test_the_opset_is_read_without_the_package_onnx(brightness: Path, tmp_path: Path, opset: int) -> None:
    path = tmp_path / "m.onnx"
    model = onnx.load(brightness / "model.onnx")
    model.opset_import[0].version = opset
    model.opset_import.append(helper.make_opsetid("com.microsoft", 999))
    onnx.save(model, path)
    assert embedded_opset(path) == opset


def test_a_graph_beyond_the_documented_limits_is_refused_before_it_is_parsed(bundle: Bundle) -> None:
    path = bundle.graph_path("int8")
    with pytest.raises(GraphError, match=r"TensorRT 8\.6 cannot read .*: the graph: its opset is 19"):
        refuse_unread(path, library("8.6.1"))
    refuse_unread(path, library("10.3.0"))


@pytest.mark.parametrize(
    ("version", "name"),
    [("tensorrt-8.6.1", "model.int8.opset17.onnx"), ("tensorrt-10.3.0", "model.int8.onnx")],
)
def test_a_build_parses_the_file_of_its_version(bundle: Bundle, version: str, name: str) -> None:
    """The whole way: bundle, choice, parser, engine, manifest."""
    script = working(version)
    number = version.split("-")[1]
    module = RecordedModule(version, script)
    mine = Library("tensorrt", number, dialect("tensorrt", number), module)
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    with (
        mock.patch("edgevision.builder.engines.gpu_facts", return_value=ORIN),
        mock.patch("edgevision.builder.builder.check_precision"),  # the acted network has no layers
    ):
        (outcome,) = build_engines(
            bundle, mine, EngineRequest("int8"), watch, lambda _, engine: engine.manifest
        )
    assert [Path(path).name for (path,) in script.made("OnnxParser", "parse_from_file")] == [name]
    assert outcome.engine.manifest.graph == bundle.graph("int8").file
    assert outcome.engine.manifest.precision == "int8"


def test_a_bundle_without_the_form_gives_8_6_its_next_graph(bundle: Bundle) -> None:
    """`--precision auto`, as JetPack 6.0 would build a bundle that was quantized before there were forms."""
    bare = bundle.add_graph("int8", bundle.graph_path("int8").read_bytes())
    script = working("tensorrt-8.6.1")
    mine = Library(
        "tensorrt", "8.6.1", dialect("tensorrt", "8.6.1"), RecordedModule("tensorrt-8.6.1", script)
    )
    messages: list[str] = []
    watch = BuildCallbacks(messages.append, lambda _: None, lambda: False)
    with mock.patch("edgevision.builder.engines.gpu_facts", return_value=ORIN):
        (outcome,) = build_engines(bare, mine, EngineRequest(), watch, lambda _, engine: engine.manifest)
    assert outcome.engine.manifest.precision == "float"
    assert any("no compatible form" in text and "building the float graph" in text for text in messages)
