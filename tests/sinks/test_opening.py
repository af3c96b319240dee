"""Selection of a sink by the output's name, and unwritable outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import SinkError, UsageError
from edgevision.sinks.files.images import ImageFolderSink
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.files.video import VideoSink
from edgevision.sinks.opening import open_picture_sink
from edgevision.sinks.sink import Sink
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions
from tests.doubles import SilentCamera
from tests.sinks.results import processed


@pytest.mark.parametrize(
    "make", [JsonlSink, ImageFolderSink, lambda path: VideoSink(path / "v.mp4", (64, 48), 25)]
)
@pytest.mark.parametrize("place", ["file/out", "/proc/nowhere/out"])
def test_an_unwritable_path_is_an_error_on_opening(
    tmp_path: Path, make: Callable[[Path], Sink], place: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SinkError, match="cannot write"):
        make(tmp_path / place)


def test_the_output_chooses_the_sink(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    folder, image = open_source(tmp_path / "photos"), open_source(tmp_path / "photos" / "a.png")
    with open_picture_sink(tmp_path / "v.mp4", folder) as video:
        assert isinstance(video, VideoSink)
    kept = open_picture_sink(tmp_path / "out", folder)
    assert isinstance(kept, ImageFolderSink)
    assert kept.name(str(tmp_path / "photos" / "b" / "a.png"), 0) == Path("b/a.png")
    single = open_picture_sink(tmp_path / "out", image)
    assert isinstance(single, ImageFolderSink)
    assert single.name(str(tmp_path / "photos" / "a.png"), 0) == Path("a.png")
    for source in (folder, image):
        with pytest.raises(UsageError, match="which would be replaced"):
            open_picture_sink(tmp_path / "photos", source)
    (tmp_path / "day.2").mkdir()
    assert isinstance(open_picture_sink(tmp_path / "day.2", folder), ImageFolderSink)
    assert isinstance(open_picture_sink(tmp_path / "photo.jpg", image, video=False), ImageFolderSink)


@pytest.mark.parametrize("name", ["out.jpg", "out.avi", "out.xyz", "out.MP5"])
def test_an_unknown_suffix_is_an_error_and_makes_no_folder(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(UsageError, match=r"ends in \.\w+; expected a name that ends in \.mp4, or a folder"):
        open_picture_sink(tmp_path / name, open_source(tmp_path / "a.png"))
    assert not (tmp_path / name).exists()


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 25.0) as sink:
        sink.write(processed())
    source = open_source(tmp_path / "v.mp4")
    with pytest.raises(UsageError, match="is the source file"):
        open_picture_sink(tmp_path / "v.mp4", source)
    with (
        open_source(f"loop:{tmp_path / 'v.mp4'}@25", CameraOptions(wait_first=False)) as played,
        pytest.raises(UsageError, match="is the source file"),
    ):
        open_picture_sink(tmp_path / "v.mp4", played)
    numbered = open_picture_sink(tmp_path / "frames", source)
    assert isinstance(numbered, ImageFolderSink)
    assert numbered.name("v.mp4", 5) == Path("v_000005.jpg")


def test_a_video_of_an_absent_camera_begins_with_its_first_frame(tmp_path: Path) -> None:
    source = open_source("/dev/video63", CameraOptions(wait_first=False), name="yard")
    sink = open_picture_sink(tmp_path / "new" / "v.mp4", source)
    sink.write(processed(0, captured_ns=0))
    sink.write(processed(1, captured_ns=40_000_000))
    sink.close()
    source.close()
    with open_source(tmp_path / "new" / "v.mp4") as video:
        assert (video.frame_count, video.size_wh) == (2, processed().frame.size_wh)
    (tmp_path / "file").write_text("in the way")
    silent = SilentCamera()
    silent.size_wh = (0, 0)
    with pytest.raises(SinkError, match="cannot write"):
        open_picture_sink(tmp_path / "file" / "v.mp4", silent)
    open_picture_sink(tmp_path / "none.mp4", silent).close()
    assert not (tmp_path / "none.mp4").exists()
