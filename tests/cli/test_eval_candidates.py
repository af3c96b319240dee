"""`edgevision eval` says that NMS of few candidates loses boxes that average precision counts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgevision.cli.root import edgevision
from edgevision.contract.spec import NmsSpec
from edgevision.evaluation import detection

NOTE = f"note: NMS takes the best {NmsSpec().candidates} candidates of an image"


def evaluated(folder: Path) -> str:
    cv2.imwrite(str(folder / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 20, 40], "area": 800, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    arguments = ["eval", "street", "--images", str(folder), "--annotations", str(folder / "labels.json")]
    done = CliRunner().invoke(edgevision, arguments)
    assert done.exit_code == 0, done.output
    return done.stderr


def test_fewer_candidates_than_for_measuring_are_named(tmp_path: Path) -> None:
    printed = evaluated(tmp_path)
    assert NOTE in printed
    assert "--pre-nms-topk 1000" in printed


def test_enough_candidates_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "PROTOCOL_CANDIDATES", NmsSpec().candidates)
    assert NOTE not in evaluated(tmp_path)
