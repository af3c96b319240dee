"""Errors of graphs that cannot be built; products written as sums are the same function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.builder.builder import BuildCallbacks, BuildJob, BuiltPlan, build_plan
from edgevision.builder.matmul_rewrite import write_out_products
from edgevision.builder.network import refuse_precision, translate
from edgevision.builder.progress import BuildProgress, Phases
from edgevision.contract.spec import BatchRange, ModelSpec
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.log import Messages, logger
from edgevision.engines.tensorrt.versions import dialect
from edgevision.errors import EngineError, GraphError, MissingExtraError
from tests.doubles import SIDE, detector

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # after the skip

Nodes = list[Any]


@pytest.fixture(scope="module")
def rtx() -> Library:
    return load_library("tensorrt-rtx", "this test")


def graph_file(path: Path, nodes: Nodes, *, batch: int | str = 1, weights: Nodes | None = None) -> Path:
    """A detector's graph: `nodes` make ``scores`` from ``frames``; the other outputs are constants times it."""
    value = helper.make_tensor_value_info
    scores = [
        *nodes,
        helper.make_node("Mul", ["scores", "four"], ["flat"], name="flat"),
        helper.make_node("Unsqueeze", ["flat", "one"], ["wide"], name="wide"),
        helper.make_node("Mul", ["wide", "box"], ["boxes"], name="boxes"),
        helper.make_node("Cast", ["scores"], ["labels"], to=TensorProto.INT32, name="labels"),
    ]
    graph = helper.make_graph(
        scores,
        "g",
        [value("frames", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
        [
            value("boxes", TensorProto.FLOAT, [batch, 1, 4]),
            value("scores", TensorProto.FLOAT, [batch, 1]),
            value("labels", TensorProto.INT32, [batch, 1]),
        ],
        [
            numpy_helper.from_array(np.array([4], np.float32), "four"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.ones((1, 1, 4), np.float32), "box"),
            *(weights or []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def mean_of(source: str) -> Nodes:
    return [helper.make_node("ReduceMean", [source], ["scores4"], axes=[2, 3], keepdims=0, name="mean")]


CAST = helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT, name="pre/Cast")
MEAN = helper.make_node("ReduceMean", ["pixels"], ["m"], axes=[1, 2], keepdims=0, name="mean")
FIRST = helper.make_node("ReduceMean", ["m"], ["scores"], axes=[1], keepdims=1, name="first")


def build(
    rtx: Library, file: Path, spec: ModelSpec | None = None, **job: Any
) -> tuple[BuiltPlan, list[BuildProgress]]:
    seen: list[BuildProgress] = []
    watch = BuildCallbacks(lambda _: None, seen.append, lambda: False)
    asked = BuildJob(file, spec or detector(), "float", job.pop("sm", 89), **job)
    return build_plan(rtx, asked, None, watch), seen


def test_a_graph_builds_and_progress_is_reported(rtx: Library, tmp_path: Path) -> None:
    built, seen = build(rtx, graph_file(tmp_path / "g.onnx", [CAST, MEAN, FIRST]))
    assert len(built.plan) > 1000
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2
    assert fractions[-1] > 0.8
    assert any(progress.phase for progress in seen)


@pytest.mark.parametrize("error", [OSError("the terminal is gone"), KeyboardInterrupt()])
def test_what_progress_raises_ends_the_build(rtx: Library, tmp_path: Path, error: BaseException) -> None:
    def broken(_: BuildProgress) -> None:
        raise error

    job = BuildJob(graph_file(tmp_path / "g.onnx", [CAST, MEAN, FIRST]), detector(), "float", 89)
    with pytest.raises(type(error)) as caught:
        build_plan(rtx, job, None, BuildCallbacks(lambda _: None, broken, lambda: False))
    assert caught.value is error


def test_a_dynamic_batch_builds(rtx: Library, tmp_path: Path) -> None:
    spec = detector(BatchRange(1, 2, 4))
    built, _ = build(rtx, graph_file(tmp_path / "g.onnx", [CAST, MEAN, FIRST], batch="B"), spec)
    assert built.tensors[0].shape == (-1, SIDE, SIDE, 3)


def test_an_unsupported_operator_is_an_error(rtx: Library, tmp_path: Path) -> None:
    odd = helper.make_node("Frobnicate", ["m"], ["odd"], name="backbone/odd", domain="")
    last = helper.make_node("ReduceMean", ["odd"], ["scores"], axes=[1], keepdims=1, name="first")
    file = graph_file(tmp_path / "g.onnx", [CAST, MEAN, odd, last])
    with pytest.raises(
        GraphError, match=r"cannot parse .*g.onnx: node 'backbone/odd' \(Frobnicate\): "
    ) as caught:
        build(rtx, file)
    assert "\n" not in str(caught.value)


def test_uint8_must_be_cast_first(rtx: Library, tmp_path: Path) -> None:
    turned = helper.make_node("Transpose", ["frames"], ["turned"], perm=[0, 3, 1, 2], name="pre/Transpose")
    cast = helper.make_node("Cast", ["turned"], ["pixels"], to=TensorProto.FLOAT, name="pre/Cast")
    file = graph_file(tmp_path / "g.onnx", [turned, cast, MEAN, FIRST])
    with pytest.raises((GraphError, EngineError), match=r"g.onnx: .*(UINT8|UInt8|uint8)"):
        build(rtx, file)


def test_a_failed_build_reports_the_reason(rtx: Library, tmp_path: Path) -> None:
    """NonMaxSuppression parses, and then no kernel implements it."""
    boxes = numpy_helper.from_array(np.random.default_rng(0).random((1, 8, 4)).astype(np.float32), "b")
    most = numpy_helper.from_array(np.array([4], np.int64), "most")
    nodes = [
        CAST,
        helper.make_node("ReduceMean", ["pixels"], ["m"], axes=[1, 2, 3], keepdims=1, name="mean"),
        helper.make_node("Mul", ["b", "f"], ["scaled"], name="scaled"),
        helper.make_node("Reshape", ["m", "shape"], ["f"], name="f"),
        helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 2, 1], name="turned"),
        helper.make_node("NonMaxSuppression", ["scaled", "turned", "most"], ["kept"], name="post/nms"),
        helper.make_node("Cast", ["kept"], ["kf"], to=TensorProto.FLOAT, name="kf"),
        helper.make_node("ReduceSum", ["kf"], ["s"], keepdims=0, name="s"),
        helper.make_node("Reshape", ["s", "flatshape"], ["scores"], name="scores"),
    ]
    nodes[2], nodes[3] = nodes[3], nodes[2]
    weights = [
        boxes,
        most,
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "shape"),
        numpy_helper.from_array(np.array([1, 1], np.int64), "flatshape"),
    ]
    file = graph_file(tmp_path / "g.onnx", nodes, weights=weights)
    with pytest.raises((GraphError, EngineError), match=r"TensorRT-RTX .* cannot (build|parse) .*g.onnx: .+"):
        build(rtx, file)


def test_a_graph_that_contradicts_its_spec_is_an_error(rtx: Library, tmp_path: Path) -> None:
    file = graph_file(tmp_path / "g.onnx", [CAST, MEAN, FIRST])
    model = onnx.load(file)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = "marks" if name == "labels" else name
    model.graph.output[2].name = "marks"
    onnx.save(model, file)
    with pytest.raises(GraphError, match=r"marks int32; its spec expects frames uint8, boxes float32"):
        build(rtx, file)


def test_what_is_no_graph(rtx: Library, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"not a graph")
    with pytest.raises(GraphError, match=r"cannot parse .*g.onnx"):
        build(rtx, tmp_path / "g.onnx")


@pytest.mark.parametrize("transposed", [False, True])
def test_float_products_build_for_turing(rtx: Library, tmp_path: Path, transposed: bool) -> None:
    weight = numpy_helper.from_array(np.ones((1, 3) if transposed else (3, 1), np.float32), "w")
    bias = numpy_helper.from_array(np.zeros(1, np.float32), "bias")
    product = helper.make_node(
        "Gemm", ["m", "w", "bias"], ["scores"], transB=int(transposed), name="head/Gemm"
    )
    file = graph_file(tmp_path / "g.onnx", [CAST, MEAN, product], weights=[weight, bias])
    built, _ = build(rtx, file, sm=75)
    assert len(built.plan) > 1000
    assert all(count.kind != "matrix_multiply" for count in used_layers(rtx, file))


def used_layers(rtx: Library, file: Path) -> list[Any]:
    """Layers that some other layer, or the network's output, reads, after products were written out."""
    builder = rtx.module.Builder(logger(rtx, Messages()))
    network = builder.create_network(0)
    parser = rtx.module.OnnxParser(network, logger(rtx, Messages()))
    assert parser.parse_from_file(str(file))
    assert write_out_products(rtx, network) == 1
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    read = {
        layer.get_input(i).name for layer in layers for i in range(layer.num_inputs) if layer.get_input(i)
    }
    return [
        type("Layer", (), {"kind": layer.type.name.lower()})
        for layer in layers
        if layer.get_output(0).name in read or layer.get_output(0).is_network_output
    ]


def test_precisions_that_cannot_be() -> None:
    with pytest.raises(
        EngineError, match="TensorRT 8.6 does not support fp8 engines; it supports float, fp16, int8"
    ):
        refuse_precision(dialect("tensorrt", "8.6.1"), "fp8", 89)
    with pytest.raises(EngineError, match="fp8 needs SM 8.9 or newer; the engine is for SM 8.7"):
        refuse_precision(dialect("tensorrt", "10.3.0"), "fp8", 87)


def test_errors_of_a_parser_that_numbers_nodes() -> None:
    class Error:
        def node(self) -> int:
            return 12

        def desc(self) -> str:
            return "In node 12 with name:  and operator: Foo (parse):\n UNSUPPORTED_NODE: no plugin Foo"

        def code(self) -> int:
            return 8

    text = translate(Error(), dialect("tensorrt", "8.6.1"))  # type: ignore[arg-type]  # what 8.6 has of it
    assert text.startswith("node 12: UNSUPPORTED_NODE: no plugin Foo")
    assert text.endswith("export the model without it")


def test_phases_nest_and_never_go_back() -> None:
    phases = Phases()
    phases.start("all", None, 2)
    phases.start("first", "all", 4)
    phases.step("first", 1)
    assert phases.progress() == BuildProgress(0.25, "first")
    phases.finish("first")
    assert phases.progress() == BuildProgress(0.25, "all")
    phases.step("all", 0)
    phases.start("second", "all", 0)
    assert phases.progress() == BuildProgress(0.5, "second")


def test_a_flavour_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"edgevision build needs tensorrt.*edgevision\[tensorrt\]"):
        load_library("tensorrt", "edgevision build")
