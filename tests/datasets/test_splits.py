"""The split into training and validation images, for every format, by file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.datasets.boxes import ClassNames
from edgevision.datasets.data_yaml import read_data_yaml
from edgevision.datasets.opening import LabelReading, Split, read_boxes, read_held, read_split
from edgevision.errors import SourceError, UsageError
from tests.datasets.tools import coco, images, write

TRAIN, VAL = {f"t{n}.png" for n in range(6)}, {f"v{n}.png" for n in range(3)}
SOLO = "names: [cat, dog]\nnc: 2\n"


def folder_of(folder: Path, names: set[str], *, labels: bool = True) -> None:
    """Images and, beside, the text files of their boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = Path(*["labels" if part == "images" else part for part in folder.parts])
    texts.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((20, 20, 3), np.uint8))
        if labels:
            (texts / name).with_suffix(".txt").write_text("1 0.5 0.5 0.4 0.4\n")


def split(data: Path, held: Path | None = None, **reading: object) -> Split:
    return read_split(data, LabelReading(**reading), held=held, held_images=None, seed=0)  # type: ignore[arg-type]  # fields


def names(found: Split) -> tuple[set[str], set[str]]:
    return {file.name for file in found.train.files}, {file.name for file in found.held.files}


def ultralytics(root: Path) -> Path:
    folder_of(root / "images" / "train", TRAIN)
    folder_of(root / "images" / "val", VAL)
    return root


def as_folders(root: Path) -> str:
    ultralytics(root)
    return "path: .\ntrain: images/train\nval: images/val\n"


def without_path(root: Path) -> str:
    ultralytics(root)
    return "train: images/train\nval: images/val\n"


def absolute(root: Path) -> str:
    ultralytics(root)
    return f"path: {root}\ntrain: {root}/images/train\nval: {root}/images/val\n"


def of_another_machine(root: Path) -> str:
    ultralytics(root)
    return "path: /somebody/elses/folder\ntrain: images/train\nval: images/val\n"


def as_lists(root: Path) -> str:
    folder_of(root / "one" / "images", {"t0.png", "t1.png"})
    folder_of(root / "two" / "images", TRAIN - {"t0.png", "t1.png"})
    folder_of(root / "val" / "images", VAL)
    return "train: [one/images, two/images]\nval: [val/images]\n"


def roboflow(root: Path) -> str:
    folder_of(root / "train" / "images", TRAIN)
    folder_of(root / "valid" / "images", VAL)
    folder_of(root / "test" / "images", {"x0.png"})
    return "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"


def as_text_files(root: Path) -> str:
    ultralytics(root)
    (root / "train.txt").write_text("".join(f"./images/train/{name}\n" for name in sorted(TRAIN)))
    (root / "val.txt").write_text(
        "".join(f"{root}/images/val/{name}\n" for name in sorted(VAL)) + "\n# end\n"
    )
    return "train: train.txt\nval: val.txt\n"


YAMLS = (as_folders, without_path, absolute, of_another_machine, as_lists, roboflow, as_text_files)


@pytest.mark.parametrize("make", YAMLS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("classes", [SOLO, "names:\n  0: cat\n  1: dog\n"], ids=["list", "dict"])
@pytest.mark.parametrize("by", ["file", "folder"])
def test_data_yaml_has_the_split_of_its_author(
    tmp_path: Path, make: Callable[[Path], str], classes: str, by: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "data.yaml").write_text(make(root) + classes)
    found = split(root / "data.yaml" if by == "file" else root)
    assert names(found) == (TRAIN, VAL)
    assert found.train.classes == found.held.classes == ("cat", "dog")
    assert [len(boxes) for boxes in found.train.boxes] == [1] * len(TRAIN)
    assert {int(boxes.labels[0]) for boxes in found.held.boxes} == {1}
    assert found.source == f"the split of {root / 'data.yaml'}: train and val"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", UsageError, "is not a data set"),
        ("train: a: b\n", UsageError, r"data\.yaml:1: not YAML"),
        ("names: [cat]\n", UsageError, "names no images: expected keys `train` and `val`"),
        ("names: 4\ntrain: x\n", UsageError, "`names` must be a list"),
        ("names: {a: cat}\ntrain: x\n", UsageError, "must be class numbers"),
        ("names: [a, b]\nnc: 3\ntrain: x\n", UsageError, "`nc` is 3, `names` has 2"),
        ("names: [a]\ntrain: nowhere\n", SourceError, "`train: nowhere` does not exist below"),
        ("names: [a]\ntrain: 7\n", UsageError, "`train` is 7"),
        ("names: !!python/object/apply:os.system [id]\n", UsageError, "not YAML"),
    ],
)
def test_a_wrong_yaml_names_the_key(tmp_path: Path, text: str, error: type[Exception], words: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(error, match=words):
        read_data_yaml(tmp_path / "data.yaml")


def test_a_yaml_with_validation_images_alone_serves_evaluation(tmp_path: Path) -> None:
    folder_of(tmp_path / "images" / "val", VAL)
    (tmp_path / "data.yaml").write_text("val: images/val\n" + SOLO)
    assert len(read_held(tmp_path / "data.yaml", LabelReading()).boxes) == len(VAL)
    with pytest.raises(UsageError, match=r"data\.yaml has no training images: key `train` is missing"):
        read_boxes(tmp_path / "data.yaml", LabelReading())


def test_an_image_that_a_text_file_lists_must_exist(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("./images/nothing.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\n" + SOLO)
    with pytest.raises(SourceError, match=r"train\.txt:1: \./images/nothing\.png does not exist"):
        read_data_yaml(tmp_path / "data.yaml")


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_folders_of_two_parts(tmp_path: Path, layout: str) -> None:
    folder_of(tmp_path / layout, TRAIN)
    folder_of(tmp_path / layout.replace("train", "val"), VAL)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = split(tmp_path)
    assert names(found) == (TRAIN, VAL)
    assert "the split of the folders" in found.source


@pytest.mark.parametrize("pair", ["instances_train2017.json instances_val2017.json", "train.json val.json"])
def test_coco_files_of_two_parts(tmp_path: Path, pair: str) -> None:
    train, val = pair.split()
    for file in (train, val):
        images(tmp_path / Path(file).stem)
        write(tmp_path / file, coco(iscrowd=0))
    found = split(tmp_path / train)
    assert {file.parent.name for file in found.train.files} == {Path(train).stem}
    assert {file.parent.name for file in found.held.files} == {Path(val).stem}
    assert found.source == f"the split of {tmp_path / train} and {tmp_path / val}"


def test_roboflow_s_coco_folders(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        images(tmp_path / part)
        write(tmp_path / part / "_annotations.coco.json", coco(iscrowd=0))
    found = split(tmp_path / "train" / "_annotations.coco.json")
    assert {file.parent.name for file in found.held.files} == {"valid"}


def voc(folder: Path) -> Path:
    for place in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / place).mkdir(parents=True)
    for name in TRAIN | VAL:
        cv2.imwrite(str(folder / "JPEGImages" / name), np.zeros((20, 20, 3), np.uint8))
        (folder / "Annotations" / name).with_suffix(".xml").write_text(
            f"<annotation><filename>{name}</filename><size><width>20</width><height>20</height></size><object>"
            "<name>dog</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
            "</annotation>"
        )
    for part, members in (("train", TRAIN), ("val", VAL)):
        lines = "".join(f"{Path(name).stem}  1\n" for name in sorted(members))
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text(lines)
    return folder


def test_the_lists_of_pascal_voc(tmp_path: Path) -> None:
    found = split(voc(tmp_path))
    assert names(found) == (TRAIN, VAL)
    assert found.train.boxes[0].xyxy[0].tolist() == pytest.approx([0.1, 0.1, 0.45, 0.45])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", r"t0\.xml:1: not XML"),
        ('<!DOCTYPE x [<!ENTITY e "boom">]><annotation/>', "declares a document type"),
        ("<annotation><object><name>a</name></object></annotation>", "without name or bndbox"),
        (
            "<annotation><object><name>a</name><bndbox><xmin>q</xmin></bndbox></object></annotation>",
            "bndbox/xmin is 'q'",
        ),
    ],
)
def test_a_wrong_xml_is_named(tmp_path: Path, text: str, words: str) -> None:
    voc(tmp_path)
    (tmp_path / "Annotations" / "t0.xml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_boxes(tmp_path, LabelReading())


def test_held_wins_over_the_data_s_own_part(tmp_path: Path) -> None:
    ultralytics(tmp_path / "set")
    (tmp_path / "set" / "data.yaml").write_text("train: images/train\nval: images/val\n" + SOLO)
    other = tmp_path / "other"
    folder_of(other / "images", {"o.png"})
    (other / "classes.txt").write_text("cat\ndog\n")
    found = split(tmp_path / "set", held=other)
    assert names(found) == (TRAIN, {"o.png"})
    assert "(--val)" in found.source


def test_without_a_part_of_its_own_a_tenth_is_held(tmp_path: Path) -> None:
    folder_of(tmp_path / "images", TRAIN)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = split(tmp_path)
    train, held = names(found)
    assert train | held == TRAIN
    assert not train & held
    assert "a tenth of it" in found.source


def test_images_in_both_parts_are_reported(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/train\n" + SOLO)
    assert "WARNING: 6 images are in both parts" in split(tmp_path).source


def test_tif_images_are_learnt_from(tmp_path: Path) -> None:
    folder_of(tmp_path / "images", {"a.tif", "b.tiff", "c.JPG"})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert len(read_boxes(tmp_path, LabelReading(wanted=ClassNames(("dog",))))) == 3
