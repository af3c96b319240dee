"""A full file system: a small tmpfs in its own mount namespace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgevision.sinks.opening import write_clip
from edgevision.sources.image_files import read_image
from edgevision.sources.opening import open_source

SCRIPT = """
mount -t tmpfs -o size=400k tmpfs {small} || exit 99
{python} -m edgevision run {bundle} {clip} --threshold 0 {options}
code=$?
cp -r {small}/. {left}
exit $code
"""


@pytest.fixture(scope="module")
def noisy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 frames of noise: no codec makes them small."""
    path = tmp_path_factory.mktemp("clip") / "noise.mp4"
    random = np.random.default_rng(0)
    frames = (random.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(2000))
    write_clip(path, frames, (128, 96), fps=25.0)
    return path


def run_on_a_small_disk(bundle: Path, clip: Path, tmp_path: Path, options: str) -> tuple[str, list[Path]]:
    """What is said, and the files that are left; skips where this user may mount nothing."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    small, left = tmp_path / "small", tmp_path / "left"
    small.mkdir()
    left.mkdir()
    script = SCRIPT.format(
        small=small,
        left=left,
        python=sys.executable,
        bundle=bundle,
        clip=clip,
        options=options.format(small=small),
    )
    command = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"a tmpfs may not be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    other = ("frames/s", "measures and stores the fastest")
    (line,) = [line for line in done.stderr.splitlines() if not any(text in line for text in other)]
    return line, sorted(path for path in left.rglob("*") if path.is_file())


def test_a_video_holds_what_was_recorded(brightness_bundle: Path, noisy_clip: Path, tmp_path: Path) -> None:
    line, (left,) = run_on_a_small_disk(brightness_bundle, noisy_clip, tmp_path, "-o {small}/out.mp4")
    message = re.fullmatch(
        rf"edgevision: cannot write {tmp_path}/small/out\.mp4: no space left on device after (\d+) frames;"
        " the file contains them",
        line,
    )
    assert message is not None, line
    assert left.name == "out.mp4"
    with open_source(left) as video:
        assert len(list(video)) == int(message[1]) > 5


def test_no_part_of_a_line_is_left(brightness_bundle: Path, noisy_clip: Path, tmp_path: Path) -> None:
    line, (left,) = run_on_a_small_disk(brightness_bundle, noisy_clip, tmp_path, "--jsonl {small}/out.jsonl")
    assert line.endswith("out.jsonl: No space left on device; its last line is complete")
    lines = left.read_bytes().splitlines(keepends=True)
    assert len(lines) > 100
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))
    assert lines[-1].endswith(b"\n")


def test_no_half_image_is_left(brightness_bundle: Path, noisy_clip: Path, tmp_path: Path) -> None:
    line, left = run_on_a_small_disk(brightness_bundle, noisy_clip, tmp_path, "-o {small}/frames")
    assert line.endswith(f"noise_{len(left):06d}.jpg: No space left on device")
    assert [path.name for path in left] == [f"noise_{number:06d}.jpg" for number in range(len(left))]
    assert {read_image(path).shape for path in left} == {(96, 128, 3)}
