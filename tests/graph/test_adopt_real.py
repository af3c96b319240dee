"""Adopted real third-party files: the same results as before, and TensorRT-RTX builds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.contract.spec import FrameInput
from edgevision.errors import GraphError
from edgevision.graph.adopt import Adoption, AdoptOptions, adopt
from edgevision.graph.coco import COCO_CLASSES
from edgevision.graph.heads.cells.fastestdet import FastestDetHead
from edgevision.graph.heads.yolox import YoloXHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.reference import source_answers
from tests.rtx import build_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]


def answers_of(path: Path, adoption: Adoption, frames: Array) -> list[Array]:
    return [np.asarray(array) for array in source_answers(path, adoption, frames)]


REAL = [("yolox_nano", "yolox", (640, 480)), ("FastestDet", "fastestdet", (640, 480))]


@pytest.mark.parametrize(("file", "head", "frame_wh"), REAL)
def test_adopted_real_files_have_unchanged_results(
    data_dir: Path, run_ort: Run, file: str, head: str, frame_wh: tuple[int, int]
) -> None:
    path = data_dir / "weights" / f"{file}.onnx"
    images = sorted((data_dir / "coco" / "eval").glob("*.jpg"))[:2]
    for options in (AdoptOptions(), AdoptOptions(frame_wh=frame_wh)):
        adoption = adopt(path, head, options)
        for image in images:
            shown = cv2.resize(np.asarray(cv2.imread(str(image)), np.uint8), adoption.spec.frames.size_wh)
            frames = np.asarray(shown, np.uint8)[None]
            expected = answers_of(path, adoption, frames)
            actual = run_ort(adoption.model, {"frames": frames})
            sure = expected[1] > 0.1
            assert np.abs(actual[1] - expected[1])[sure].max() < 1e-4
            assert np.array_equal(actual[2][sure], expected[2][sure])
            assert np.abs(actual[0] - expected[0])[sure].max() < 0.05


def test_a_real_file_with_the_wrong_head_is_refused(data_dir: Path) -> None:
    path = data_dir / "weights" / "yolox_nano.onnx"
    image = cv2.imread(str(min((data_dir / "coco" / "eval").glob("*.jpg"))))
    adoption = adopt(path, "yolov5")
    with pytest.raises(GraphError, match=r"yolox_nano\.onnx does not fit yolov5: decoded boxes"):
        source_answers(
            path, adoption, cv2.resize(np.asarray(image, np.uint8), (416, 416))[None].astype(np.uint8)
        )


def test_real_files_are_recognised(data_dir: Path) -> None:
    weights = data_dir / "weights"
    nano = adopt(weights / "yolox_nano.onnx", "yolox")
    assert nano.head == YoloXHead((416, 416), 80, decoded=False)
    assert nano.pixels == PixelFormat("bgr", 1.0)
    assert nano.spec.frames == FrameInput((416, 416), "letterbox")
    fast = adopt(weights / "FastestDet.onnx", "fastestdet")
    assert fast.head == FastestDetHead((352, 352), (22, 22), 80)
    assert fast.spec.frames == FrameInput((352, 352), "stretch")
    assert fast.spec.classes == COCO_CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("form", ["static", "frame"])
@pytest.mark.parametrize(("file", "head", "frame_wh"), REAL)
def test_tensorrt_rtx_builds_real_files(
    data_dir: Path, file: str, head: str, frame_wh: tuple[int, int], form: str
) -> None:
    options = AdoptOptions(frame_wh=(1920, 1080) if form == "frame" else None)
    adoption = adopt(data_dir / "weights" / f"{file}.onnx", head, options)
    engine, _ = build_rtx_engine(adoption.model.SerializeToString())
    assert len(engine) > 1000
