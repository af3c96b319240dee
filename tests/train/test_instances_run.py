"""A whole run of a tiny mask network, from polygons to a bundle, and its initial weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from click.testing import CliRunner, Result

from edgevision.cli.root import edgevision
from edgevision.contract.spec import NmsSpec
from edgevision.errors import EdgevisionError
from edgevision.export.modules.answers import answers_of
from edgevision.export.modules.outputs import module_outputs
from edgevision.models.masks import Mixture, answers_from_mixture
from edgevision.models.plan import DetectorPlan, InstancePlan
from edgevision.models.recipe import load_recipe
from edgevision.models.weights import take_fitting
from edgevision.models.yolov5.model import yolov5
from edgevision.storage.codec import dataclass_from_json
from edgevision.train.job import Job

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning", "ignore::FutureWarning:lightning"
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, [str(argument) for argument in arguments])


def train(*arguments: object) -> Result:
    return invoke("train", *arguments, "--device", "cpu")


def failed(result: Result) -> str:
    assert isinstance(result.exception, EdgevisionError), repr(result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def run(instance_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten epochs at 64 px on its own images."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = ("--data", instance_data, "--val", instance_data, "--augment", 0.2)
    result = train("yolov5-seg", *options, "--size", 64, "--batch", 4, "--epochs", 10, "-o", folder)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return folder


def test_a_run_learns_and_measures_masks(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["masks"]) < 0.9 * float(rows[0]["masks"])
    assert {"mask AP", "mask AP50", "AP", "AP50", "mask AP50 diamond"} <= set(rows[-1])
    assert rows[0]["mask AP50"] == ""
    assert rows[-1]["mask AP50"] != ""
    job = dataclass_from_json(Job, json.loads((run / "config.json").read_text()))
    assert isinstance(job.plan, InstancePlan)
    assert job.plan.augment == 0.2
    with safetensors.safe_open(str(run / "best.safetensors"), "pt") as file:
        assert json.loads(file.metadata()["names"]) == ["triangle", "diamond"]


def test_the_recipe_takes_the_run(run: Path) -> None:
    source = load_recipe("yolov5-seg").load(run / "best.safetensors")
    assert source.classes == ("triangle", "diamond")
    assert source.variant == "YOLOv5n-seg, 2 classes"
    outputs = module_outputs(source.module, torch.zeros(1, 3, 64, 64))
    mixture = answers_of(source, outputs, NmsSpec(max_detections=5), (64, 64))
    assert isinstance(mixture, Mixture)
    assert [output.shape for output in answers_from_mixture(mixture, (64, 64))] == [
        (1, 5, 4),
        (1, 5),
        (1, 5),
        (1, 5, 16, 16),
    ]


def test_a_plan_is_read_back_as_what_it_was(run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    del content["names"], content["weights"], content["plan"]["prototypes"], content["plan"]["mask_weight"]
    del content["plan"]["augment"]
    earlier = dataclass_from_json(Job, content)
    assert type(earlier.plan) is DetectorPlan
    assert earlier.weights is None


def test_a_run_starts_from_weights_as_far_as_they_fit(run: Path, instance_data: Path, tmp_path: Path) -> None:
    options = ("yolov5-seg", "--data", instance_data, "--size", 64, "--batch", 4, "--epochs", 1)
    result = train(*options, "--weights", run / "best.safetensors", "-o", tmp_path / "more")
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    network = yolov5("n", class_count=2, mask_count=32)
    whole = sum(parameter.numel() for parameter in network.parameters())
    assert f"{whole:,} of {whole:,} parameters start from best.safetensors" in result.stderr
    safetensors.torch.save_file({"other.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    words = failed(train(*options, "--weights", tmp_path / "other.safetensors", "-o", tmp_path / "x"))
    assert "contains no tensor that fits YOLOv5n-seg" in words


def test_a_detectors_weights_fit_but_for_the_head() -> None:
    torch.manual_seed(0)
    detector, segmenter = yolov5("n", class_count=6), yolov5("n", class_count=2, mask_count=32)
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    taken = take_fitting(segmenter, detector.state_dict())
    body = sum(p.numel() for name, p in detector.named_parameters() if not name.startswith("model.24."))
    assert taken == body
    after, source = segmenter.state_dict(), detector.state_dict()
    assert torch.equal(after["model.0.conv.weight"], source["model.0.conv.weight"])
    assert torch.equal(after["model.24.m.0.weight"], before["model.24.m.0.weight"])
    assert torch.equal(after["model.24.anchors"], before["model.24.anchors"])


def test_mistakes(instance_data: Path, box_data: Path, class_data: Path, tmp_path: Path) -> None:
    one = ("--epochs", 1, "-o", tmp_path / "run")
    assert "segmentation is NoneType" in failed(train("yolov5-seg", "--data", box_data, *one))
    names = tmp_path / "names.txt"
    names.write_text("\n\n")
    wrong = train("yolov5-seg", "--data", instance_data, "--names", names, *one)
    assert f"{names} contains no class name" in failed(wrong)
    names.write_text("a\ntriangle\n")
    wrong = train("yolov5-seg", "--data", instance_data, "--names", names, *one)
    assert "class 3 is not one of 0..1" in failed(wrong)
    missing = train("yolov5-seg", "--data", instance_data, "--names", tmp_path / "no.txt", *one)
    assert "--names FILE" in failed(missing)
    augmented = train("cnn", "--data", class_data, "--augment", 0.5, *one)
    assert "--augment is for detectors" in failed(augmented)
    assert not (tmp_path / "run").exists()


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_masks_of_its_own_images_are_learnt(instance_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--data", instance_data, "--val", instance_data, "--augment", 0.1)
    result = train("yolov5-seg", *options, "--size", 96, "--batch", 4, "--epochs", 80, "-o", run)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    with (run / "metrics.csv").open() as file:
        best = max(float(row["mask AP50"]) for row in csv.DictReader(file) if row["mask AP50"])
    assert best > 60
