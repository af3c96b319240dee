"""The benchmark programs run and print their figures; their limits are for an idle machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.benchmark.record_files import read_record
from tests.inference.clips import write_clip

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


def test_rules_for_thresholds_are_compared_and_judged(brightness_bundle: Path, tmp_path: Path) -> None:
    """Bright images have a lamp, dark ones have none, so that 0.25 has many false detections."""
    (tmp_path / "images").mkdir()
    levels = range(60, 220, 2)
    for level in levels:
        cv2.imwrite(str(tmp_path / "images" / f"{level}.png"), np.full((64, 64, 3), level, np.uint8))
    images = [{"id": level, "file_name": f"{level}.png", "width": 64, "height": 64} for level in levels]
    box = {"bbox": [16, 16, 32, 32], "area": 1024, "iscrowd": 0, "category_id": 1}
    boxes = [{"id": level, "image_id": level, **box} for level in levels if level >= 140]
    labels, record = tmp_path / "labels.json", tmp_path / "record.json"
    categories = [{"id": 1, "name": "lamp"}]
    labels.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    video = write_clip(tmp_path / "clip.avi", [np.full((64, 64, 3), 120, np.uint8)] * 4, "MJPG")
    output = run(
        *("thresholds.py", brightness_bundle, "--images", tmp_path / "images", "--annotations", labels),
        *("--halvings", 2, "--video", video, "--every", 1, "--at", 0.25, 0.9, "--record", record),
    )
    assert "ok    precision of the rule against 0.25 for all" in output
    assert "ok    F1 of the rule within 3 points of the best" in output
    figures = json.loads(record.read_text())
    assert figures["percent"]["0.25 for all"]["recall"] == 100
    assert figures["percent"]["0.25 for all"]["precision"] < 60
    assert figures["percent"]["best F1, 10 boxes"]["precision"] > 90
    assert figures["video"]["frames"] == 4
    assert figures["video"]["detections"] == {
        "0.25": {"lamp, still": 4},
        "0.9": {},
        "operating point": {"lamp, still": 4},
    }
