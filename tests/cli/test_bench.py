"""The command `edgevision bench`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.benchmark.record_files import read_record
from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.bench import command
from edgevision.errors import SourceError


def test_without_a_source_a_clip_of_photographs_is_measured(brightness_bundle: Path, tmp_path: Path) -> None:
    record_file = tmp_path / "bench.json"
    result = CliRunner().invoke(
        command, [str(brightness_bundle), "--seconds", "0.3", "--threads", "1", "--record", str(record_file)]
    )
    assert result.exit_code == 0, result.exception
    record = read_record(record_file)
    assert record.model == "brightness"
    assert record.graph_sha256 == Bundle.open(brightness_bundle).graph("float").file.sha256
    assert record.engine.engine == "onnxruntime"
    assert record.settings.threads == 1
    assert record.settings.frame_wh == (1280, 720)
    assert record.device.cpu
    assert [stage.name for stage in record.stages] == ["decode", "prepare", "inference", "results", "output"]
    for text in ("frames/s end to end", "p99 ms", "MiB resident", "inference alone", "stages add up to"):
        assert text in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_a_bare_graph_and_an_image_are_enough(brightness_bundle: Path) -> None:
    image = Path(__file__).parents[2] / "edgevision" / "photographs" / "cat.jpg"
    result = CliRunner().invoke(
        command, [str(brightness_bundle / "model.onnx"), "--source", str(image), "--seconds", "0.1"]
    )
    assert result.exit_code == 0, result.exception
    assert "cat.jpg" in result.output


def test_a_missing_source_is_reported(brightness_bundle: Path) -> None:
    result = CliRunner().invoke(command, [str(brightness_bundle), "--source", "nowhere.mp4"])
    with pytest.raises(SourceError, match="no such file or folder"):
        raise result.exception or AssertionError("it should have failed")
