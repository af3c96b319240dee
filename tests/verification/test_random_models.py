"""Models with random weights are accepted: whatever their boxes and scores, nothing differs from their own file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import NmsSpec
from edgevision.engines.opening import open_session
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.verification.golden import verify_session
from tests.verification.random_models import KINDS, write_model

NMS = NmsSpec(candidates=300, max_detections=100)


def test_there_are_twenty_of_them() -> None:
    assert len(KINDS) >= 20


@pytest.mark.parametrize("name", KINDS)
def test_a_random_model_is_accepted(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the quantizer
        write_model(kind, tmp_path / "m.onnx")
    bundle = adopt_bundle(
        tmp_path / "m.onnx", kind.head, AdoptOptions(nms=NMS), None, tmp_path / "b", said.append
    )
    golden = Bundle.open(bundle.path).golden()
    (record,) = Bundle.open(bundle.path).graph("float").verifications
    assert record.passed
    assert record.sensitivity == golden.sensitivity
    assert (golden.sensitivity is not None) == kind.dynamic
    if kind.dynamic:
        assert "the source quantizes at run time" in said[-1]
        return  # OpenVINO has no ConvInteger
    if kind.bias <= -30:
        assert not (golden.answers[1] > 0).any()
        assert "it finds nothing above 0.25" in said[-1]
    for engine in ("onnxruntime", "openvino"):
        with open_session(bundle.path, engine=engine) as session:
            again = verify_session(session, golden)
        assert again.passed, again.finding
