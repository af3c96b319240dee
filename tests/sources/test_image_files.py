"""Recognition of image files, and errors for unreadable ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import SinkError, SourceError
from edgevision.sources.image_files import images_in, read_image, write_image


def test_reading_a_missing_image_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        read_image(tmp_path / "absent.png")


def test_images_are_found_in_sub_folders_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("c.png", "a.JPG", "b/a.webp"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    assert images_in(tmp_path) == ([tmp_path / name for name in ("a.JPG", "b/a.webp", "c.png")], 1)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        SourceError, match="holds no images among its 1 files; expected files that end in .avif"
    ):
        images_in(tmp_path)


def test_an_image_is_read_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.array([[[1, 2, 3]]], np.uint8))
    assert read_image(tmp_path / "image.png").tolist() == [[[1, 2, 3]]]


def test_an_image_is_written_atomically(tmp_path: Path) -> None:
    image = np.full((4, 6, 3), 7, np.uint8)
    write_image(tmp_path / "new" / "a.PNG", image)
    assert read_image(tmp_path / "new" / "a.PNG").tolist() == image.tolist()
    with pytest.raises(SinkError, match=r"cannot encode .*a\.nothing"):
        write_image(tmp_path / "a.nothing", image)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SinkError, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "new"]
