"""From a checkpoint to a bundle that matches PyTorch; nothing is written if it does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgevision.bundle.folder import Bundle
from edgevision.contract.image import fit_frame
from edgevision.contract.nms import greedy_nms
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange, NmsSpec
from edgevision.engines.opening import open_session
from edgevision.errors import RecipeError, UsageError, VerificationError
from edgevision.evaluation.detection import (
    PROTOCOL_CANDIDATES,
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    detect_all,
    read_annotations,
)
from edgevision.export import exporter
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.golden import golden_from_source
from edgevision.export.modules import styles
from edgevision.models.recipe import Recipe, SourceModel, load_recipe
from edgevision.sources.image_files import read_image
from edgevision.verification.comparison import compare_answers

DYNAMIC = BatchRange(1, 2, 3)
FORMS = {
    "static": ExportOptions(random_weights=True),
    "batch2": ExportOptions(random_weights=True, batch=BatchRange(2, 2, 2)),
    "dynamic": ExportOptions(random_weights=True, batch=DYNAMIC),
    "frame": ExportOptions(random_weights=True, frame_wh=(320, 180)),
    "frame-dynamic": ExportOptions(random_weights=True, frame_wh=(320, 180), batch=DYNAMIC),
}
SMALL = {
    "yolov5": (128, 96),
    "yolov5-seg": (128, 96),
    "ultralytics": (128, 96),
    "resnet": (64, 64),
    "cnn": (32, 32),
    "unet": (96, 64),
}


def quiet(_: str) -> None:
    """Progress that is discarded."""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SMALL)
def test_every_recipe_and_form_is_verified(name: str, form: str, tmp_path: Path) -> None:
    options = dataclasses.replace(
        FORMS[form], size_wh=SMALL[name], nms=NmsSpec(candidates=200, max_detections=100)
    )
    bundle = export_bundle(load_recipe(name), options, tmp_path / "b", quiet)
    (record,) = bundle.graph("float").verifications
    assert record.stage == "export"
    assert record.passed
    assert bundle.spec.frames.batch == options.batch
    assert bundle.spec.frames.size_wh == (options.frame_wh or SMALL[name])
    for engine in ("onnxruntime", "openvino"):
        with open_session(bundle.path, engine=engine) as session:
            for rows in {options.batch.min, options.batch.max}:
                frames = np.repeat(bundle.golden().frames[:1], rows, axis=0)
                expected = tuple(np.repeat(array[:1], rows, axis=0) for array in bundle.golden().answers)
                checks = compare_answers(bundle.spec, expected, session.infer(frames), "float")
                assert all(check.passed for check in checks), (engine, rows, checks)


def test_a_graph_that_fails_verification_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight of the network is changed between PyTorch and the graph."""
    honest = styles.network_of

    def dishonest(*arguments: object, **options: object) -> onnx.ModelProto:
        bare = honest(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came
        weight = max(bare.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = onnx.numpy_helper.to_array(weight).copy()
        values.flat[:: values.size // 50] *= 4
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return bare

    monkeypatch.setattr(exporter, "network_of", dishonest)
    with pytest.raises(VerificationError, match="relative difference of the network's raw outputs"):
        export_bundle(load_recipe("cnn"), ExportOptions(random_weights=True), tmp_path / "b", quiet)
    assert list(tmp_path.iterdir()) == []


def test_too_few_suppression_steps_are_found_out(tmp_path: Path, data_dir: Path) -> None:
    options = ExportOptions(
        checkpoint=data_dir / "weights" / "yolov5n.pt",
        size_wh=(320, 320),
        nms=NmsSpec(candidates=300, depth=2),
        images=data_dir / "coco" / "calib",
    )
    with pytest.raises(
        VerificationError, match=r"NMS steps that the frames need \d+, must be <= 2.*--nms-steps \d*[02468]$"
    ):
        export_bundle(load_recipe("yolov5"), options, tmp_path / "b", quiet)
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_cannot_mean(tmp_path: Path) -> None:
    recipe = load_recipe("yolov5")
    target = tmp_path / "b"
    with pytest.raises(RecipeError, match=r"needs --checkpoint FILE; the authors' file: https://"):
        export_bundle(recipe, ExportOptions(), target, quiet)
    with pytest.raises(UsageError, match="exclude each other"):
        export_bundle(recipe, ExportOptions(Path("x.pt"), random_weights=True), target, quiet)
    with pytest.raises(UsageError, match="100x64: yolov5 needs multiples of 32"):
        export_bundle(recipe, ExportOptions(random_weights=True, size_wh=(100, 64)), target, quiet)
    with pytest.raises(UsageError, match="--class-names names 2; the checkpoint has 80 classes"):
        export_bundle(recipe, ExportOptions(random_weights=True, classes=("a", "b")), target, quiet)
    with pytest.raises(UsageError, match="holds no readable image"):
        export_bundle(load_recipe("cnn"), ExportOptions(random_weights=True, images=tmp_path), target, quiet)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def yolov5n(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(checkpoint=data_dir / "weights" / "yolov5n.pt")
    return export_bundle(load_recipe("yolov5"), options, tmp_path_factory.mktemp("yolov5n") / "b", quiet)


def test_the_bundle_records_its_provenance(yolov5n: Bundle) -> None:
    spec = Bundle.open(yolov5n.path).spec
    assert spec.name == "yolov5n"
    assert spec.classes[0] == "person"
    assert spec.provenance.source_sha256 == "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"
    assert "YOLOv5n" in spec.provenance.recipe
    assert {"edgevision", "torch", "onnx"} <= {package for package, _ in spec.provenance.versions}


def test_the_file_alone_runs(yolov5n: Bundle) -> None:
    with open_session(yolov5n.graph_path()) as session:
        assert session.spec == yolov5n.spec


def test_real_images_at_running_thresholds_match_greedy_pytorch(yolov5n: Bundle, data_dir: Path) -> None:
    """The graph at IoU 0.45 gives PyTorch's boxes over 0.25: IoU at least 0.999, scores within 1e-3."""
    recipe = load_recipe("yolov5")
    source = recipe.load(data_dir / "weights" / "yolov5n.pt")
    images = sorted((data_dir / "coco" / "eval").glob("*.jpg"))[:12]
    frames = np.stack([fit_frame(read_image(path), yolov5n.spec.frames)[0] for path in images])
    golden = golden_from_source(source, frames, yolov5n.spec.frames, recipe.pixels, yolov5n.spec.nms)
    with open_session(yolov5n.path, options=SessionOptions(iou_threshold=0.45)) as session:
        actual = [session.infer(frames[row : row + 1]) for row in range(len(frames))]
    joined = tuple(np.concatenate(arrays) for arrays in zip(*actual, strict=True))
    keep = tuple(np.where(scores >= 0.25, scores, 0) for scores in (golden.answers[1], joined[1]))
    checks = compare_answers(
        yolov5n.spec,
        (golden.answers[0], keep[0], golden.answers[2]),
        (joined[0], keep[1], joined[2]),
        "float",
    )
    assert {check.name: check.measured for check in checks}["detections compared"] > 100
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_threshold_set_at_load_reaches_the_graph(yolov5n: Bundle, data_dir: Path, engine: str) -> None:
    image = read_image(sorted((data_dir / "coco" / "eval").glob("*.jpg"))[5])
    frame, _ = fit_frame(image, yolov5n.spec.frames)
    counts = []
    for iou in (0.2, 0.45, 0.9):
        with open_session(yolov5n.path, engine=engine, options=SessionOptions(iou_threshold=iou)) as session:
            boxes, scores, labels = (array[0] for array in session.infer(frame[None]))
        found = scores > 0.1
        assert len(greedy_nms(boxes[found], scores[found], labels[found], iou)) == np.count_nonzero(found)
        counts.append(np.count_nonzero(found))
    assert counts[0] <= counts[1] < counts[2]


@pytest.mark.parametrize(
    ("engine", "candidates", "ap"),
    [
        pytest.param("onnxruntime", PROTOCOL_CANDIDATES, 30.54, marks=pytest.mark.exhaustive),
        pytest.param("openvino", PROTOCOL_CANDIDATES, 30.54, marks=pytest.mark.slow),
        pytest.param("openvino", NmsSpec().candidates, 30.08, marks=pytest.mark.exhaustive),
    ],
)
def test_average_precision_is_the_frameworks(
    data_dir: Path, tmp_path: Path, engine: str, candidates: int, ap: float
) -> None:
    exported = ExportOptions(
        checkpoint=data_dir / "weights" / "yolov5n.pt", nms=NmsSpec(candidates=candidates)
    )
    bundle = export_bundle(load_recipe("yolov5"), exported, tmp_path / "b", quiet)
    options = SessionOptions(iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR)
    labelled = read_annotations(
        data_dir / "coco" / "eval.json", data_dir / "coco" / "eval", bundle.spec.classes
    )
    with open_session(bundle.path, engine=engine, options=options) as session:
        accuracy = accuracy_from_detections(labelled, detect_all(session, labelled))
    assert accuracy.ap == pytest.approx(ap, abs=0.1)


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    recipe = load_recipe("cnn")

    def untrained() -> SourceModel:
        source = recipe.untrained()
        torch.manual_seed(1)
        return dataclasses.replace(source, classes=tuple("abcdefghij"), variant="mine")

    mine: Recipe = dataclasses.replace(recipe, name="mine", untrained=untrained)
    bundle = export_bundle(mine, ExportOptions(random_weights=True), tmp_path / "b", quiet)
    assert bundle.spec.classes == tuple("abcdefghij")
    assert bundle.spec.provenance.recipe == "mine: mine"
