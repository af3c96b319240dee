"""`edgevision bench --soak`, and accuracy in records, with a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.benchmark.record_files import read_any_record
from edgevision.benchmark.records import AccuracyRecord, BenchRecord
from edgevision.benchmark.report.rows import main_metric
from edgevision.benchmark.soak.record import SoakRecord
from edgevision.cli.commands.bench import command
from edgevision.cli.commands.eval import command as eval_command
from edgevision.errors import UsageError

CAT = Path(__file__).parents[2] / "edgevision" / "photographs" / "cat.jpg"


def run(bundle: Path, *options: object) -> Result:
    return CliRunner().invoke(
        command, [str(bundle), "--source", str(CAT), "--threads", "1", *map(str, options)]
    )


def test_a_soak_is_recorded_by_windows(brightness_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    result = run(brightness_bundle, "--soak", 0.01, "--record", file)
    assert result.exit_code == 0, result.exception
    record = read_any_record(file)
    assert isinstance(record, SoakRecord)
    assert len(record.windows) >= 2
    assert sum(window.frames for window in record.windows) == record.inference.count
    assert record.energy.frames >= record.inference.count, "frames of a short last window"
    assert record.source == "cat.jpg"
    for text in ("soak of 0.01 min", "window 1:", "energy per frame", "resident memory"):
        assert text in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


def test_accuracy_is_that_of_eval(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("cat", "dog"):
        (images / name).mkdir(parents=True)
        (images / name / "a.jpg").write_bytes(CAT.read_bytes())
    file, evaluated = tmp_path / "bench.json", tmp_path / "eval.json"
    options = ("--engine", "onnxruntime", "--seconds", 0.1, "--rounds", 1)
    result = run(Path("cnn"), *options, "--eval-images", images, "--record", file)
    assert result.exit_code == 0, result.exception
    arguments = ["cnn", "--images", str(images), "--engine", "onnxruntime", "--record", str(evaluated)]
    assert CliRunner().invoke(eval_command, arguments).exit_code == 0
    expected = main_metric(json.loads(evaluated.read_text()))
    record = read_any_record(file)
    assert isinstance(record, BenchRecord)
    assert expected is not None
    assert record.accuracy == AccuracyRecord("top-1", expected.points, 2)
    assert f"top-1 {expected.points:.1f} on 2 images" in result.output
    assert record.energy is not None
    assert (record.energy.joules_per_frame is None) == bool(record.energy.missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--soak", 1, "--scenario", "camera"), "omit --scenario and --against"),
        (("--soak", 1, "--against", "openvino"), "omit --scenario and --against"),
        (("--soak", 1, "--seconds", 3), "--soak does not use --seconds"),
        (("--soak", 1, "--rounds", 3), "--soak does not use --rounds"),
        (("--eval-annotations", "a.json"), "needs --eval-images DIR"),
        (("--eval-images", "nowhere"), "is not a folder"),
        (("--eval-images", ".", "--eval-annotations", "nowhere.json"), "does not exist"),
        (("--eval-images", ".", "--against", "openvino"), "use `edgevision eval` on each build"),
    ],
)
def test_misuse_is_explained(brightness_bundle: Path, options: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        raise run(brightness_bundle, *options).exception or AssertionError("it should have failed")
