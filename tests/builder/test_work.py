"""The share of an engine's work in its nominal precision."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevision.builder.work import engine_shares, network_work, promised_share, shares_text, short_of
from edgevision.bundle.folder import FileEntry
from edgevision.cli.commands.build import precision_lines
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.manifest import EngineManifest, LayerCount, LayerWork, Platform, WorkShare

WORK = (
    LayerWork("/a/Conv", 600, "int8"),
    LayerWork("/b/Conv", 300, "int8"),
    LayerWork("/c/Conv", 100, "float16"),
)


def layer(name: str, read: str, answers: str, **more: Any) -> dict[str, Any]:
    """A layer as the inspector of TensorRT 10 describes it."""
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Dimensions": [1, 8], "Format/Datatype": read}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 8], "Format/Datatype": answers}],
        **more,
    }


def inspected(*layers: Any) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": []})


INT8, FP16, FP32 = (
    "Thirty-two wide channel vectorized row major Int8",
    "Row major linear FP16 format",
    "Row major linear FP32",
)


def test_a_layer_computes_in_what_it_reads() -> None:
    text = inspected(
        layer("/a/Conv + PWN(/a/Sigmoid, /a/Mul)", INT8, FP16, Weights={"Type": "Int8", "Count": 432}),
        layer("/b/Conv", FP16, FP16),
        layer("__myl_Fc_0x12", INT8, INT8, Metadata="[ONNX Layer: /c/Conv]\x1e[ONNX Layer: /c/Add]"),
    )
    assert engine_shares(text, WORK) == (WorkShare("int8", 0.7), WorkShare("float16", 0.3))
    assert shares_text(engine_shares(text, WORK)) == "70.0 % of the work in int8, 30.0 % in float16"


def test_one_int8_layer_is_no_int8_engine() -> None:
    text = inspected(layer("/a/Conv", FP16, FP16), layer("/b/Conv", FP16, FP16), layer("/c/Conv", INT8, INT8))
    assert short_of(engine_shares(text, WORK), WORK, "int8") == (
        "10% of its work is done in int8; 90% of the graph's work is int8"
    )
    assert short_of(engine_shares(text, WORK), WORK, "fp16") is None
    assert short_of(engine_shares(text, WORK), WORK, "float") is None


def test_an_engine_without_layer_precisions_is_not_reported() -> None:
    piece = inspected({"Name": "{ForeignNode[/a/Conv.../c/Conv]}", "LayerType": "DLA"}, "gpu layer")
    shares = engine_shares(piece, WORK)
    assert shares == (WorkShare("unknown", 1.0),)
    assert short_of(shares, WORK, "int8") is None
    assert engine_shares(inspected(), ()) == ()
    assert short_of((), (), "int8") is None


def test_merged_layers_are_unknown_and_conversions_do_not_count() -> None:
    many = layer("{ForeignNode[/a/Conv.../c/Conv]}", FP16, FP16, Metadata="[ONNX Layer: /a/Conv]")
    conversion = layer("reformat", FP32, INT8, Metadata="[ONNX Layer: /b/Conv]")
    itself = layer("/b/Conv", INT8, INT8)
    shares = engine_shares(inspected(many, conversion, itself), WORK[:2])
    assert shares == (WorkShare("unknown", 0.6667), WorkShare("int8", 0.3333))


@pytest.mark.parametrize("text", ["", "[]", '{"Layers": 3}'])
def test_no_such_json(text: str) -> None:
    with pytest.raises(ValueError, match="lists no layers|Expecting value"):
        engine_shares(text, WORK)


def test_what_people_read_of_it() -> None:
    made = EngineManifest(
        "0",
        "tensorrt",
        "10.3.0",
        87,
        Platform("linux", "aarch64"),
        None,
        "int8",
        BatchRange(),
        FileEntry("model.plan", "aa", 1),
        (),
        work=WORK,
        network_layers=(LayerCount("convolution", "int8", 2), LayerCount("shuffle", "int64", 3)),
        builder_warnings=("Missing scale and zero-point for tensor x, expect fall back to non-int8",),
    )
    assert precision_lines(made) == [
        "layers of the network by type: 3 others, 2 int8",
        "work of the network: 90.0% in int8; the engine was not opened",
        "the builder warned: no INT8 range for 1 tensors, whose layers do not run in INT8",
    ]
    opened = replace(
        made, work_shares=(WorkShare("int8", 0.9), WorkShare("float16", 0.1)), builder_warnings=()
    )
    assert precision_lines(opened)[1:] == [
        "work of the engine: 90.0 % of the work in int8, 10.0 % in float16"
    ]


@pytest.fixture(scope="module")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return load_library("tensorrt-rtx", "this test")


def parsed(rtx: Library, file: Path) -> tuple[LayerWork, ...]:
    trt = rtx.module
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file(str(file))
    return network_work(rtx, network)


@pytest.mark.parametrize("recipe", ["yolov5", "resnet", "unet"])
def test_work_is_that_of_the_graph(rtx: Library, recipe: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.graph.contract import load_model
    from edgevision.graph.macs import macs_of_weighted_nodes
    from edgevision.graph.surgery import with_named_nodes
    from edgevision.models.recipe import load_recipe
    from edgevision.quantize.calibration.ranges import Ranges
    from edgevision.quantize.placement import placement_by_modelopt
    from edgevision.quantize.qdq import quantized

    options = ExportOptions(random_weights=True, size_wh=(64, 64))
    bundle = export_bundle(load_recipe(recipe), options, tmp_path / "b", lambda _: None)
    model = with_named_nodes(load_model(bundle.graph_path()))
    expected = {name: macs for name, macs in macs_of_weighted_nodes(model).items() if macs}
    work = parsed(rtx, bundle.graph_path())
    assert {item.layer: item.macs for item in work} == expected
    assert promised_share(work, "int8") == 0
    placement = placement_by_modelopt(model, bundle.golden().frames[:1])
    ranges = Ranges("max", 1, dict.fromkeys(placement.tensors, 3.0))
    import onnx

    onnx.save(quantized(model, placement, ranges), tmp_path / "int8.onnx")
    work = parsed(rtx, tmp_path / "int8.onnx")
    assert {item.layer: item.macs for item in work} == expected
    assert promised_share(work, "int8") > 0.95
