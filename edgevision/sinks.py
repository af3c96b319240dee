"""Where results go: videos, folders of images, JSON lines, windows."""

from __future__ import annotations

import abc
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import cv2

from edgevision import atomic
from edgevision.counting import Event
from edgevision.errors import SinkError, UsageError
from edgevision.frames import Source
from edgevision.image import Frame
from edgevision.observation import Observation
from edgevision.opencv_build import OpenCvBuild, why_no_window
from edgevision.processed import Processed
from edgevision.results import Classification, Instances, Result, Segmentation
from edgevision.sources import IMAGE_SUFFIXES, ImageSource
from edgevision.video_file import VideoFile

FALLBACK_FPS = 25.0
LONGEST_GAP_S = 5.0
TOP_CLASSES = 5
ESCAPE = 27

S = TypeVar("S", bound="Sink")


class Sink(abc.ABC):
    """The base of all sinks. One that cannot write raises `SinkError`: on opening where that can be known by then."""

    annotated = False
    """True if `write` wants the result drawn into the frame's image before."""

    @abc.abstractmethod
    def write(self, processed: Processed) -> None:
        """Take one frame and its result."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what was written; a second call does nothing."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoSink(Sink):
    """An annotated .mp4, which appears when it is closed, whole or not at all.

    Frames of another size than `size_wh` are letterboxed in black. A live source's frames come unevenly: each is
    repeated or left out so that the video runs as fast as the world did; gaps over `LONGEST_GAP_S` are cut to that.
    """

    annotated = True

    def __init__(
        self, path: Path, size_wh: tuple[int, int], fps: float | None, *, live: bool = False
    ) -> None:
        self._fps = fps if fps is not None and 1 <= fps <= 240 else FALLBACK_FPS
        self._file = VideoFile(path, size_wh, self._fps)
        self._live = live
        self._last_ns: int | None = None
        self._due = 0.0

    def write(self, processed: Processed) -> None:
        """Encode the frame's image."""
        for _ in range(self._copies(processed.frame.captured_ns) if self._live else 1):
            self._file.write(processed.frame.image_bgr)

    def close(self) -> None:
        """Put the video in its place; without a frame there is none."""
        self._file.close()

    def _copies(self, captured_ns: int) -> int:
        """How often this frame is written so that the video's clock catches up with the camera's."""
        gap_s = 0.0 if self._last_ns is None else (captured_ns - self._last_ns) / 1e9
        first = self._last_ns is None
        self._last_ns = captured_ns
        self._due += 1.0 if first else min(gap_s, LONGEST_GAP_S) * self._fps
        copies = max(round(self._due), 0)
        self._due -= copies
        return copies


class ImageFolderSink(Sink):
    """Annotated images in a folder, each whole or not at all.

    Images keep their names, and below `root` their sub-folders; frames of videos and cameras are numbered.
    """

    annotated = True

    def __init__(self, folder: Path, *, root: Path | None = None, numbered: bool = False) -> None:
        self._folder = folder
        self._root = root
        self._numbered = numbered
        _probe_folder(folder)

    def write(self, processed: Processed) -> None:
        """Encode the frame's image."""
        path = self._folder / self.name(processed.frame.source, processed.frame.index)
        try:
            encoded, data = cv2.imencode(path.suffix, processed.frame.image_bgr)
        except cv2.error as error:
            raise SinkError(f"cannot encode {path}: {error.err}") from error
        if not encoded:
            raise SinkError(f"cannot encode {path}: OpenCV gives no reason")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(path, data.tobytes())
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from error

    def name(self, source: str, index: int) -> Path:
        """The file's name within the folder."""
        path = Path(source)
        if self._numbered:
            stem = re.sub(r"[^\w.-]+", "_", path.stem)
            return Path(f"{stem}_{index:06d}.jpg")
        inner = path.relative_to(self._root) if self._root is not None else Path(path.name)
        return inner if cv2.haveImageWriter(inner.name) else inner.with_name(inner.name + ".png")

    def close(self) -> None:
        """Nothing is held open."""


class JsonlSink(Sink):
    """One JSON object a line and frame, in UTF-8.

    Every line is handed to the system whole, at once: a reader can follow a live run, and a disk that runs full leaves
    no part of a line. Keys: `source` (for a folder, the image's path), `frame`, `captured_at` (seconds since 1970),
    `position_s` (null but for videos), `detections` or `classification`, `age_ms`, `stages_ms`;
    where things are tracked an `id` with each detection (null: none yet), and `events`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from error

    def write(self, processed: Processed) -> None:
        """Append the frame's line."""
        line = json.dumps(record_of(processed), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # a pipe cannot be cut
                os.ftruncate(self._file.fileno(), self._end)
            self.close()
            raise SinkError(
                f"cannot write {self._path}: {error.strerror}; its last line is a whole one"
            ) from error
        self._end += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WindowSink(Sink):
    """A window that shows annotated frames; `q`, Escape or closing it sets `closed`.

    With `hold` every frame stays until a key is pressed, or until `stop` says so: for single images.
    """

    annotated = True

    def __init__(self, title: str, *, hold: bool = False, stop: Callable[[], bool] = lambda: False) -> None:
        reason = why_no_window(OpenCvBuild.here())
        if reason is not None:
            raise SinkError(f"no window can be shown: {reason}")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise SinkError(f"no window can be shown: {error.err}") from error
        self._title = title
        self._hold = hold
        self._stop = stop
        self._sized = False
        self.closed = False

    def write(self, processed: Processed) -> None:
        """Show the frame's image."""
        if self.closed:
            return
        if not self._sized:
            cv2.resizeWindow(self._title, *processed.frame.size_wh)
            self._sized = True
        cv2.imshow(self._title, processed.frame.image_bgr)
        key = self._poll(1)
        while self._hold and key == -1 and not self.closed and not self._stop():
            key = self._poll(50)

    def close(self) -> None:
        """Close the window."""
        with contextlib.suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self._title)

    def _poll(self, wait_ms: int) -> int:
        key = cv2.waitKey(wait_ms)
        gone = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self.closed = self.closed or gone or (key & 0xFF in (ord("q"), ESCAPE) and key != -1)
        return key


def open_picture_sink(output: Path, source: Source) -> Sink:
    """The sink for annotated pictures of a source: a video if `output` ends in .mp4, else a folder of images.

    Raises `UsageError` where the output would replace what is being read, or ends like a file of another kind.
    """
    suffix = output.suffix.lower()
    if suffix == ".mp4":
        refuse_overwriting(source, output)
        return VideoSink(output, source.size_wh, source.fps, live=source.live)
    if suffix in IMAGE_SUFFIXES or suffix in (".avi", ".mkv", ".mov", ".webm"):
        raise UsageError(
            f"output {output} ends in {suffix}; give a name that ends in .mp4, or a folder for images"
        )
    if not isinstance(source, ImageSource):
        return ImageFolderSink(output, numbered=True)
    root = Path(source.name) if Path(source.name).is_dir() else None
    if output.resolve() == (root or Path(source.name).parent).resolve():
        raise UsageError(f"output folder {output} is where the images are read: they would be replaced")
    return ImageFolderSink(output, root=root)


def refuse_overwriting(source: Source, output: Path) -> None:
    """Raise `UsageError` if `output` is the file that is being read."""
    with contextlib.suppress(OSError):  # one of the two does not exist
        if output.samefile(source.name):
            raise UsageError(f"output {output} is the source itself: it would be replaced")


def write_clip(path: Path, frames: Iterable[Frame], size_wh: tuple[int, int], *, fps: float) -> None:
    """Encode plain frames as an .mp4, which appears whole or not at all; raises `SinkError`."""
    file = VideoFile(path, size_wh, fps)
    try:
        for frame in frames:
            file.write(frame)
        file.close()
    finally:
        file.discard()


def record_of(processed: Processed) -> dict[str, Any]:
    """What a JSON line says about a frame."""
    frame = processed.frame
    position_s = None if frame.position_s is None else round(frame.position_s, 4)
    answer = _answer(processed.result)
    observation = processed.observation
    if observation is not None:
        for entry, identity in zip(answer["detections"], observation.ids.tolist(), strict=True):
            entry["id"] = identity if identity >= 0 else None
        answer["events"] = [_event(event, processed, observation) for event in observation.events]
    return {
        "source": frame.source,
        "frame": frame.index,
        "captured_at": round(frame.captured_at, 6),
        "position_s": position_s,
        **answer,
        "age_ms": round(processed.age_ms, 3),
        "stages_ms": {stage: round(ms, 3) for stage, ms in processed.times.in_ms().items()},
    }


def _answer(result: Result) -> dict[str, Any]:
    if isinstance(result, Classification):
        best = result.top(TOP_CLASSES)
        return {
            "classification": [
                {"label": label, "class": result.class_name(label), "score": round(score, 5)}
                for label, score in best
            ]
        }
    if isinstance(result, Segmentation):
        return {
            "segmentation": [
                {"label": label, "class": result.class_name(label), "share": round(share, 5)}
                for label, share in result.shares()
            ]
        }
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    found: list[dict[str, Any]] = [
        {
            "box": [round(value, 2) for value in box],
            "score": round(score, 5),
            "label": label,
            "class": result.class_name(label),
        }
        for box, score, label in rows
    ]
    if isinstance(result, Instances):
        for entry, mask in zip(found, result.masks, strict=True):
            entry["polygons"] = [polygon.tolist() for polygon in mask.polygons()]
    return {"detections": found}


def _event(event: Event, processed: Processed, observation: Observation) -> dict[str, Any]:
    """Its time `at` is the place in a video, or seconds since 1970 for a camera."""
    frame = processed.frame
    now = frame.captured_at if frame.position_s is None else frame.position_s
    said: dict[str, Any] = {"event": event.kind, "place": event.place, "id": event.identity}
    said["class"] = processed.result.class_name(event.label)
    said["at"] = round(now - (observation.time_s - event.time_s), 3)
    if event.direction is not None:
        said["direction"] = event.direction
    if event.dwell_s is not None:
        said["dwell_s"] = round(event.dwell_s, 3)
    return said


def _probe_folder(folder: Path) -> None:
    """Make the folder and a file in it, so that what cannot be written is known before the work begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SinkError(f"cannot write to folder {folder}: {error.strerror}") from error
