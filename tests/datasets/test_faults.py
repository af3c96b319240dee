"""Missing, repeated and wrong values of a COCO file: read, counted in a warning, or an error with the entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.contract.results import Detections
from edgevision.datasets.coco import read_coco, read_coco_file
from edgevision.datasets.image_check import usable_files
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.detection import (
    LabelledImages,
    accuracy_from_detections,
    read_annotations,
    without_broken,
)
from tests.datasets.tools import BOXES, CLASSES, coco, images, rectangle

Content = dict[str, Any]


def written(folder: Path, content: Content | str) -> Path:
    images(folder)
    path = folder / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def perfect(labelled: LabelledImages) -> list[tuple[int, Detections]]:
    """The boxes that were written, as a detector would find them."""
    found = []
    for key, file in labelled.files.items():
        rows = [(CLASSES.index(kind), box) for image, kind, box in BOXES if image == file.name]
        boxes = np.array([[x, y, x + w, y + h] for _, (x, y, w, h) in rows], np.float32).reshape(-1, 4)
        labels = np.array([label for label, _ in rows], np.int32)
        found.append((key, Detections(boxes, np.full(len(rows), 0.9, np.float32), labels, CLASSES)))
    return found


def average_precision(path: Path) -> float:
    labelled = read_annotations(path, path.parent, CLASSES)
    return accuracy_from_detections(labelled, perfect(labelled)).ap


def test_without_iscrowd_and_area(tmp_path: Path) -> None:
    path = written(tmp_path, coco())
    assert [(box.crowd, box.area) for box in read_coco_file(path, tmp_path).boxes] == [
        (False, 24 * 18.0),
        (False, 16 * 24.0),
        (False, 20 * 10.0),
    ]
    assert average_precision(path) == pytest.approx(100)


def test_image_ids_that_are_texts(tmp_path: Path) -> None:
    content = coco(iscrowd=0)
    for item in content["images"]:
        item["id"] = f"image-{item['id']}"
    for item in content["annotations"]:
        item["image_id"] = f"image-{item['image_id']}"
    assert average_precision(written(tmp_path, content)) == pytest.approx(100)


def test_repeated_annotation_ids_are_all_counted_with_a_warning(tmp_path: Path) -> None:
    content = coco(iscrowd=0)
    for item in content["annotations"]:
        item["id"] = 5
    path = written(tmp_path, content)
    labelled = read_annotations(path, tmp_path, CLASSES)
    assert accuracy_from_detections(labelled, perfect(labelled)).boxes == 3
    expected = f"{path}: 2 annotations have a duplicate id: all are used, ids are renumbered"
    assert labelled.warnings == read_coco(path, tmp_path).warnings == (expected,)


@pytest.mark.parametrize("read", [read_coco, lambda a, f: read_annotations(a, f, CLASSES)])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["annotations"][1].update(category_id=9),
            r"annotations\[1\]: category_id 9 is not among",
        ),
        (lambda c: c["annotations"][1].update(image_id="x"), r"annotations\[1\]: image_id 'x' is not among"),
        (lambda c: c["annotations"][1].pop("bbox"), r"annotations\[1\]: bbox None is not"),
        (lambda c: c["annotations"][1].update(bbox="4"), r"annotations\[1\]: bbox '4' is not"),
        (
            lambda c: c["images"][0].update(file_name="../a.png"),
            r"images\[0\]: file_name '\.\./a\.png' leaves",
        ),
        (lambda c: c["images"][0].update(file_name="/a.png"), r"images\[0\]: file_name '/a\.png' leaves"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_the_entry(
    tmp_path: Path, read: Callable[[Path, Path], object], change: Callable[[Content], object], words: str
) -> None:
    content = coco(iscrowd=0)
    change(content)
    path = written(tmp_path, content)
    with pytest.raises(UsageError, match=rf"labels\.json:\d+: {words}"):
        read(path, tmp_path)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_text(json.dumps(coco()), encoding="utf-8-sig")
    assert average_precision(path) == pytest.approx(100)


def test_boxes_without_area_or_outside_are_left_out_and_others_cut(tmp_path: Path) -> None:
    content = coco(iscrowd=0)
    boxes = (
        [5, 5, 0, 9],
        [5, 5, 9, -2],
        [64, 0, 9, 9],
        [-20, 0, 9, 9],
        [60, 40, 30, 30],
        [-0.4, 0, 20, 48.3],
    )
    for number, box in enumerate(boxes):
        content["annotations"].append({"id": 10 + number, "image_id": 1, "category_id": 1, "bbox": box})
    path = written(tmp_path, content)
    found = read_coco_file(path, tmp_path)
    assert [box.xywh for box in found.boxes[3:]] == [(60, 40, 4, 8), (-0.4, 0, 20, 48.3)]
    assert found.warnings == (
        f"{path}: 2 boxes without area or with a negative side are skipped",
        f"{path}: 2 boxes outside their image are skipped",
        f"{path}: 1 boxes that exceed their image are clipped at its edge",
    )
    assert len(read_coco(path, tmp_path).boxes[0]) == 4, "training and measuring have the same boxes"


def test_a_file_nested_too_deep_is_one_clear_error(tmp_path: Path) -> None:
    path = written(tmp_path, '{"images": ' + "[" * 100_000)
    with pytest.raises(UsageError, match=r"labels\.json is nested too deep"):
        read_coco(path, tmp_path)
    with pytest.raises(UsageError, match=r"labels\.json is nested too deep"):
        read_annotations(path, tmp_path, CLASSES)


def test_keypoints_are_read_and_checked(tmp_path: Path) -> None:
    content = coco(iscrowd=0, keypoints=[1, 2, 2, 0, 0, 0], num_keypoints=1)
    assert read_coco_file(written(tmp_path, content), tmp_path).boxes[0].keypoints == (1, 2, 2, 0, 0, 0)


def test_run_length_codes_become_outlines(tmp_path: Path) -> None:
    content = coco(iscrowd=0)
    for item, (name, _, box) in zip(content["annotations"], BOXES, strict=True):
        width, height = (64, 48) if name == "a.png" else (32, 32)
        mask = np.zeros((height, width), np.uint8)
        x, y, w, h = box
        mask[y : y + h, x : x + w] = 1
        runs = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
        ends = np.concatenate([[0], runs, [mask.size]])
        item["segmentation"] = {"size": [height, width], "counts": np.diff(ends).tolist()}
    coded = read_coco(written(tmp_path, content), tmp_path, outlines=True)
    for boxes in coded.boxes:
        for xyxy, (outline,) in zip(boxes.xyxy, boxes.outlines, strict=True):
            assert outline.min(0) == pytest.approx(xyxy[:2], abs=0.02)
            assert outline.max(0) == pytest.approx(xyxy[2:], abs=0.02)


def test_masks_need_outlines(tmp_path: Path) -> None:
    from edgevision.evaluation.detection import accuracy_from_instances

    path = written(tmp_path, coco(iscrowd=0))
    labelled = read_annotations(path, tmp_path, CLASSES)
    with pytest.raises(UsageError, match="an annotation has no outline"):
        accuracy_from_instances(labelled, [])
    content = coco(iscrowd=0)
    for item, (_, _, box) in zip(content["annotations"], BOXES, strict=True):
        item["segmentation"] = rectangle(box)
    labelled = read_annotations(written(tmp_path, content), tmp_path, CLASSES)
    assert accuracy_from_instances(labelled, []).boxes == 3


def many(folder: Path, count: int, broken: int) -> tuple[Path, ...]:
    images(folder)
    data = (folder / "a.png").read_bytes()
    files = tuple(folder / f"{number:03}.png" for number in range(count))
    for number, file in enumerate(files):
        file.write_bytes(data[: len(data) // 2] if number < broken else data)
    return files


def test_a_few_broken_images_are_left_out_and_listed(tmp_path: Path) -> None:
    files = many(tmp_path, 100, 1)
    usable, warnings = usable_files(files)
    assert usable == files[1:]
    (warning,) = warnings
    assert warning.startswith("1 of 100 images cannot be decoded and are skipped:")
    assert str(files[0]) in warning


def test_many_broken_images_are_an_error(tmp_path: Path) -> None:
    files = many(tmp_path, 100, 14)
    with pytest.raises(SourceError, match=r"14 of 100 images cannot be decoded, at most 1 % .*\n.*000\.png"):
        usable_files(files)
    with pytest.raises(SourceError, match="and 4 more"):
        usable_files(files)


def test_strict_allows_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"1 of 200 images cannot be decoded, --strict allows none"):
        usable_files(many(tmp_path, 200, 1), strict=True)


def test_measuring_leaves_broken_images_out(tmp_path: Path) -> None:
    content = coco(iscrowd=0)
    for number in range(200):
        content["images"].append(
            {"id": 50 + number, "file_name": f"{number:03}.png", "width": 64, "height": 48}
        )
    many(tmp_path, 200, 1)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    labelled = without_broken(read_annotations(path, tmp_path, CLASSES))
    assert len(labelled.image_ids) == 201
    assert 50 not in labelled.image_ids
    assert accuracy_from_detections(labelled, perfect_of(labelled)).boxes == 3


def perfect_of(labelled: LabelledImages) -> list[tuple[int, Detections]]:
    return [(key, found) for key, found in perfect(labelled) if len(found.boxes)]
