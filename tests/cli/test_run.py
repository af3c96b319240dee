"""`edgevision run` as it is called, in this process and in its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.cli.commands.run import command
from edgevision.errors import BundleError, EdgevisionError, SinkError, SourceError, UsageError
from edgevision.sinks.opening import write_clip
from edgevision.sources.opening import open_source

WIDTH, HEIGHT = 128, 64


def make_clip(path: Path, count: int) -> Path:
    """Frame n has brightness 100 + n."""
    frames = (np.full((HEIGHT, WIDTH, 3), 100 + n % 100, np.uint8) for n in range(count))
    write_clip(path, frames, (WIDTH, HEIGHT), fps=12.5)
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, (SystemExit, EdgevisionError)):
        raise result.exception
    return result


def refused(error: type[EdgevisionError], *arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, error)
    text = str(result.exception)
    assert "\n" not in text
    return text


def read_lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_a_video_produces_a_video_and_json_lines(brightness_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", 30)
    video, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    result = run(brightness_bundle, clip, "-o", video, "--jsonl", jsonl, "--threshold", "0.1")
    assert result.exit_code == 0, result.output
    lines = read_lines(jsonl)
    assert [line["frame"] for line in lines] == list(range(30))
    assert [line["position_s"] for line in lines] == pytest.approx([n / 12.5 for n in range(30)])
    assert {line["source"] for line in lines} == {str(clip)}
    detection = lines[0]["detections"][0]
    assert (detection["class"], detection["label"]) == ("lamp", 0)
    # The frame is half as large again in the input, over 16 rows of padding: (16,16,48,48) is (32,0,96,64) of it.
    assert detection["box"] == [32, 0, 96, 64]
    scores = [line["detections"][0]["score"] for line in lines]
    assert scores == pytest.approx([((100 + n) / 2 + 114 / 2) / 255 for n in range(30)], abs=0.01)
    assert [line["age_ms"] > sum(line["stages_ms"].values()) * 0.99 for line in lines] == [True] * 30
    with open_source(video) as source:
        assert (source.frame_count, source.fps, source.size_wh) == (30, 12.5, (WIDTH, HEIGHT))
    assert "30 frames in" in result.output
    assert "p50 in ms: decode" in result.output
    assert f"wrote {video}" in result.output


def test_a_calling_command_continues_afterwards(brightness_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", 2)
    with command.make_context("run", [str(brightness_bundle), str(clip)]) as context:
        command.invoke(context)


def test_the_limit_and_the_threshold_hold(brightness_bundle: Path, tmp_path: Path) -> None:
    clip, jsonl = make_clip(tmp_path / "in.mp4", 10), tmp_path / "out.jsonl"
    result = run(brightness_bundle, clip, "--jsonl", jsonl, "--limit", 4, "--threshold", 0.9)
    assert result.exit_code == 0
    assert [line["detections"] for line in read_lines(jsonl)] == [[]] * 4


def test_a_folder_produces_a_folder(brightness_bundle: Path, tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/deep/a.png", "photos/broken.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((48, 48, 3), 90, np.uint8))
    (tmp_path / "photos" / "broken.jpg").write_text("not an image")
    jsonl = tmp_path / "out.jsonl"
    result = run(brightness_bundle, tmp_path / "photos", "-o", tmp_path / "drawn", "--jsonl", jsonl)
    assert result.exit_code == 0
    assert [line["source"] for line in read_lines(jsonl)] == [
        str(tmp_path / "photos" / "a.png"),
        str(tmp_path / "photos" / "deep" / "a.png"),
    ]
    drawn = cv2.imread(str(tmp_path / "drawn" / "deep" / "a.png"))
    assert drawn is not None
    assert np.ptp(drawn) > 0
    assert "1 files skipped" in result.output
    assert "broken.jpg is not an image" in result.output


def test_a_damaged_video_warns_and_its_output_is_whole(brightness_bundle: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for level in range(40):
        writer.write(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    writer.release()
    data = (tmp_path / "in.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
    result = run(brightness_bundle, tmp_path / "cut.avi", "-o", tmp_path / "out.mp4")
    assert result.exit_code == 0
    assert "of 40 frames according to its header; the file is truncated or damaged" in result.output
    with open_source(tmp_path / "out.mp4") as source:
        assert f"{source.frame_count} frames in" in result.output


def test_an_impossible_sink_is_one_error_and_leaves_no_file(brightness_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", 3)
    before = clip.read_bytes()
    (tmp_path / "file").write_text("in the way")
    kept = tmp_path / "kept.jsonl"
    kept.write_text("{}\n")
    b = brightness_bundle
    assert "no such file or folder" in refused(SourceError, b, tmp_path / "nowhere.mp4", "--jsonl", kept)
    assert "camera 63 does not exist" in refused(SourceError, b, "63", "--jsonl", kept)
    assert "no bundle at" in refused(BundleError, tmp_path / "nothing", clip, "--jsonl", kept)
    assert "cannot write" in refused(SinkError, b, clip, "-o", tmp_path / "file" / "out.mp4", "--jsonl", kept)
    assert "cannot write" in refused(SinkError, b, clip, "-o", tmp_path / "file" / "out", "--jsonl", kept)
    assert "source file" in refused(UsageError, b, clip, "-o", clip, "--jsonl", kept)
    assert "source file" in refused(UsageError, b, clip, "--jsonl", clip)
    assert "both name" in refused(UsageError, b, clip, "-o", kept, "--jsonl", kept)
    assert "ends in .avi" in refused(UsageError, b, clip, "-o", tmp_path / "out.avi", "--jsonl", kept)
    assert "opencv-python" in refused(SinkError, b, clip, "--show")
    assert kept.read_text() == "{}\n"
    assert clip.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.mp4", "kept.jsonl"]


def test_a_full_disk_is_one_clear_error(brightness_bundle: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    clip = make_clip(tmp_path / "in.mp4", 3)
    message = refused(SinkError, brightness_bundle, clip, "--jsonl", "/dev/full")
    assert message.startswith("cannot write /dev/full: No space left on device")


def start(bundle: Path, *arguments: object) -> subprocess.Popen[str]:
    program = "import sys; from edgevision.cli import main; sys.argv[0] = 'edgevision'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", str(bundle), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def wait_for_lines(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= 3:
            return
        time.sleep(0.02)
    pytest.fail(f"no lines: {process.communicate(timeout=5)}")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_whole_files_and_a_summary(
    brightness_bundle: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    # So long that the run cannot end by itself before the signal comes.
    clip = make_clip(tmp_path / "in.mp4", 20_000)
    video, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    process = start(brightness_bundle, clip, "-o", video, "--jsonl", jsonl)
    wait_for_lines(jsonl, process)
    began = time.perf_counter()
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert time.perf_counter() - began < 5  # two seconds, on a machine that does something else as well
    assert process.returncode == code, errors
    lines = read_lines(jsonl)
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    assert f"{len(lines)} frames in" in output
    assert "Traceback" not in errors
    with open_source(video) as source:
        assert source.frame_count == len(lines)
        assert len(list(source)) == len(lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.jsonl", "out.mp4"]


def test_a_mistake_is_one_line_and_exit_code_1(brightness_bundle: Path, tmp_path: Path) -> None:
    process = start(brightness_bundle, tmp_path / "nowhere.mp4")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert errors.startswith("edgevision: no such file or folder")
    assert errors.count("\n") == 1


CAT = Path(__file__).parents[2] / "edgevision" / "photographs" / "cat.jpg"


def test_options_of_boxes_are_refused_for_other_tasks(tmp_path: Path) -> None:
    said = refused(UsageError, "cnn", CAT, "--threshold", "0.3")
    assert said.startswith("--threshold is for models with boxes (detect, ")
    assert said.endswith("has the task classify: omit it")
    assert "expected a model with detections" in refused(UsageError, "cnn", CAT, "--only", "person")
    refused(UsageError, "cnn", CAT, "-o", tmp_path / "out", "--threshold", "0.3")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_no_empty_folder(brightness_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    assert run(brightness_bundle, tmp_path / "broken.jpg", "-o", tmp_path / "out").exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


def test_annotated_images_do_not_go_into_a_bundle(brightness_bundle: Path) -> None:
    before = sorted(path.name for path in brightness_bundle.iterdir())
    assert "is a bundle; give another folder" in refused(
        UsageError, brightness_bundle, CAT, "-o", brightness_bundle
    )
    assert sorted(path.name for path in brightness_bundle.iterdir()) == before


@pytest.mark.parametrize(("name", "expected"), [("nosuch", "no bundle at"), ("nosuch.onnx", "cannot read")])
def test_a_missing_bundle_is_reported_and_not_the_camera(tmp_path: Path, name: str, expected: str) -> None:
    said = refused(EdgevisionError, tmp_path / name, "/dev/video99")
    assert said.startswith(f"{expected} {tmp_path / name}")
