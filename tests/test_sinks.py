"""JSON lines, folders of images, videos and windows."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision import sinks
from edgevision.errors import SinkError, UsageError
from edgevision.frames import SourceFrame
from edgevision.processed import Processed, StageTimes
from edgevision.results import Classification, Detections, Result
from edgevision.sinks import ImageFolderSink, JsonlSink, Sink, VideoSink, WindowSink, open_picture_sink
from edgevision.sources import open_source

FOUND = Detections(
    np.array([[1.25, 2.5, 30.123, 40.0]], np.float32),
    np.array([0.87654321], np.float32),
    np.array([1], np.int32),
    ("person", "bus"),
)


def processed(
    index: int = 0,
    *,
    source: str = "a.jpg",
    result: Result = FOUND,
    captured_ns: int = 0,
    position_s: float | None = None,
    size_wh: tuple[int, int] = (64, 48),
) -> Processed:
    image = np.full((size_wh[1], size_wh[0], 3), 20 * index % 256, np.uint8)
    frame = SourceFrame(image, index, source, captured_ns, 1_700_000_000.123456789, position_s, 1_500_000)
    return Processed(frame, result, StageTimes(1_500_000, 500_000, 30_000_000, 100_000), 33.3333333)


def test_a_line_says_what_the_frame_holds(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "new" / "out.jsonl") as sink:
        sink.write(processed(7, source="straße.mp4", position_s=0.28))
        sink.write(processed(8, result=Detections.empty()))
    first, second = (json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_bytes().splitlines())
    assert first == {
        "source": "straße.mp4",
        "frame": 7,
        "captured_at": 1700000000.123457,
        "position_s": 0.28,
        "detections": [{"box": [1.25, 2.5, 30.12, 40.0], "score": 0.87654, "label": 1, "class": "bus"}],
        "age_ms": 33.333,
        "stages_ms": {"decode": 1.5, "prepare": 0.5, "inference": 30.0, "results": 0.1},
    }
    assert (second["frame"], second["position_s"], second["detections"]) == (8, None, [])


def test_a_classification_is_its_five_best_classes(tmp_path: Path) -> None:
    scores = np.array([0.05, 0.5, 0.1, 0.2, 0.1, 0.05], np.float32)
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(processed(result=Classification(scores, ("a", "b", "c", "d", "e", "f"))))
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert [best["class"] for best in record["classification"]] == ["b", "d", "c", "e", "a"]
    assert record["classification"][0] == {"label": 1, "class": "b", "score": 0.5}
    assert "detections" not in record


def test_a_reader_sees_each_line_at_once(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    sink.write(processed(1))
    assert json.loads((tmp_path / "out.jsonl").read_text())["frame"] == 1
    sink.close()
    sink.close()


def test_a_full_device_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    sink = JsonlSink(Path("/dev/full"))
    with pytest.raises(SinkError, match="cannot write /dev/full: No space left on device"):
        sink.write(processed())


class FillingFile:
    """Takes `room` bytes, of the last write only a part, and is full then."""

    def __init__(self, file: FileIO, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.file.write(data[: self.room])
        self.room -= count
        return count

    def fileno(self) -> int:
        return self.file.fileno()

    def close(self) -> None:
        self.file.close()


def test_a_disk_that_runs_full_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    monkeypatch.setattr(sink, "_file", FillingFile(sink._file, 600))
    with pytest.raises(SinkError, match="No space left on device; its last line is a whole one"):
        for number in range(10):
            sink.write(processed(number))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    assert [json.loads(line)["frame"] for line in lines] == [0, 1]
    assert lines[-1].endswith(b"\n")


@pytest.mark.parametrize(
    "make", [JsonlSink, ImageFolderSink, lambda path: VideoSink(path / "v.mp4", (64, 48), 25)]
)
@pytest.mark.parametrize("place", ["file/out", "/proc/nowhere/out"])
def test_an_unwritable_place_is_known_on_opening(
    tmp_path: Path, make: Callable[[Path], Sink], place: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SinkError, match="cannot write"):
        make(tmp_path / place)


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


def test_frames_of_videos_are_numbered(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path, numbered=True)
    sink.write(processed(3, source="clips/street 1.mp4"))
    sink.write(processed(12, source="camera 0"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera_0_000012.jpg", "street_1_000003.jpg"]


def test_a_video_has_a_frame_for_every_frame(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 10.0) as sink:
        for number in range(5):
            sink.write(processed(number))
    with open_source(tmp_path / "v.mp4") as source:
        assert (source.fps, source.frame_count) == (10.0, 5)


@pytest.mark.parametrize(
    ("period_s", "count", "expected"),
    [(0.1, 10, 10), (0.2, 10, 19), (0.05, 21, 11), (60.0, 2, 51)],
    ids=["as promised", "slower: repeated", "faster: left out", "a gap is cut"],
)
def test_a_live_video_runs_as_fast_as_the_world(
    tmp_path: Path, period_s: float, count: int, expected: int
) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 10.0, live=True) as sink:
        for number in range(count):
            sink.write(processed(number, captured_ns=round(number * period_s * 1e9)))
    with open_source(tmp_path / "v.mp4") as source:
        assert source.frame_count == expected


@pytest.mark.parametrize("fps", [None, 0.0, 90000.0])
def test_a_frame_rate_that_cannot_be_meant_is_replaced(tmp_path: Path, fps: float | None) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), fps) as sink:
        sink.write(processed())
    assert open_source(tmp_path / "v.mp4").fps == 25.0


def test_the_output_chooses_the_sink(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    folder, image = open_source(tmp_path / "photos"), open_source(tmp_path / "photos" / "a.png")
    assert isinstance(open_picture_sink(tmp_path / "v.mp4", folder), VideoSink)
    kept = open_picture_sink(tmp_path / "out", folder)
    assert isinstance(kept, ImageFolderSink)
    assert kept.name(str(tmp_path / "photos" / "b" / "a.png"), 0) == Path("b/a.png")
    single = open_picture_sink(tmp_path / "out", image)
    assert isinstance(single, ImageFolderSink)
    assert single.name(str(tmp_path / "photos" / "a.png"), 0) == Path("a.png")
    for source in (folder, image):
        with pytest.raises(UsageError, match="they would be replaced"):
            open_picture_sink(tmp_path / "photos", source)
    with pytest.raises(UsageError, match=r"ends in \.jpg; give a name that ends in \.mp4, or a folder"):
        open_picture_sink(tmp_path / "out.jpg", image)


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 25.0) as sink:
        sink.write(processed())
    source = open_source(tmp_path / "v.mp4")
    with pytest.raises(UsageError, match="is the source itself"):
        open_picture_sink(tmp_path / "v.mp4", source)
    numbered = open_picture_sink(tmp_path / "frames", source)
    assert isinstance(numbered, ImageFolderSink)
    assert numbered.name("v.mp4", 5) == Path("v_000005.jpg")


def test_a_headless_opencv_names_its_mend() -> None:
    with pytest.raises(SinkError, match="pip uninstall opencv-python-headless && pip install opencv-python"):
        WindowSink("title")


class FakeScreen:
    """OpenCV's windows: remembers what was shown, and answers keys in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int]) -> None:
        self.shown: list[int] = []
        self.keys = keys
        self.visible = True
        monkeypatch.setattr(sinks, "why_no_window", lambda _: None)
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, image: self.shown.append(int(image[0, 0, 0])))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.keys.pop(0) if self.keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: float(self.visible))


@pytest.mark.parametrize("key", [ord("q"), sinks.ESCAPE])
def test_a_key_closes_the_window(monkeypatch: pytest.MonkeyPatch, key: int) -> None:
    screen = FakeScreen(monkeypatch, [-1, ord("x"), key])
    with WindowSink("title") as sink:
        for number in range(5):
            sink.write(processed(number))
        assert sink.closed
    assert screen.shown == [0, 20, 40]


def test_the_user_closes_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch, [])
    sink = WindowSink("title")
    sink.write(processed())
    screen.visible = False
    sink.write(processed())
    assert sink.closed


def test_an_image_stays_until_a_key_or_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch, [-1, -1, -1, ord(" ")])
    wishes = iter([False, False, False, True])
    sink = WindowSink("title", hold=True, stop=lambda: next(wishes))
    sink.write(processed())
    assert screen.keys == []
    sink.write(processed(1))
    assert screen.shown == [0, 20]
    assert not sink.closed
