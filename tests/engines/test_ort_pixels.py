"""First nodes that ONNX Runtime computes faster on a CPU return what the graph's own do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.engines.ort_pixels import with_fast_pixels
from edgevision.engines.ort_settings import cpu_session, session_settings
from edgevision.engines.protobuf import field, fields, number_field, numbers, packed

HEIGHT, WIDTH = 20, 28


def graph(
    *,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (2, 2),
    pads: tuple[int, ...] | None = (1, 1, 1, 1),
    between: str = "",
    bias: bool = True,
    batch: int | str = 1,
    to: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("y",),
    **attributes: Any,
) -> onnx.ModelProto:
    """Frames through a Cast, a Transpose, perhaps something `between`, and a convolution."""
    rng = np.random.default_rng(0)
    kind = helper.tensor_dtype_to_np_dtype(to)
    stored = {"weights": rng.normal(0, 0.1, (5, 3 // attributes.get("group", 1), *kernel)).astype(kind)}
    if attributes.get("group") == 3:
        stored["weights"] = np.tile(stored["weights"][:3], (2, 1, 1, 1))
    if bias:
        stored["bias"] = rng.normal(0, 1, len(stored["weights"])).astype(kind)
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], name="pre/Cast_1", to=to),
        helper.make_node("Transpose", ["float"], ["image"], name="pre/Transpose_1", perm=[0, 3, 1, 2]),
    ]
    read = "image"
    if between:
        nodes.append(helper.make_node(between, ["image"], ["changed"]))
        read = "changed"
    if pads is not None:
        attributes["pads"] = list(pads)
    names = [read, *stored]
    nodes.append(helper.make_node("Conv", names, ["y"], name="conv", strides=list(stride), **attributes))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info(name, to, [None] * 4) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def kinds(data: bytes) -> list[str]:
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    return [node.op_type for node in model.graph.node]


def compare(model: onnx.ModelProto, data: bytes, *, rows: int = 1) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (rows, HEIGHT, WIDTH, 3), np.uint8)
    expected, received = (
        ort.InferenceSession(one, session_settings(1), providers=["CPUExecutionProvider"]).run(
            None, {"frames": frames}
        )
        for one in (model.SerializeToString(), data)
    )
    for one, other in zip(expected, received, strict=True):
        # Sums of up to 147 products in another order.
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * float(np.abs(one).max()))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (6, 6), (7, 5)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("pads", [None, (0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)])
def test_a_convolution_reads_the_untransposed_image(
    kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, ...] | None
) -> None:
    model = graph(kernel=kernel, stride=stride, pads=pads, bias=kernel != (3, 3))
    data = with_fast_pixels(model.SerializeToString())
    assert kinds(data) == ["Cast", "Reshape", "Conv"]
    compare(model, data)


def test_names_stay_and_a_batch_may_be_dynamic() -> None:
    model = graph(batch="batch")
    model.graph.value_info.append(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 3, HEIGHT, WIDTH])
    )
    data = with_fast_pixels(model.SerializeToString())
    loaded = onnx.load_from_string(data)
    assert [node.name for node in loaded.graph.node] == ["pre/Cast_1", "pre/Transpose_1", "conv"]
    assert {tensor.name for tensor in loaded.graph.initializer} == {"weights", "bias", "image/shape"}
    for rows in (1, 3):
        compare(model, data, rows=rows)


@pytest.mark.parametrize(
    "change",
    [
        {"between": "Neg"},
        {"dilations": [2, 2]},
        {"group": 3},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"kernel": (9, 9), "pads": (4, 4, 4, 4)},
    ],
)
def test_other_readers_get_the_image_transposed_before_the_cast(change: dict[str, Any]) -> None:
    model = graph(**change)
    data = with_fast_pixels(model.SerializeToString())
    assert kinds(data)[:2] == ["Transpose", "Cast"]
    compare(model, data)


@pytest.mark.parametrize("shared", ["another reader", "weights"])
def test_a_shared_image_or_shared_weights_keep_three_channels(shared: str) -> None:
    model = graph()
    inputs = ["image", "weights"] if shared == "another reader" else ["y", "weights"]
    if shared == "another reader":
        model.graph.node.append(helper.make_node("Conv", inputs, ["y2"]))
    else:
        model.graph.node.append(helper.make_node("Mul", ["weights", "weights"], ["y2"]))
    model.graph.output.append(helper.make_tensor_value_info("y2", TensorProto.FLOAT, [None] * 4))
    data = with_fast_pixels(model.SerializeToString())
    assert kinds(data)[:3] == ["Transpose", "Cast", "Conv"]
    compare(model, data)


def test_other_graphs_stay_as_they_are(tmp_path: Path) -> None:
    wanted = graph(outputs=("y", "float")).SerializeToString()
    assert with_fast_pixels(wanted) is wanted, "the value between both is an output"
    half = graph(to=TensorProto.FLOAT16).SerializeToString()
    assert with_fast_pixels(half) is half
    whole = graph().SerializeToString()
    for damaged in (b"", b"not a model", whole[:-3], whole[: len(whole) // 2]):
        assert with_fast_pixels(damaged) is damaged
    onnx.save(graph(), str(tmp_path / "m.onnx"), save_as_external_data=True, location="w", size_threshold=0)
    external = (tmp_path / "m.onnx").read_bytes()
    assert with_fast_pixels(external) is external
    cpu_session(str(tmp_path / "m.onnx"))  # its weights are beside it


def test_outputs_that_are_added_count_as_readers() -> None:
    model = graph()
    for name, expected in (("image", ["Transpose", "Cast", "Conv"]), ("y2", ["Cast", "Reshape", "Conv"])):
        added = onnx.GraphProto()
        added.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        data = with_fast_pixels(model.SerializeToString() + field(7, added.SerializeToString()))
        assert [node.op_type for node in onnx.load_from_string(data).graph.node] == expected


def test_sessions_of_this_package_use_it(tmp_path: Path) -> None:
    model = graph()
    onnx.save(model, str(tmp_path / "m.onnx"))
    frames = np.random.default_rng(1).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    rewritten = ort.InferenceSession(
        with_fast_pixels(model.SerializeToString()), session_settings(), providers=["CPUExecutionProvider"]
    ).run(None, {"frames": frames})
    for source in (model.SerializeToString(), str(tmp_path / "m.onnx")):
        np.testing.assert_array_equal(cpu_session(source).run(None, {"frames": frames}), rewritten)


def test_messages_are_read_and_written() -> None:
    message = number_field(3, 300) + field(2, b"text") + packed(4, (1, 2**40)) + b"\x2d" + bytes(4)
    read = list(fields(message))
    assert [(entry.number, entry.value, bytes(entry.content)) for entry in read[:2]] == [
        (3, 300, b""),
        (2, 0, b"text"),
    ]
    assert numbers([read[0], read[2]]) == [300, 1, 2**40]
    assert b"".join(bytes(entry.whole) for entry in read) == message
    for broken in (message[:1], message[:4], message[:-1], b"\x0b", b"\x80" * 11):
        with pytest.raises(ValueError, match=r"ends within|unknown kind"):
            list(fields(broken))
