"""The benchmark programs run and print their figures; their limits are for an idle machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgevision.benchmark.records import read_record

REPOSITORY = Path(__file__).resolve().parents[2]


def run(program: str, *arguments: object) -> str:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pipeline_prints_figures_and_claims(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVISION_DATA", str(data_dir))
    output = run("pipeline.py", "--seconds", 1, "--rounds", 2, "--json", tmp_path / "record.json")
    for text in (
        "frames/s end to end",
        "decoding and NMS in the graph, 300 candidates",
        "within 5 %",
    ):
        assert text in output
    record = read_record(tmp_path / "record.json")
    assert record.model == "yolov5n"
    assert len(record.rounds) == 2
    assert record.peak_resident_mib < 400


def test_footprint_prints_figures_and_claims(brightness_bundle: Path, tmp_path: Path) -> None:
    image = REPOSITORY / "edgevision" / "photographs" / "cat.jpg"
    output = run("footprint.py", brightness_bundle, image)
    assert "ok    import edgevision" in output
    assert "a run of 1 frames, torch blocked:" in output
    assert "ok    peak" in output


def test_explain_prints_figures_and_verdict(brightness_bundle: Path) -> None:
    """The verdict is not checked: for a brightness model the location of the heat has no meaning."""
    photographs = REPOSITORY / "edgevision" / "photographs"
    output = run(
        "explain.py", brightness_bundle, photographs, "--limit", 2, "--masks", 30, "--threshold", 0.2
    )
    assert "brightness, onnxruntime" in output
    assert "2 images, 30 masks" in output
    assert "same shape hidden elsewhere" in output
    assert "maps that pass:" in output
