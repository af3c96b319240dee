"""Mean IoU against masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.results import Segmentation
from edgevision.contract.session import ReplaySession
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, segment_outputs
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.segmentation import (
    VOID,
    MaskedImage,
    accuracy_from_confusion,
    accuracy_from_masks,
    confusion_matrix,
    find_masks,
    read_mask,
    segment_all,
)

CLASSES = ("sky", "road", "sea")
TRUTH = np.array([[0, 0, 0, 0], [1, 1, VOID, 1]], np.uint8)
FOUND = np.array([[0, 0, 0, 1], [1, 1, 2, 0]], np.uint8)


def test_a_hand_made_case() -> None:
    confusion = confusion_matrix(TRUTH, FOUND, 3)
    assert confusion.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    accuracy = accuracy_from_confusion(CLASSES, confusion, 1)
    sky, road, sea = accuracy.classes
    assert sky.iou == pytest.approx(100 * 3 / 5)
    assert road.iou == pytest.approx(100 * 2 / 4)
    assert np.isnan(sea.iou), "nowhere labelled"
    assert accuracy.miou == pytest.approx((60 + 50) / 2)
    assert accuracy.pixels == pytest.approx(100 * 5 / 7)
    assert sky.share == pytest.approx(100 * 4 / 7)
    assert sea.share == 0


def write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def test_every_image_is_run_and_compared(tmp_path: Path) -> None:
    spec = ModelSpec(
        "m",
        "segment",
        FrameInput((4, 2)),
        segment_outputs((4, 2)),
        CLASSES,
        Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00"),
    )
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", np.zeros((2, 4, 3), np.uint8))
        write(tmp_path / "masks" / f"{name}.png", np.where(TRUTH == VOID, 77, TRUTH))
    session = ReplaySession(spec, [(TRUTH[None] % 3,), (FOUND[None],)])
    images = find_masks(tmp_path / "images", tmp_path / "masks")
    accuracy = accuracy_from_masks(CLASSES, segment_all(session, images))
    assert accuracy.images == 2
    assert accuracy.pixels == pytest.approx(100 * 12 / 14)
    assert len(find_masks(tmp_path / "images", tmp_path / "masks", limit=1)) == 1


def test_values_that_are_no_label_are_void(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", np.array([[0, 2, 3, 11, 255]], np.uint8))
    assert read_mask(path, 3).tolist() == [[0, 2, VOID, VOID, VOID]]


def test_what_is_no_mask(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"c\.png is uint8 \[2, 2, 3\]; a mask has one channel"):
        read_mask(write(tmp_path / "c.png", np.zeros((2, 2, 3), np.uint8)), 3)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="cannot be read"):
        read_mask(tmp_path / "broken.png", 3)
    image = write(tmp_path / "images" / "a.jpg", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "masks").mkdir()
    with pytest.raises(UsageError, match=r"a\.jpg has no mask: expected .*masks/a\.png"):
        find_masks(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(SourceError, match="holds no image"):
        find_masks(tmp_path / "masks", tmp_path / "masks")
    small = write(tmp_path / "masks" / "a.png", np.zeros((3, 2), np.uint8))
    answer = Segmentation(np.zeros((2, 2), np.uint8), CLASSES)
    with pytest.raises(UsageError, match=r"a\.png is \(2, 3\), its image \(2, 2\)"):
        accuracy_from_masks(CLASSES, [(MaskedImage(image, small), answer)])
