"""Small synthetic data sets that a tiny network learns in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np


def class_folders(folder: Path, *, each: int = 24, side: int = 16) -> Path:
    """Two classes: a bright disc on dark noise, and a bright square."""
    rng = np.random.default_rng(0)
    for part, count in (("train", each), ("val", each // 2)):
        for name in ("disc", "square"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 90, (side, side, 3), dtype=np.uint8)
                x, y = (int(v) for v in rng.integers(5, side - 5, 2))
                if name == "disc":
                    cv2.circle(image, (x, y), 4, (60, 230, 230), -1)
                else:
                    cv2.rectangle(image, (x - 3, y - 3), (x + 3, y + 3), (230, 60, 230), -1)
                cv2.imwrite(str(folder / part / name / f"{number:03}.png"), image)
    return folder


def instances(folder: Path, *, images: int = 12, side: int = 64) -> Path:
    """A YOLO folder of polygons: bright triangles and diamonds on dark noise, numbered 1 and 3."""
    rng = np.random.default_rng(2)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    shapes = {1: [(0, 1), (1, 1), (0.5, 0)], 3: [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]}
    for number in range(images):
        image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        lines = []
        for half in range(int(rng.integers(1, 3))):
            label = int(rng.choice(list(shapes)))
            wh = rng.integers(18, 30, 2)
            corner = rng.integers(0, side // 2 - wh // 2) + np.array([half * (side - wh[0]) // 2, 0])
            points = np.array(shapes[label]) * wh + corner
            cv2.fillPoly(image, [points.astype(np.int32)], (40, 220, 220) if label == 1 else (220, 60, 220))
            lines.append(f"{label} " + " ".join(f"{v:.5f}" for v in (points / side).clip(0, 1).ravel()))
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    (folder / "classes.txt").write_text("\ntriangle\n\ndiamond\n")
    return folder


def boxes(folder: Path, *, images: int = 12, side: int = 64) -> Path:
    """A COCO file: bright rectangles on dark noise, one in each half at most, a class for each colour."""
    rng = np.random.default_rng(1)
    (folder / "labels").mkdir(parents=True)
    rows: list[dict[str, object]] = []
    for number in range(images):
        image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        for half in range(int(rng.integers(1, 3))):
            w, h = (int(v) for v in rng.integers(14, 30, 2))
            x, y = half * side // 2 + int(rng.integers(0, side // 2 - w)), int(rng.integers(0, side - h))
            label = int(rng.integers(0, 2))
            image[y : y + h, x : x + w] = (40, 220, 220) if label else (220, 220, 40)
            rows.append({"id": len(rows), "image_id": number, "category_id": label, "bbox": [x, y, w, h]})
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), image)
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": side, "height": side} for n in range(images)],
        "annotations": rows,
        "categories": [{"id": 0, "name": "blue"}, {"id": 1, "name": "yellow"}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path
