"""`edgevision bench --scenario`: LoadGen's test and a camera, with small models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.benchmark.record_files import read_any_record
from edgevision.benchmark.scenarios.record import ScenarioRecord
from edgevision.benchmark.scenarios.summary import LOGS, read_summary
from edgevision.cli.commands.bench import command
from edgevision.errors import UsageError

CAT = Path(__file__).parents[2] / "edgevision" / "photographs" / "cat.jpg"


def run(bundle: Path, *options: object) -> Result:
    return CliRunner().invoke(command, [str(bundle), "--threads", "1", *map(str, options)])


def recorded(path: Path) -> ScenarioRecord:
    record = read_any_record(path)
    assert isinstance(record, ScenarioRecord)
    return record


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "offline", "server"])
def test_record_and_loadgens_summary_agree(brightness_bundle: Path, tmp_path: Path, scenario: str) -> None:
    pytest.importorskip("mlperf_loadgen")
    file = tmp_path / "bench.json"
    options = ("--source", CAT, "--scenario", scenario, "--min-duration", 0.2)
    rate = ("--target-rate", 200) if scenario == "server" else ()
    result = run(brightness_bundle, *options, *rate, "--record", file)
    assert result.exit_code == 0, result.exception
    record, logs = recorded(file), tmp_path / "bench.json.loadgen"
    assert sorted(path.name for path in logs.iterdir()) == sorted(LOGS)
    summary = read_summary(logs)
    assert record.valid is summary.valid
    for percent, ours_ms in (
        (50, record.latency.p50_ms),
        (90, record.latency.p90_ms),
        (99, record.latency.p99_ms),
    ):
        assert ours_ms == pytest.approx(summary.percentile_ms(percent), rel=0.01)
    assert len(record.latency.samples.values_ns()) == record.latency.count
    assert record.loadgen is not None
    settings = {fact.name: fact.value for fact in record.loadgen.settings}
    assert settings["min_duration_ms"] == "200"
    assert record.samples == record.latency.count * (8 if scenario == "multi-stream" else 1)
    assert record.trtexec == ("--warmUp=200", "--duration=0.2", "--iterations=100")
    assert f"{scenario}: {'VALID' if record.valid else 'INVALID'}, {record.samples} samples" in result.output


def test_a_run_below_its_minimum_is_invalid(brightness_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    file = tmp_path / "bench.json"
    options = ("--scenario", "single-stream", "--min-duration", 5, "--max-queries", 9, "--source", CAT)
    result = run(brightness_bundle, *options, "--record", file)
    assert result.exit_code == 0, result.exception
    record = recorded(file)
    assert (record.valid, record.samples) == (False, 9)
    assert record.wall_s < 5
    assert "Min duration satisfied: NO" in record.invalid_because
    assert "single-stream: INVALID, 9 samples" in result.output
    assert "INVALID: Min duration satisfied: NO" in result.output


def test_a_camera_at_its_own_rate(brightness_bundle: Path, tmp_path: Path) -> None:
    file, frames = tmp_path / "bench.json", tmp_path / "frames"
    frames.mkdir()
    for number in range(3):
        shutil.copy(CAT, frames / f"{number}.jpg")
    options = ("--source", f"loop:{frames}@50", "--scenario", "camera", "--min-duration", 0.3)
    result = run(brightness_bundle, *options, "--record", file)
    assert result.exit_code == 0, result.exception
    record = recorded(file)
    assert record.valid
    assert record.camera is not None
    assert record.camera.source_frames_per_s == 50
    assert 0 < record.camera.frames_per_s <= 60
    assert record.latency.name == "age of a result"
    assert "camera at 50 frames/s: " in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--min-duration", "3"), "need --scenario"),
        (("--scenario", "camera", "--against", "int8"), "omit --against"),
        (("--scenario", "camera", "--seconds", "9"), "--min-duration S is its minimum time"),
        (("--scenario", "camera", "--rounds", "3"), "does not use --rounds"),
        (("--against", "int8", "--rounds", "3"), "--pairs N is its number of rounds"),
        (
            ("--scenario", "camera", "--target-rate", "3"),
            "camera does not use --target-rate; omit it, or .* server",
        ),
        (("--scenario", "offline", "--samples-per-query", "4"), "offline does not use --samples-per-query"),
        (("--scenario", "camera", "--max-queries", "4"), "camera does not use --max-queries"),
        (("--scenario", "camera", "--source", str(CAT)), "has no frame rate"),
    ],
)
def test_misuse_is_explained(brightness_bundle: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        raise run(brightness_bundle, *options).exception or AssertionError("it should have failed")
