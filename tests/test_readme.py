"""The commands in README.md run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edgevision.cli.root import COMMANDS
from edgevision.sources.synthetic_camera import SyntheticCamera

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
NEEDS_CAMERA = {
    "edgevision run mymodel 0 --show",
    "edgevision run mymodel rtsp://host/stream --jsonl found.jsonl",
    "edgevision run mymodel rtsp://a/stream rtsp://b/stream 0 --batch auto",
    "edgevision live mymodel rtsp://a/stream door=0",
    "edgevision deploy cameras.toml",
}


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in fenced("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("edgevision ")]


def test_every_command_is_in_the_table_and_exists() -> None:
    named = set(re.findall(r"^\| `edgevision ([\w-]+)", README, flags=re.MULTILINE))
    assert named | {"demo"} == set(COMMANDS)


def test_the_first_screen_holds_the_two_commands() -> None:
    first = README.splitlines()[:20]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


@pytest.mark.slow
def test_the_commands_run_unchanged(tmp_path: Path, data_dir: Path) -> None:
    shutil.copy(data_dir / "weights" / "yolov5n.pt", tmp_path / "best.pt")
    camera = SyntheticCamera((320, 240), cycle=20)
    writer = cv2.VideoWriter(
        str(tmp_path / "street.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, camera.size_wh
    )
    for frame in camera.frames(camera.cycle):
        writer.write(frame)
    writer.release()
    cv2.imwrite(str(tmp_path / "street.jpg"), camera.frame(0))
    ran = 0
    for line in commands():
        if line in NEEDS_CAMERA:
            continue
        arguments = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        ran += 1
    assert ran == len(commands()) - len(NEEDS_CAMERA) >= 4
    assert (tmp_path / "annotated.mp4").stat().st_size > 1000
    (program,) = fenced("python")
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
