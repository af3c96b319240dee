"""Shell patterns and lists of sources."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.opening import open_source


def image(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), level, np.uint8))


def clip(path: Path, level: int, frames: int = 3) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (16, 16))
    for _ in range(frames):
        writer.write(np.full((16, 16, 3), level, np.uint8))
    writer.release()


def names(text: str) -> list[str]:
    with open_source(text) as source:
        assert not source.live
        return [Path(frame.source).name for frame in source]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photos/b.jpg", "photos/a.jpg", "photos/c.png", "photos/deep/d.jpg"):
        image(tmp_path / name, 99)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["a.jpg", "b.jpg"]),
        ("photos/[ab].*", ["a.jpg", "b.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "d.jpg"]),
        ("**/*.png", ["c.png"]),
        ("photos/?.png", ["c.png"]),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_patterns(folder: Path, pattern: str, expected: list[str], absolute: bool) -> None:
    assert names(f"{folder}/{pattern}" if absolute else pattern) == expected


def test_a_pattern_of_images_and_videos_gives_all_frames_in_order(folder: Path) -> None:
    clip(folder / "photos" / "b.mp4", 50)
    with open_source("photos/b.*") as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [Path(frame.source).name for frame in frames] == ["b.jpg", "b.mp4", "b.mp4", "b.mp4"]


def test_a_pattern_without_a_file_is_an_error(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"no file matches photos/\*\.gif"):
        open_source("photos/*.gif")


def test_a_file_whose_name_is_a_pattern_is_that_file(folder: Path) -> None:
    image(folder / "a[1].jpg", 9)
    assert names("a[1].jpg") == ["a[1].jpg"]


def test_a_list_of_sources(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip(folder / "v.mp4", 10)
    (folder / "photos" / "list.txt").write_text("# mine\n\na.jpg\nphotos/c.png\nnothing.jpg\nv.mp4\n")
    assert names("photos/list.txt") == ["a.jpg", "c.png", "v.mp4", "v.mp4", "v.mp4"]
    assert "no such file or folder: nothing.jpg" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no source"),
        ("# only this\n", "lists no source"),
        (
            "x\ny\n",
            r"none of the 2 sources of list\.txt can be read; the first error: no such file or folder: x",
        ),
        ("demo:\n", "contains a live source, demo:, which has no end"),
        ("loop:photos@5\n", "contains a live source"),
    ],
)
def test_invalid_lists_are_refused(folder: Path, text: str, words: str) -> None:
    (folder / "list.txt").write_text(text)
    with pytest.raises(SourceError, match=words):
        open_source("list.txt")


def test_a_text_that_is_too_long_for_a_file_is_one_clear_error() -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source("x" * 5000)
