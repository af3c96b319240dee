"""Top-1 and top-5 on folders of classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.session import ReplaySession
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.classification import accuracy_from_scores, classify_all, read_class_folders

CLASSES = ("cat", "dog", "bird", "fish", "frog", "cow", "ant")
SPEC = ModelSpec(
    "m",
    "classify",
    FrameInput((8, 8), "stretch"),
    classify_outputs(7),
    CLASSES,
    Provenance("m.pt", None, "r", "2026"),
)


def make(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(folder / name / f"{index}.png"), np.zeros((9, 9, 3), np.uint8))
    return folder


def test_shares_are_counted(tmp_path: Path) -> None:
    images = read_class_folders(make(tmp_path, cat=2, ant=1), CLASSES)
    assert [(i.path.parent.name, i.label) for i in images] == [("ant", 6), ("cat", 0), ("cat", 0)]
    cat_first = np.array([[0.6, 0.3, 0.05, 0.03, 0.01, 0.01, 0.0]], np.float32)
    ant_last = cat_first
    dog_first = np.array([[0.3, 0.6, 0.05, 0.03, 0.01, 0.01, 0.0]], np.float32)
    answers = list(classify_all(ReplaySession(SPEC, [(ant_last,), (cat_first,), (dog_first,)]), images))
    accuracy = accuracy_from_scores(CLASSES, answers)
    assert accuracy.images == 3
    assert accuracy.top1 == pytest.approx(100 / 3)
    assert accuracy.top5 == pytest.approx(200 / 3)
    recall = {c.name: c.recall for c in accuracy.classes if c.images}
    assert recall == pytest.approx({"cat": 50, "ant": 0})


def test_folders_may_be_label_numbers(tmp_path: Path) -> None:
    images = read_class_folders(make(tmp_path, **{"0": 1, "5": 1}), CLASSES)
    assert [image.label for image in images] == [0, 5]


def test_a_limit_is_spread_over_the_classes(tmp_path: Path) -> None:
    images = read_class_folders(make(tmp_path, cat=4, dog=4), CLASSES, limit=4)
    assert [image.label for image in images] == [0, 0, 1, 1]


def test_a_folder_of_no_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="zebra names no class of the model; its classes: cat, dog"):
        read_class_folders(make(tmp_path, zebra=1), CLASSES)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        read_class_folders(tmp_path, CLASSES)
