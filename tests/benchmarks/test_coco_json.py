"""Conversion of a YOLO folder's labels to COCO JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.datasets.coco import read_coco
from edgevision.datasets.yolo import read_yolo

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "training" / "coco_json.py"


def test_polygons_are_preserved(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((50, 80, 3), np.uint8))
    (tmp_path / "labels" / "a.txt").write_text("1 0.25 0.2 0.75 0.2 0.75 0.6 0.25 0.6\n")
    names, target = tmp_path / "names.txt", tmp_path / "labels.json"
    names.write_text("\nkite\n")
    words = [sys.executable, str(PROGRAM), str(tmp_path), str(target), "--names", str(names)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"{target}: 2 images, 1 objects\n"
    (annotation,) = json.loads(target.read_text())["annotations"]
    assert annotation["area"] == pytest.approx(40 * 20, rel=0.06)
    assert annotation["bbox"] == pytest.approx([20, 10, 40, 20])
    data = read_coco(target, tmp_path / "images", outlines=True)
    plain = read_yolo(tmp_path, ("", "kite"), outlines=True)
    assert data.classes == plain.classes
    for one, other in zip(data.boxes, plain.boxes, strict=True):
        assert one.xyxy == pytest.approx(other.xyxy)
        for left, right in zip(one.outlines, other.outlines, strict=True):
            assert left[0] == pytest.approx(right[0])
