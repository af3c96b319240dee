"""COCO json and YOLO text: accepted content, and errors with file, line and value of a wrong label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.datasets.boxes import ClassNames
from edgevision.datasets.coco import read_coco
from edgevision.datasets.yolo import read_yolo
from edgevision.errors import SourceError, UsageError


def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 100, "height": 50},
            {"id": 9, "file_name": "b.png", "width": 40, "height": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 40, 20]},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 100, 50], "iscrowd": 0},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [5, 5, 10, 10], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "motorbike"}],
    }


def written(folder: Path, value: object) -> Path:
    path = folder / "labels.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1))
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((4, 4, 3), np.uint8))
    return path


def test_coco_boxes_become_fractions_and_crowds_are_left_out(tmp_path: Path) -> None:
    data = read_coco(written(tmp_path, content()), tmp_path)
    assert data.classes == ("person", "motorbike")
    assert data.boxes[0].xyxy.tolist() == pytest.approx(np.array([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]]))
    assert data.boxes[0].labels.tolist() == [1, 0]
    assert len(data.boxes[1]) == 0
    assert data.counts() == {"person": 1, "motorbike": 1}


def test_classes_are_chosen_renamed_and_ordered(tmp_path: Path) -> None:
    data = read_coco(written(tmp_path, content()), tmp_path, ClassNames.parse("bus, motorcycle=motorbike"))
    assert data.classes == ("bus", "motorcycle")
    assert data.boxes[0].labels.tolist() == [1]


@pytest.mark.parametrize("text", ["", "a,,b", "a=", "a,a"])
def test_unreadable_class_lists(text: str) -> None:
    with pytest.raises(UsageError, match="--classes"):
        ClassNames.parse(text)


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    value = content()
    change(value)
    return value


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), 28, r"bbox \[1, 2, 3\]"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), 17, "nan"),
        (lambda c: c["annotations"][0].update(keypoints=[1, 2]), 17, r"keypoints \[1, 2\]"),
        (lambda c: c["categories"][0].update(name=None), 54, "name None is not a text"),
        (lambda c: c["images"][1].update(id=7), 9, "id 7 is used by another item, too"),
        (lambda c: c["images"][1].update(file_name="../b.png"), 9, "leaves the folder of the images"),
        (lambda c: c["images"][1].update(file_name="/etc/passwd"), 9, "leaves the folder of the images"),
        (lambda c: c["images"][1].update(file_name="c:\\b.png"), 9, "leaves the folder of the images"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, "x", 4]), 17, "'x'"),
        (lambda c: c["annotations"][2].update(image_id=8), 40, "image_id 8"),
        (lambda c: c["annotations"][0].update(category_id=2), 17, "category_id 2"),
        (lambda c: c["annotations"][0].update(category_id=None), 17, "category_id None"),
        (lambda c: c["images"][1].update(width=0), 9, "width 0 is not a positive number"),
        (lambda c: c["images"][1].update(file_name=3), 9, "file_name 3"),
    ],
)
def test_a_wrong_label_is_named_with_file_line_and_value(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], line: int, words: str
) -> None:
    path = written(tmp_path, broken(change))
    with pytest.raises(UsageError, match=words) as caught:
        read_coco(path, tmp_path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_json_that_does_not_parse_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{\n"images": [],\n"annotations" []}')
    with pytest.raises(UsageError, match=r"labels\.json:3: not JSON"):
        read_coco(path, tmp_path)


def test_missing_lists_images_and_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no list 'annotations'"):
        read_coco(written(tmp_path, broken(lambda c: c.pop("annotations"))), tmp_path)
    with pytest.raises(UsageError, match=r"none of the classes bus.*motorbike, person"):
        read_coco(written(tmp_path, content()), tmp_path, ClassNames(("bus",)))
    path = written(tmp_path, content())
    (tmp_path / "b.png").unlink()
    with pytest.raises(SourceError, match=r"b\.png is named by"):
        read_coco(path, tmp_path)


def yolo_folder(folder: Path, text: str) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((4, 4, 3), np.uint8))
    (folder / "labels" / "a.txt").write_text(text)
    return folder


def test_yolo_boxes_and_polygons(tmp_path: Path) -> None:
    text = "0 0.5 0.5 0.2 0.4\n\n2 0.1 0.2 0.3 0.2 0.3 0.9\n1 0.5 0.5 0.1 0.1\n"
    data = read_yolo(yolo_folder(tmp_path, text), ("person", "dog", "car"), ClassNames(("car", "person")))
    assert [file.name for file in data.files] == ["a.png", "b.png"]
    assert data.boxes[0].labels.tolist() == [1, 0]
    assert data.boxes[0].xyxy == pytest.approx(np.array([[0.4, 0.3, 0.6, 0.7], [0.1, 0.2, 0.3, 0.9]]))
    assert len(data.boxes[1]) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.2", "4 values"),
        ("0 0.5 0.5 0.2 0.1 0.7", "6 values"),
        ("0 0.5 x 0.2 0.1", "not a line of numbers"),
        ("3 0.5 0.5 0.2 0.1", r"class 3 is not one of 0\.\.2"),
        ("0.5 0.5 0.5 0.2 0.1", r"class 0\.5"),
        ("0 320 0.5 0.2 0.1", r"320 is not in 0\.\.1"),
        ("0 nan 0.5 0.2 0.1", r"nan is not in 0\.\.1"),
    ],
)
def test_a_wrong_yolo_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    folder = yolo_folder(tmp_path, f"0 0.5 0.5 0.2 0.4\n{line}\n")
    with pytest.raises(UsageError, match=words) as caught:
        read_yolo(folder, ("a", "b", "c"))
    assert str(caught.value).startswith(f"{folder / 'labels' / 'a.txt'}:2: ")


def test_yolo_outlines_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path, "2 0.1 0.2 0.3 0.2 0.3 0.9\n1 0.5 0.5 0.7 0.5 0.7 0.9 0.5 0.9\n")
    names = ("", "dog", "car")
    data = read_yolo(folder, names, outlines=True)
    assert data.classes == ("dog", "car")
    assert data.boxes[0].labels.tolist() == [1, 0]
    (triangle,), (square,) = data.boxes[0].outlines
    assert triangle == pytest.approx(np.array([[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]))
    assert square.shape == (4, 2)
    assert data.boxes[1].outlines == ()
    assert read_yolo(folder, names).boxes[0].outlines == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 0.5 0.5 0.2 0.1", "is a box; an instance is a polygon"),
        ("0 0.1 0.2 0.3 0.2 0.3 0.9", "class 0 has no name in the list of names"),
    ],
)
def test_what_is_no_instance_is_named(tmp_path: Path, line: str, words: str) -> None:
    folder = yolo_folder(tmp_path, f"1 0.1 0.2 0.3 0.2 0.3 0.9\n{line}\n")
    with pytest.raises(UsageError, match=words) as caught:
        read_yolo(folder, ("", "dog"), outlines=True)
    assert str(caught.value).startswith(f"{folder / 'labels' / 'a.txt'}:2: ")


def with_outlines(*polygons: object) -> dict[str, Any]:
    value = content()
    for item, polygon in zip(value["annotations"], polygons, strict=False):
        item["segmentation"] = polygon
    return value


def test_coco_outlines(tmp_path: Path) -> None:
    parts = [[10, 10, 50, 10, 50, 30], [20, 20, 30, 20, 30, 30, 20, 30]]
    value = with_outlines(parts, [[0, 0, 100, 0, 100, 50]], {"counts": [1], "size": [2, 2]})
    data = read_coco(written(tmp_path, value), tmp_path, outlines=True)
    first, second = data.boxes[0].outlines
    assert [part.shape for part in first] == [(3, 2), (4, 2)]
    assert first[0] == pytest.approx(np.array([[0.1, 0.2], [0.5, 0.2], [0.5, 0.6]]))
    assert len(second) == 1


@pytest.mark.parametrize(
    ("polygons", "words"),
    [
        ({"counts": [1], "size": [2, 2]}, "run-length code of 1 pixels; its size 2x2 has 4"),
        ([], "expected a list of polygons"),
        ([[1, 2, 3, 4]], r"polygon \[1, 2, 3, 4\] is not x, y of three points"),
        ([[1, 2, 3, 4, 5, "6"]], "is not x, y of three points"),
        (None, "segmentation is NoneType"),
    ],
)
def test_a_wrong_coco_outline_is_named(tmp_path: Path, polygons: object, words: str) -> None:
    path = written(tmp_path, with_outlines([[0, 0, 9, 0, 9, 9]], polygons))
    with pytest.raises(UsageError, match=words) as caught:
        read_coco(path, tmp_path, outlines=True)
    assert "annotations[1]" in str(caught.value)


def test_a_folder_without_labels_is_not_yolo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder images/"):
        read_yolo(tmp_path, ("a",))


def test_the_held_tenth_is_chosen_by_the_seed(tmp_path: Path) -> None:
    data = read_coco(written(tmp_path, content()), tmp_path)
    train, held = data.split(0)
    assert {*train.files, *held.files} == set(data.files)
    assert (len(train), len(held)) == (1, 1)
    with pytest.raises(UsageError, match="cannot be split"):
        train.split(0)


def test_the_real_annotations(data_dir: Path) -> None:
    names = ClassNames.parse("person,bicycle,car,motorcycle=motorbike,bus,truck")
    data = read_coco(data_dir / "coco" / "train.json", data_dir / "coco" / "train", names)
    assert len(data) == 2120
    assert data.counts() == {
        "person": 8490,
        "bicycle": 206,
        "car": 1002,
        "motorcycle": 257,
        "bus": 158,
        "truck": 187,
    }


def test_real_polygons(data_dir: Path) -> None:
    names = tuple(f"class {number}" for number in range(91))
    data = read_yolo(data_dir / "coco_instances" / "train", names)
    assert len(data) == 100
    assert sum(data.counts().values()) > 300
    for boxes in data.boxes:
        assert (boxes.xyxy[:, 2:] > boxes.xyxy[:, :2]).all()
