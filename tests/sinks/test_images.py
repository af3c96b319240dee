"""Folders of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2

from edgevision.contract.results import Translation
from edgevision.sinks.files.images import ImageFolderSink
from tests.sinks.results import processed


def test_images_keep_their_names_and_sub_folders(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path / "out", root=Path("photos"))
    for number, name in enumerate(("photos/a.png", "photos/b/a.png", "photos/c.gif")):
        sink.write(processed(number, source=name))
    sink.close()
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["a.png", "b/a.png", "c.gif" if cv2.haveImageWriter("c.gif") else "c.gif.png"]
    second = cv2.imread(str(tmp_path / "out" / "b" / "a.png"))
    assert second is not None
    assert second[0, 0].tolist() == [20, 20, 20]


def test_images_that_a_model_made_say_so(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path)
    for number, name in enumerate(("a.png", "b.jpg", "found.png")):
        shown = processed(number, source=name)
        made = replace(shown, result=Translation(shown.frame.image_bgr))
        sink.write(shown if name == "found.png" else made)
    marks = {
        path.name: path.read_bytes().count(b"compositeWithTrainedAlgorithmicMedia")
        for path in tmp_path.iterdir()
    }
    assert marks == {"a.png": 1, "b.jpg": 1, "found.png": 0}


def test_frames_of_videos_are_numbered(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path, numbered=True)
    sink.write(processed(3, source="clips/street 1.mp4"))
    sink.write(processed(12, source="camera 0"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera_0_000012.jpg", "street_1_000003.jpg"]


def test_a_folder_without_an_image_is_removed_if_it_was_made_for_it(tmp_path: Path) -> None:
    ImageFolderSink(tmp_path / "made").close()
    ImageFolderSink(tmp_path).close()
    assert list(tmp_path.iterdir()) == [], "and the one that was there stays"
    used = ImageFolderSink(tmp_path / "used")
    (tmp_path / "used" / "other.txt").write_text("of another program")
    used.close()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
