"""A video appears whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.errors import SinkError
from edgevision.sinks.files.video_file import VideoFile
from edgevision.sinks.opening import write_clip
from edgevision.sources.opening import open_source

Usage = namedtuple("Usage", "total used free")


def picture(value: int, size_wh: tuple[int, int] = (64, 48)) -> Frame:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def noise(seed: int, size_wh: tuple[int, int] = (320, 240)) -> Frame:
    return np.random.default_rng(seed).integers(0, 255, (size_wh[1], size_wh[0], 3), np.uint8)


def test_the_file_appears_when_it_is_closed_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "v.mp4"
    file = VideoFile(path, (64, 48), 12.5)
    for number in range(10):
        file.write(picture(20 * number))
    assert not path.exists()
    file.close()
    file.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["v.mp4"]
    with open_source(path) as source:
        assert (source.fps, source.frame_count, source.size_wh) == (12.5, 10, (64, 48))
        means = [float(frame.image_bgr.mean()) for frame in source]
    assert means == pytest.approx([20.0 * number for number in range(10)], abs=5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (65, 49)])
def test_odd_sides_lose_no_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "v.mp4"
    write_clip(path, [picture(200, size)], size, fps=25.0)
    with open_source(path) as source:
        assert source.size_wh == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        (frame,) = source
        assert frame.image_bgr.mean() == pytest.approx(200, abs=4)


def test_frames_of_another_size_are_letterboxed(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_clip(path, [picture(200), picture(200, (48, 48)), picture(200)], (64, 48), fps=25.0)
    with open_source(path) as source:
        first, second, third = (frame.image_bgr for frame in source)
    assert first.mean() == pytest.approx(200, abs=4)
    assert third.mean() == pytest.approx(200, abs=4)
    assert second[:, 12:52].mean() == pytest.approx(200, abs=4)
    assert second[:, :4].mean() < 10


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    VideoFile(tmp_path / "v.mp4", (64, 48), 25.0).close()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_clip_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"older")

    def frames() -> list[Frame]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "v.mp4", (frame for frame in frames()), (64, 48), fps=25.0)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"older"]


def test_a_codec_that_cannot_open_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        SinkError, match=r"cannot write .*v\.mp4: libx264 does not support 40000x48 at 25 frames/s"
    ):
        VideoFile(tmp_path / "v.mp4", (40000, 48), 25.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/v.mp4", "folder.mp4", "/proc/nowhere/v.mp4"])
def test_an_unwritable_path_is_an_error_at_once(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SinkError, match="cannot write"):
        VideoFile(tmp_path / place, (64, 48), 25.0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_a_disk_that_runs_full_is_noticed_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = VideoFile(tmp_path / "v.mp4", (64, 48), 25.0)
    file.write(picture(0))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, 4096))
    with pytest.raises(SinkError, match="no space left on device after 2 frames$"):
        file.write(picture(1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SinkError, match="it is closed"):
        file.write(picture(0))
    file.close()


def test_a_recording_is_completed_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mp4"
    file = VideoFile(path, (64, 48), 25.0, recording=True)
    free = 400 * 1024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, free))
    for number in range(100):
        file.write(picture(number))
    # Just what the index of 100 frames and the reserve need; the next frame's share is missing.
    free = 256 * 1024 + 2 * 64 * 48 + 32 * 100
    with pytest.raises(SinkError, match="no space left on device after 101 frames; the file contains them"):
        file.write(picture(100))
    file.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.mp4"]
    with open_source(path) as source:
        assert len(list(source)) == 101
    with pytest.raises(SinkError, match="it is closed"):
        file.write(picture(0))


LIMITED = """
import resource
from pathlib import Path
from edgevision.errors import SinkError
from edgevision.sinks.files.video_file import VideoFile
import numpy as np
file = VideoFile(Path({path!r}), (320, 240), 25.0)
# The kernel refuses to let any file grow beyond this, as a full disk would.
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
random = np.random.default_rng(0)
try:
    for _ in range(20):
        file.write(random.integers(0, 255, (240, 320, 3), np.uint8))
    file.close()
except SinkError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of file size as Linux has them")
def test_a_file_that_the_system_cut_short_never_appears(tmp_path: Path) -> None:
    program = LIMITED.format(path=str(tmp_path / "v.mp4"))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "File too large after " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_last_frame_of_a_longer_video_is_found_again(tmp_path: Path) -> None:
    write_clip(tmp_path / "v.mp4", (noise(number) for number in range(60)), (320, 240), fps=29.97)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97)


@pytest.mark.parametrize("recording", [False, True])
def test_others_may_read_a_video_like_any_new_file(recording: bool, tmp_path: Path) -> None:
    """A temporary file is private; a recording gets its name long before it is closed."""
    (tmp_path / "new").touch()
    video = VideoFile(tmp_path / "v.mp4", (32, 24), 25, recording=recording)
    for _ in range(60):
        video.write(np.zeros((24, 32, 3), np.uint8))
    video.close()
    assert (tmp_path / "v.mp4").stat().st_mode == (tmp_path / "new").stat().st_mode
