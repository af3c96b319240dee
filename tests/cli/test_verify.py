"""`edgevision verify`: a failed graph is detected, reported, recorded and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgevision.bundle.folder import Bundle, Golden, write_bundle
from edgevision.cli.root import edgevision
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.engines.opening import open_session
from edgevision.errors import VerificationError
from tests.quantize.pixel_networks import (
    CLASSES,
    SIDE,
    answers,
    frames,
    network,
    with_fault,
    with_int8_weights,
)

FLOAT = network(("Relu", {}))
INT8 = with_int8_weights(FLOAT)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    names = tuple("abcde")
    spec = ModelSpec("m", "classify", FrameInput((SIDE, SIDE)), classify_outputs(CLASSES), names, provenance)
    golden = Golden(frames(4), (answers(FLOAT, [frame[None] for frame in frames(4)]),))
    return write_bundle(tmp_path / "b", spec, FLOAT.SerializeToString(), golden)


def verify(bundle: Bundle, *options: str) -> Result:
    return CliRunner().invoke(edgevision, ["verify", str(bundle.path), *options], standalone_mode=False)


def test_every_graph_runs_in_every_engine(bundle: Bundle) -> None:
    bundle.add_graph("int8", INT8.SerializeToString())
    result = verify(bundle, "--json")
    assert result.exception is None
    records = json.loads(result.stdout)
    pairs = [(record["graph"], record["engine"]) for record in records]
    assert ("float", "onnxruntime") in pairs
    assert ("int8", "onnxruntime") in pairs
    assert all(record["passed"] for record in records)
    kept = Bundle.open(bundle.path).graph("int8").verifications
    assert [record.engine for record in kept] == [engine for graph, engine in pairs if graph == "int8"]
    assert kept[0].checks[-1].name.startswith("own error of the worst layer, ")


@pytest.mark.parametrize("channel", [None, 3])
def test_a_planted_fault_is_caught_and_named(bundle: Bundle, channel: int | None) -> None:
    bundle.add_graph("int8", with_fault(INT8, "last", channel).SerializeToString())
    result = verify(bundle)
    assert isinstance(result.exception, VerificationError)
    assert result.exception.exit_code == 2
    message = str(result.exception)
    assert "onnxruntime failed verification of the int8 graph" in message
    assert "the first layer that differs is last, in channel" in message
    assert "of the float graph" not in message


def test_a_disproved_graph_is_refused_until_forced(bundle: Bundle) -> None:
    bundle.add_graph("int8", with_fault(INT8, "first", None).SerializeToString())
    verify(bundle)
    with pytest.raises(VerificationError, match="own error of the worst layer, first"):
        open_session(bundle.path, engine="onnxruntime", options=SessionOptions(precision="int8"))
    forced = SessionOptions(precision="int8", force=True)
    with open_session(bundle.path, engine="onnxruntime", options=forced) as session:
        assert session.precision == "int8"
        assert "FORCED" in session.info.notes[0]
        assert session.infer(frames())[0].shape == (1, CLASSES)
    with open_session(bundle.path, engine="onnxruntime") as session:
        assert session.precision == "float"


def test_a_fixed_graph_is_selected_again(bundle: Bundle) -> None:
    bundle.add_graph("int8", with_fault(INT8, "first", None).SerializeToString())
    verify(bundle)
    Bundle.open(bundle.path).add_graph("int8", INT8.SerializeToString())
    assert verify(bundle).exception is None
    open_session(bundle.path, engine="onnxruntime", options=SessionOptions(precision="int8")).close()


def test_outputs_of_another_model_fail_verification(bundle: Bundle) -> None:
    other = np.full((4, 3, 3, 3), 0.01, np.float32)
    bundle.add_graph("fp16", network(("Relu", {}), weights=other).SerializeToString())
    assert "of the fp16 graph" in str(verify(bundle).exception)


def test_a_graph_that_no_engine_opens_is_a_failure_of_its_own(bundle: Bundle) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(INT8)
    broken.graph.node[4].op_type = "NoSuchOperator"
    bundle.add_graph("int8", broken.SerializeToString())
    message = str(verify(bundle).exception)
    assert "of the int8 graph: it runs (ONNX Runtime cannot open" in message
