"""8-bit kernels whose pairs of products overflow 16 bits: fused and unfused return equal results on every CPU."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgevision
from edgevision.device.cpu_class import cpu_class, saturates
from edgevision.engines import ort_settings
from edgevision.engines.ort_settings import EXACT_INT8, UNFUSED_QDQ, cpu_session, session_settings

CHANNELS, SIDE = 16, 8


def convolution(*, readers: int = 1) -> onnx.ModelProto:
    """A quantized convolution whose int8 activations and weights are all near 127: each pair of products is 32,258.

    The remainder is float32, and `readers` convolutions read the one weight.
    """
    weights = np.full((CHANNELS, CHANNELS, 3, 3), 127, np.int8)
    weights[1::2] = -127
    stored = {
        "step": np.float32(1 / 127),
        "zero": np.int8(0),
        "wide": np.float32(CHANNELS * 9 / 127),
        "weights": weights,
        "scales": np.full(CHANNELS, 1 / 127, np.float32),
        "zeros": np.zeros(CHANNELS, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["wd"], axis=0),
    ]
    for reader in range(readers):
        nodes += [
            helper.make_node("Conv", ["xd", "wd"], [f"c{reader}"]),
            helper.make_node("QuantizeLinear", [f"c{reader}", "wide", "zero"], [f"q{reader}"]),
            helper.make_node("DequantizeLinear", [f"q{reader}", "wide", "zero"], [f"y{reader}"]),
        ]
    graph = helper.make_graph(
        nodes,
        "saturating",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(f"y{reader}", TensorProto.FLOAT, [1, CHANNELS, SIDE - 2, SIDE - 2])
            for reader in range(readers)
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def answer(session: ort.InferenceSession) -> npt.NDArray[np.float32]:
    x = np.ones((1, CHANNELS, SIDE, SIDE), np.float32)
    return np.asarray(session.run(None, {"x": x})[0])


def unfused(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return answer(
        ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    )


def test_fused_kernels_match_the_unfused_graph() -> None:
    model = convolution()
    np.testing.assert_allclose(answer(cpu_session(model.SerializeToString())), unfused(model), atol=2)


def test_without_the_option_the_result_depends_on_the_cpu() -> None:
    """Shows that the test above can fail: where VNNI is missing the plain session saturates."""
    model = convolution()
    plain = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    difference = float(np.abs(answer(plain) - unfused(model)).max())
    if saturates():
        assert difference > 20, f"{cpu_class()}: ONNX Runtime {ort.__version__} no longer saturates"
    else:
        assert difference <= 2, cpu_class()


def test_the_graph_is_fused_with_the_option(tmp_path: Path) -> None:
    """Otherwise the comparison above would compare the unfused graph with itself."""
    settings = session_settings()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    cpu_session(convolution().SerializeToString(), settings)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "QLinearConv" in kinds


def test_a_weight_with_two_consumers_is_exact() -> None:
    """ONNX Runtime cannot apply the option to it and refuses the graph by itself."""
    model = convolution(readers=2)
    settings = ort.SessionOptions()
    settings.add_session_config_entry(EXACT_INT8, "1")
    settings.log_severity_level = 4
    with pytest.raises(Exception, match="existing tensor"):
        ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(answer(cpu_session(model.SerializeToString())), unfused(model), atol=2)


def test_the_first_reason_is_reported_where_no_form_opens() -> None:
    with pytest.raises(Exception, match="INVALID_PROTOBUF|ModelProto"):
        cpu_session(b"no graph")


def test_no_other_module_opens_sessions() -> None:
    package = Path(edgevision.__file__).parent
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"\.(InferenceSession|SessionOptions)\(", path.read_text())
    ]
    assert found == ["engines/ort_settings.py"]


@pytest.mark.parametrize("vnni", [False, True])
def test_the_option_is_set_where_it_matters(vnni: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_settings, "sums_in_32_bits", lambda: vnni)
    settings = session_settings(2, spin=True)
    if vnni:
        with pytest.raises(RuntimeError, match=EXACT_INT8):
            settings.get_session_config_entry(EXACT_INT8)
    else:
        assert settings.get_session_config_entry(EXACT_INT8) == "1"
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert settings.intra_op_num_threads == 2
    with pytest.raises(RuntimeError, match=UNFUSED_QDQ):
        settings.get_session_config_entry(UNFUSED_QDQ)
