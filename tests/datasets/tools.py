"""One data set in the formats of ten tools, made after their documentation.

Two images, 64x48 and 32x32, three boxes of two classes. Sources of the shapes: Label Studio:
https://labelstud.io/guide/export (COCO). CVAT: https://docs.cvat.ai/docs/manual/advanced/formats/format-coco/ Roboflow:
https://roboflow.com/formats/coco-json. Labelme: https://github.com/wkentaro/labelme (labelme2coco). VIA:
https://www.robots.ox.ac.uk/~vgg/software/via/. FiftyOne: https://docs.voxel51.com/user_guide/export_datasets.html
Datumaro: https://open-edge-platform.github.io/datumaro/. Ultralytics: https://docs.ultralytics.com/datasets/detect/
LabelImg: https://github.com/HumanSignal/labelImg. V7: https://docs.v7labs.com/docs/coco
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = ("cat", "dog")
SIZES = {"a.png": (64, 48), "b.png": (32, 32)}
BOXES = (
    ("a.png", "dog", (8, 6, 24, 18)),
    ("a.png", "cat", (40, 20, 16, 24)),
    ("b.png", "dog", (4, 4, 20, 10)),
)
"""Image, class, x y width height in pixels."""


def images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in SIZES.items():
        cv2.imwrite(str(folder / name), np.full((height, width, 3), 90, np.uint8))


def coco(
    *, first: int = 1, categories: tuple[str, ...] = CLASSES, prefix: str = "", **extra: Any
) -> dict[str, Any]:
    ids = {name: index + first for index, name in enumerate(SIZES)}
    return {
        "images": [
            {"id": ids[name], "file_name": prefix + name, "width": wh[0], "height": wh[1]}
            for name, wh in SIZES.items()
        ],
        "annotations": [
            {
                "id": number + first,
                "image_id": ids[name],
                "category_id": categories.index(kind) + first,
                "bbox": list(box),
                **extra,
            }
            for number, (name, kind, box) in enumerate(BOXES)
        ],
        "categories": [{"id": index + first, "name": name} for index, name in enumerate(categories)],
    }


def rectangle(box: tuple[int, int, int, int]) -> list[list[int]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def write(path: Path, content: dict[str, Any], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding=encoding)
    return path


def label_studio(folder: Path) -> Path:
    """``result.json`` beside ``images/``, ids from 0, names with the folder; `iscrowd` or `area` may be missing."""
    images(folder / "images")
    content = coco(first=0, prefix="images/", segmentation=[], ignore=0)
    return write(folder / "result.json", {**content, "info": {"contributor": "Label Studio"}})


def cvat(folder: Path) -> Path:
    """``annotations/instances_default.json``, with attributes, areas and licences."""
    images(folder / "images")
    content = coco(iscrowd=0, attributes={"occluded": False, "rotation": 0.0})
    for item, (_, _, box) in zip(content["annotations"], BOXES, strict=True):
        item |= {"segmentation": [], "area": float(box[2] * box[3]), "bbox": [float(v) for v in box]}
    for item in content["images"]:
        item |= {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    for item in content["categories"]:
        item["supercategory"] = ""
    return write(folder / "annotations" / "instances_default.json", content)


def roboflow(folder: Path) -> Path:
    """``_annotations.coco.json`` among the images; category 0 is a parent that no box has."""
    images(folder)
    content = coco(first=0, categories=("animals", *CLASSES), iscrowd=0, segmentation=[])
    content["categories"][0]["supercategory"] = "none"
    return write(folder / "_annotations.coco.json", content)


def labelme(folder: Path) -> Path:
    """Polygons, no `iscrowd` in old versions, a file of its own encoding with a byte order mark."""
    images(folder / "JPEGImages")
    content = coco(first=1, prefix="JPEGImages/")
    for item, (_, _, box) in zip(content["annotations"], BOXES, strict=True):
        item |= {"segmentation": rectangle(box), "area": box[2] * box[3]}
    return write(folder / "annotations.json", content, "utf-8-sig")


def via(folder: Path) -> Path:
    """Ids of images and annotations are texts."""
    images(folder)
    content = coco()
    for item in content["images"]:
        item["id"] = str(item["id"])
    for item in content["annotations"]:
        item |= {"id": str(item["id"]), "image_id": str(item["image_id"]), "iscrowd": 0}
    return write(folder / "via_project_coco.json", content)


def fiftyone(folder: Path) -> Path:
    """``labels.json`` beside ``data/``; category ids from 0 and `supercategory` null."""
    images(folder / "data")
    content = coco(first=1, iscrowd=0)
    for item in content["categories"]:
        item["supercategory"] = None
    return write(folder / "labels.json", content)


def datumaro(folder: Path) -> Path:
    """Annotation ids restart in each image."""
    images(folder / "images")
    content = coco(iscrowd=0, segmentation=[])
    for item, number in zip(content["annotations"], (1, 2, 1), strict=True):
        item["id"] = number
    return write(folder / "annotations" / "instances_train.json", content)


def v7(folder: Path) -> Path:
    """No sizes of images, and an `extra` object."""
    images(folder)
    content = coco(extra={"instance_id": {"value": 7}})
    for item in content["images"]:
        del item["width"], item["height"]
    return write(folder / "v7.json", content)


def ultralytics(folder: Path) -> Path:
    """``data.yaml`` with a dict of names, fractions in text files."""
    images(folder / "images" / "train")
    images(folder / "images" / "val")
    for part in ("train", "val"):
        for name, (width, height) in SIZES.items():
            lines = [
                f"{CLASSES.index(kind)} {(x + w / 2) / width:.8f} {(y + h / 2) / height:.8f}"
                f" {w / width:.8f} {h / height:.8f}"
                for image, kind, (x, y, w, h) in BOXES
                if image == name
            ]
            text = folder / "labels" / part / f"{Path(name).stem}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
    )
    return folder / "data.yaml"


def labelimg(folder: Path) -> Path:
    """Pascal VOC: an XML file beside each image, corners from 1."""
    images(folder)
    for name, (width, height) in SIZES.items():
        things = "".join(
            f"<object><name>{kind}</name><pose>Unspecified</pose><difficult>0</difficult>"
            f"<bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>"
            "</object>"
            for image, kind, (x, y, w, h) in BOXES
            if image == name
        )
        (folder / f"{Path(name).stem}.xml").write_text(
            f"<annotation><folder>x</folder><filename>{name}</filename><path>C:\\x\\{name}</path>"
            f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{things}</annotation>"
        )
    return folder


TOOLS: dict[str, Callable[[Path], Path]] = {
    tool.__name__: tool
    for tool in (
        label_studio,
        cvat,
        roboflow,
        labelme,
        via,
        fiftyone,
        datumaro,
        v7,
        ultralytics,
        labelimg,
    )
}
