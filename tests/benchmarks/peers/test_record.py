"""Record, tables and targets of `benchmarks.peers`, and docs/peers.md."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import record
from benchmarks.peers.accuracy import average_precision
from benchmarks.peers.measuring import Run
from benchmarks.peers.models import MODELS
from benchmarks.peers.programs import INT8, OURS, PEERS, ULTRALYTICS
from benchmarks.peers.record import Row, ratio
from benchmarks.peers.targets import targets
from edgevision.errors import UsageError
from edgevision.evaluation.detection import read_annotations

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "peers.md"
HEAD: dict[str, Any] = {
    "created": "2026-01-02T03:04:05+00:00",
    "load": 0.5,
    "note": "A note.",
    "device": {"cpu": "A CPU", "cpu_class": "x86-64 AVX2", "python": "3.11.7"},
    "settings": {
        "cores": [0, 1], "turns": 2, "frames": 10, "clip": "a.avi", "confidence": 0.25,
        "iou": 0.45, "accuracy_images": 9,
    },
    "models": [{"name": "yolov5n", "trained": True}],
    "environments": {"edgevision": {"mib": 400.0}, "ultralytics": {"mib": 1500.4}},
}  # fmt: skip


def run(frames_per_s: float, peak_mib: float = 200.0, first_s: float = 0.8) -> Run:
    return Run(10, frames_per_s, 50.0, first_s, peak_mib, 30)


def rows() -> list[Row]:
    return [
        Row("yolov5n", OURS, "edgevision", [1, 2], [run(20), run(10)], 30.5, 48.8),
        Row("yolov5n", INT8, "edgevision", [1, 2], [run(34), run(16)], 30.2, 48.0),
        Row("yolov5n", ULTRALYTICS, "ultralytics", [1, 2], [run(19, 410, 2.5), run(8, 412, 2.4)], 30.1, 48.0),
        Row("yolov5n", "trtexec (inference alone)", "onnxruntime", reason="this machine has no NVIDIA GPU"),
    ]


def test_ratios_are_of_the_same_turn() -> None:
    ours, int8, other, _ = rows()
    assert str(ratio(int8, ours)) == "1.65 (1.60 to 1.70)"
    other.turns, other.runs = [2], [run(8)]
    assert str(ratio(ours, other)) == "1.25 (1.25 to 1.25)"
    assert ratio(ours, Row("yolov5n", "x", "x")) is None


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a" / "record.json"
    record.write(path, HEAD, rows())
    assert record.read(path) == (HEAD, rows())
    path.write_text('{"kind": "other", "schema": 1, "rows": []}')
    with pytest.raises(UsageError, match=r"no record of benchmarks.peers \(kind 'peers', schema 1\)"):
        record.read(path)


def test_the_table_has_medians_and_reasons() -> None:
    text = record.tables(HEAD, rows())
    assert f"| {OURS} | 15.0 | 1 | 50.0 | 200 | 0.80 | 400 | 30.50 |" in text
    assert f"| {ULTRALYTICS} | 13.5 | 0.88 (0.80 to 0.95) | 50.0 | 411 | 2.45 | 1500 | 30.10 |" in text
    assert "Not measured: trtexec (inference alone): this machine has no NVIDIA GPU." in text
    assert "AP on 9 images. A note." in text.replace("\n", " ")
    assert "Turns: 2, each with 10 frames of a.avi" in text.replace("\n", " ")


def test_targets_follow_the_figures() -> None:
    checked = {one.text: one.holds for one in targets(rows(), vnni=True)}
    assert len(checked) == 5
    assert all(checked.values()), checked
    assert f"INT8: 1.89 (1.79 to 2.00) times the frames/s of {ULTRALYTICS} (at least 1.6)" in checked
    slow = rows()
    slow[0].runs = [run(18, 300, 1.2)] * 2
    slow[1].ap, slow[1].runs = 29.9, [run(30), run(28)]
    slow[2].runs = [run(22, 412)] * 2
    assert [one.holds for one in targets(slow, vnni=True)] == [False, False, False, False, False]
    assert [one.holds for one in targets(slow, vnni=False)][3]
    assert list(targets([rows()[3]], vnni=True)) == []


def test_the_page_has_the_tables_of_the_committed_record() -> None:
    text = PAGE.read_text()
    (file,) = re.findall(r"`(benchmarks/results/peers-[\w-]+\.json)`", text)
    head, found = record.read(REPOSITORY / file)
    assert record.tables(head, found) in text
    measured = [model for model in MODELS if model.name in {row.model for row in found}]
    assert measured
    for model in measured:
        named = {row.peer for row in found if row.model == model.name}
        assert named == {peer.name for peer in PEERS if model.family in peer.families}
    assert all(row.runs or row.reason for row in found)
    assert "/tmp" not in (REPOSITORY / file).read_text()


def test_every_key_of_a_record_and_every_program_is_documented() -> None:
    text = PAGE.read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    fields = {one.name for kind in (Row, Run) for one in dataclasses.fields(kind)}
    assert fields <= documented
    assert {"kind", "schema", *HEAD} <= documented
    assert all(peer.name in text for peer in PEERS)


def test_detections_are_measured_by_their_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    images = [{"id": 7, "file_name": "a.png", "width": 64, "height": 64}]
    box = {"id": 1, "image_id": 7, "bbox": [10, 20, 30, 10], "area": 300, "iscrowd": 0, "category_id": 5}
    categories = [{"id": 5, "name": "lamp"}]
    labels.write_text(json.dumps({"images": images, "annotations": [box], "categories": categories}))
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    labelled = read_annotations(labels, tmp_path, ("chair", "lamp"))
    file = str((tmp_path / "a.png").resolve())
    assert average_precision(labelled, {file: [[10, 20, 40, 30, 0.9, 1]]}) == pytest.approx((100, 100))
    assert average_precision(labelled, {file: [[10, 20, 40, 30, 0.9, 0]]}) == (0, 0)
    assert average_precision(labelled, {file: []}) == (0, 0)
