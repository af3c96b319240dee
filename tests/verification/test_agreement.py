"""What is compared where an engine shows candidates, where it does not, and where a bundle has none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from edgevision.bundle.candidates import Sensitivity
from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Verification
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import NmsSpec, Precision
from edgevision.engines.extra_outputs import CANDIDATES, graph_with_candidates
from edgevision.engines.opening import open_session
from edgevision.export.adoption import adopt_bundle
from edgevision.graph import nms as suppression
from edgevision.graph.adopt import AdoptOptions
from edgevision.graph.contract import with_candidates
from edgevision.verification.comparison import TOLERANCES
from edgevision.verification.golden import verify_session
from tests.graph import networks
from tests.verification.planting import OutputsAlone

NMS = NmsSpec(candidates=378, max_detections=300)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("agreement")
    onnx.save(networks.yolov8(), folder / "m.onnx")
    options = AdoptOptions(nms=NMS, frame_wh=(160, 100))
    adopt_bundle(folder / "m.onnx", "yolov8", options, None, folder / "b", lambda _: None)
    return Bundle.open(folder / "b")


class Replay(Session):
    """Answers the golden answers after a change, and shows no candidates."""

    def __init__(self, bundle: Bundle, answers: Outputs) -> None:
        super().__init__(bundle.spec, EngineInfo("replay", "replay", "cpu"))
        self.golden, self.answers = bundle.golden(), answers

    def _infer(self, frames: Frames) -> Outputs:
        rows = [int((self.golden.frames == f).all(axis=(1, 2, 3)).argmax()) for f in frames]
        return tuple(array[rows] for array in self.answers)


def names(record: Verification) -> set[str]:
    return {check.name for check in record.checks}


def failed(record: Verification) -> set[str]:
    return {check.name for check in record.checks if not check.passed}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_candidates_are_compared_where_they_are_shown(bundle: Bundle, engine: str) -> None:
    exact = "detections that differ from NMS of the graph's candidates"
    with open_session(bundle.path, engine=engine) as session:
        record = verify_session(session, bundle.golden())
        alone = verify_session(OutputsAlone(session), bundle.golden())
    assert record.passed, record.finding
    assert alone.passed, alone.finding
    assert names(record) - names(alone) == {
        exact,
        "candidates compared",
        "candidates without a partner",
        "score difference of candidates",
        "box difference of candidates",
    }
    assert next(c.measured for c in record.checks if c.name == "candidates compared") > 1000


def test_the_outputs_are_added_without_onnx(bundle: Bundle) -> None:
    data = graph_with_candidates(bundle.graph_path())
    assert data is not None
    model = onnx.load_model_from_string(data)
    wanted = with_candidates(onnx.load(bundle.graph_path()))
    ours, theirs = ([(v.name, v.type.tensor_type.elem_type) for v in m.graph.output] for m in (model, wanted))
    assert ours == theirs
    assert CANDIDATES == suppression.CANDIDATES


def test_a_graph_without_nms_shows_none(tmp_path: Path) -> None:
    onnx.save(networks.end2end(), tmp_path / "m.onnx")
    options = AdoptOptions(nms=NMS, classes=("yes", "no"))
    made = adopt_bundle(tmp_path / "m.onnx", "end2end", options, None, tmp_path / "b", lambda _: None)
    assert graph_with_candidates(made.graph_path()) is None
    with open_session(made.path, engine="onnxruntime") as session:
        assert session.infer_candidates(made.golden().frames[:1]) is None
        assert verify_session(session, made.golden()).passed


@pytest.mark.parametrize(
    ("precision", "change", "expected"),
    [
        ("float", "nothing", set()),
        ("fp16", "nothing", set()),
        ("int8", "nothing", set()),
        ("float", "score", {"score difference of partners", "detections that are missing"}),
        ("float", "box", {"box difference of partners"}),
        ("float", "missing", {"detections that are missing"}),
        ("fp16", "missing", {"detections that are missing"}),
        ("float", "weakest", {"detections that are missing"}),
        ("fp16", "weakest", set()),
        ("float", "duplicate", {"detections that NMS should remove"}),
        ("fp16", "duplicate", {"detections that NMS should remove"}),
    ],
)
def test_outputs_alone(bundle: Bundle, precision: Precision, change: str, expected: set[str]) -> None:
    boxes, scores, labels = (array.copy() for array in bundle.golden().answers)
    row = int((scores > 0).sum(axis=1).argmin())
    found = int((scores[row] > 0).sum())
    assert found < scores.shape[1], "the list has room"
    if change == "score":
        scores[row, 0] -= 0.01
    elif change == "box":
        boxes[row, 0] += (0.3, 0, 0.3, 0)
    elif change in ("missing", "weakest"):
        place = 0 if change == "missing" else found - 1
        for array in (boxes, scores, labels):
            array[row, place:-1] = array[row, place + 1 :]
    elif change == "duplicate":
        for array in (boxes, scores, labels):
            array[row, 1:] = array[row, :-1].copy()
        scores[row, 1] *= 0.9999
    record = verify_session(Replay(bundle, (boxes, scores, labels)), bundle.golden(), precision=precision)
    assert failed(record) == expected


def test_bundles_of_earlier_versions_are_compared_by_their_answers(bundle: Bundle) -> None:
    golden = bundle.golden()
    with open_session(bundle.path, engine="onnxruntime") as session:
        record = verify_session(session, Golden(golden.frames, golden.answers))
    assert record.passed
    assert "smallest IoU of partners" in names(record)
    assert "candidates compared" not in names(record)


def test_records_of_earlier_versions_load(bundle: Bundle, tmp_path: Path) -> None:
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    for entry in manifest["graphs"]:
        for record in entry["verifications"]:
            del record["sensitivity"]
            for check in record["checks"]:
                del check["tensor"]
    folder = tmp_path / "old"
    folder.mkdir()
    for file in bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "bundle.json").write_text(json.dumps(manifest))
    (record,) = Bundle.open(folder).graph("float").verifications
    assert record.passed
    assert record.sensitivity is None
    assert {check.tensor for check in record.checks} == {None}


def test_candidates_are_stored_with_the_golden_frames(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert golden.candidates is not None
    assert golden.candidates.boxes.shape == (*golden.candidates.scores.shape, 4)
    assert (np.diff(golden.candidates.scores, axis=1) <= 0).all()
    assert golden.candidates.iou_threshold == NMS.iou_threshold
    assert golden.sensitivity is None


def test_limits_follow_a_model_s_own_noise() -> None:
    plain = TOLERANCES["float"]
    assert plain.widened(None) is plain
    assert plain.widened(Sensitivity()) == plain
    wide = plain.widened(Sensitivity(raw=0.1, score=0.02, box=0.03))
    assert (wide.raw, wide.score, wide.box_share, wide.class_score) == (0.2, 0.04, 0.06, 0.04)


def test_the_finding_names_the_first_tensor() -> None:
    checks = (
        CheckRecord("fine", 0.0, "<=", 1.0, "a"),
        CheckRecord("wrong", 2.0, "<=", 1.0, "b"),
        CheckRecord("wrong too", 3.0, "<=", 1.0, "c"),
    )
    record = Verification("verify", "e", "e 1", 1, checks, "2026-01-01T00:00:00")
    assert record.finding == (
        "the first tensor that differs is b: wrong 2, must be <= 1; wrong too 3, must be <= 1"
    )
    assert dataclasses.replace(record, checks=checks[:1]).finding == ""
