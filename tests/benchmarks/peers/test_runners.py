"""Runners of `benchmarks.peers`, started as the program starts them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.environments import FailedStepError
from benchmarks.peers.measuring import Launch, Run, run_of
from benchmarks.peers.models import with_columns
from benchmarks.peers.runners import trtexec, yolo
from benchmarks.peers.runners.job import Job
from tests.inference.clips import write_clip

FRAMES = 4
COUNT = 12
ROWS = np.zeros((1, COUNT, 7), np.float32)
ROWS[0, :3, :4] = (320, 320, 64, 32), (322, 320, 64, 32), (100, 500, 20, 20)
ROWS[0, :3, 4:] = (0.9, 0.2, 0.9), (0.8, 0.1, 0.9), (0.9, 0.9, 0.1)
"""Two boxes of class 1 that overlap, and one of class 0: centre, size, objectness, two classes."""


def rows_model() -> onnx.ModelProto:
    """An ONNX file with YOLOv5's input and output, whose output is always `ROWS`."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output0"]),
    ]
    constants = [
        numpy_helper.from_array(ROWS, "rows"),
        numpy_helper.from_array(np.zeros((), np.float32), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, COUNT, 7])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "rows.onnx"
    onnx.save(rows_model(), path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.avi", [np.full((240, 320, 3), 120, np.uint8)] * (FRAMES + 2), "MJPG")


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path, 60.0, frozenset(os.sched_getaffinity(0)))


def started(launch: Launch, runner: str, *arguments: object) -> tuple[Run, dict[str, Any]]:
    command = [sys.executable, "-m", f"benchmarks.peers.runners.{runner}", *map(str, arguments)]
    line, began_ns, peak_mib = launch.run(command)
    return run_of(line, began_ns, peak_mib), line


@pytest.mark.parametrize(
    ("runner", "package"),
    [
        ("onnxruntime_loop", "onnxruntime"),
        pytest.param("supervision_loop", "supervision", marks=pytest.mark.slow),
    ],
)
def test_a_loop_reports_frames_and_detections(
    launch: Launch, model: Path, clip: Path, runner: str, package: str
) -> None:
    pytest.importorskip(package)
    run, line = started(launch, runner, "--model", model, "--source", clip, "--frames", FRAMES)
    assert (run.frames, run.detections) == (FRAMES, 2 * FRAMES)
    assert run.first_s is not None
    assert 0 < run.first_s < 60
    assert run.frames_per_s == pytest.approx(1e9 * (FRAMES - 1) / (line["last_ns"] - line["first_ns"]))
    assert run.peak_mib >= line["peak_mib"] > 20
    assert "ONNX Runtime" in run.facts["engine"]


def test_images_give_boxes_in_their_pixels(launch: Launch, model: Path, tmp_path: Path) -> None:
    image, listed, output = (tmp_path / name for name in ("a.png", "images.txt", "found.json"))
    cv2.imwrite(str(image), np.full((240, 320, 3), 120, np.uint8))
    listed.write_text(f"{image}\n")
    started_at = ("--model", model, "--source", listed, "--images", "--output", output)
    with pytest.raises(FailedStepError, match="1 frames have a result"):
        started(launch, "onnxruntime_loop", *started_at)
    rows = json.loads(output.read_text())[str(image)]
    # 320x240 is enlarged by 2 and has 80 pixels of padding at the top
    assert rows[0] == pytest.approx([144, 112, 176, 128, 0.81, 1], abs=1e-4)
    assert rows[1] == pytest.approx([45, 205, 55, 215, 0.81, 0], abs=1e-4)
    assert len(rows) == 2


def test_edgevision_runs_a_bundle(launch: Launch, clip: Path) -> None:
    arguments = ("--model", "street", "--source", clip, "--frames", FRAMES, "--precision", "float")
    run, _ = started(launch, "ours", *arguments)
    assert run.frames == FRAMES
    assert run.facts["precision"] == "float"


DETECT = """
import argparse, logging, pathlib
parser = argparse.ArgumentParser()
for name in ("weights", "source", "conf-thres", "iou-thres", "max-det", "project", "name"):
    parser.add_argument(f"--{name}", required=True)
for name in ("nosave", "save-txt", "save-conf"):
    parser.add_argument(f"--{name}", action="store_true")
options = parser.parse_args()
if options.save_txt:
    labels = pathlib.Path(options.project) / options.name / "labels"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("2 0.5 0.5 0.25 0.5 0.75\\n")
log = logging.getLogger("yolov5")
log.setLevel(logging.INFO)
for number in range(100):
    log.info("other line")
    log.info(f"video 1/1 ({number}/100) clip.avi: 640x640 1 person, 3.0ms")
"""


def test_lines_of_detect_are_results(launch: Launch, model: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "detect.py").write_text(DETECT)
    given = ("--model", model, "--source", clip, "--program", tmp_path, "--frames", FRAMES)
    run, _ = started(launch, "yolov5_detect", *given)
    assert run.frames == FRAMES


def test_text_files_of_detect_are_detections(launch: Launch, model: Path, tmp_path: Path) -> None:
    (tmp_path / "detect.py").write_text(DETECT)
    image, listed, output = (tmp_path / name for name in ("a.png", "images.txt", "found.json"))
    cv2.imwrite(str(image), np.full((200, 400, 3), 120, np.uint8))
    listed.write_text(f"{image}\n")
    given = ("--model", model, "--source", listed, "--images", "--output", output, "--program", tmp_path)
    started(launch, "yolov5_detect", *given)
    assert json.loads(output.read_text()) == {str(image): [[150, 50, 250, 150, 0.75, 2]]}


def test_columns_are_the_rows_without_objectness() -> None:
    import onnxruntime

    changed = with_columns(rows_model(), ["lamp", "chair"])
    onnx.checker.check_model(changed, full_check=True)
    session = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    (columns,) = session.run(None, {"images": np.zeros((1, 3, 640, 640), np.float32)})
    assert columns.shape == (1, 6, COUNT)
    np.testing.assert_allclose(columns[0, :4], ROWS[0, :, :4].T)
    np.testing.assert_allclose(columns[0, 4:], (ROWS[0, :, 5:] * ROWS[0, :, 4:5]).T)
    assert session.get_modelmeta().custom_metadata_map["names"] == "{0: 'lamp', 1: 'chair'}"
    rows, others = yolo.candidates(ROWS, 0.25), yolo.candidates(columns, 0.25)
    for part in range(3):
        np.testing.assert_allclose(rows[part], others[part])


def test_the_letterbox_is_grey_around_the_image() -> None:
    square, factor, padding = yolo.letterbox(np.zeros((100, 200, 3), np.uint8))
    assert (square.shape, factor, padding) == ((640, 640, 3), 3.2, (0, 160))
    assert (square[:160] == yolo.GREY).all()
    assert (square[160:480] == 0).all()
    blob = yolo.blob_of(square)
    assert blob.shape == (1, 3, 640, 640)
    assert blob.max() == pytest.approx(114 / 255)


def test_no_candidates_are_no_detections() -> None:
    job = Job(Path("m"), Path("s"), False, 1, 0.95, 0.45, 300, None, None, None)
    boxes, scores, labels = yolo.after_nms(yolo.candidates(ROWS, 0.95), job)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


def test_throughput_of_trtexec() -> None:
    assert trtexec.throughput("[I] Throughput: 1054.72 qps\n[I] Latency: min = 0.9 ms") == 1054.72
    with pytest.raises(ValueError, match="no throughput"):
        trtexec.throughput("error")


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_process_that_fails_gives_its_last_line(launch: Launch) -> None:
    with pytest.raises(FailedStepError, match="ended with 3: no such file"):
        launch.run(program("import sys; print('no such file', file=sys.stderr); sys.exit(3)"))
    with pytest.raises(FailedStepError, match="printed no result: hello"):
        launch.run(program("print('hello')"))


def test_a_process_that_hangs_ends_with_its_children(launch: Launch, tmp_path: Path) -> None:
    child = "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])"
    child += f"; open({str(tmp_path / 'pid')!r}, 'w').write(str(c.pid)); time.sleep(99)"
    with pytest.raises(FailedStepError, match="no result within 2 s"):
        Launch(tmp_path, 2.0, launch.cores).run(program(child))
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    deadline = time.monotonic() + 20  # a killed process still runs until it is scheduled again
    while is_running(state) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(state)


def is_running(state: Path) -> bool:
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_memory_of_children_counts(launch: Launch) -> None:
    hold = "x = bytearray(100 << 20); import time; time.sleep(0.5)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    text += """; print('{"frames": 2, "peak_mib": 1}')"""
    _, _, peak_mib = launch.run(program(text))
    assert 100 < peak_mib < 200
