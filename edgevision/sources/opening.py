"""Opens images, folders, videos and cameras as sources."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgevision.contract.pixels import FramePixels
from edgevision.device.opencv_build import OpenCvBuild, quiet_opencv
from edgevision.errors import MissingExtraError, SourceError
from edgevision.sources.addresses import EXPECTED, SourceAddress, public_name
from edgevision.sources.feeds import http_content
from edgevision.sources.feeds.capture import open_capture
from edgevision.sources.feeds.decoders import candidates
from edgevision.sources.frames import Capture, Source, SourceFrame, known, read_now
from edgevision.sources.image_files import IMAGE_SUFFIXES, images_in, read_image
from edgevision.sources.lists import SequenceSource, listed, matches
from edgevision.sources.live import LiveSource, open_camera
from edgevision.sources.options import CameraOptions, DecoderSetting

log = logging.getLogger(__name__)


def open_source(
    address: str | Path | SourceAddress, options: CameraOptions | None = None, *, name: str | None = None
) -> Source:
    """Open an image, a folder of images (with its sub-folders, sorted by path), a video, or a live source.

    Live sources are a camera by its index, ``rtsp://`` and ``http://`` addresses (MJPEG, HLS), ``csi://0`` on a Jetson,
    and a GStreamer pipeline as ``gst:PIPELINE``. ``loop:PATH`` or ``loop:PATH@FPS`` plays a video in a loop as a
    camera, and ``demo:`` is a synthetic camera. `options` apply to them.

    The response determines the kind of an ``http://`` address. An image, a video file or a playlist with an end is read
    completely; anything else is live. A shell pattern such as ``photos/**/*.jpg`` gives its files in order, a ``.txt``
    file the sources that it lists. A local camera accepts options, such as
    ``0?width=1280&height=720&fps=30&format=mjpg``.

    The first frame is read at once, so that an unusable source raises `SourceError` here. A file named with a number is
    opened as ``./0``. If `CameraOptions.wait_first` is false, a live source is not awaited. `name` is the source's name
    in logs and results; by default it is the address without credentials. The frames of images keep the paths of their
    files.
    """
    if not isinstance(address, SourceAddress):
        address = SourceAddress.parse(address)
    live = options or CameraOptions()
    if live.decoder == "hardware" and (address.device or (address.scheme and not address.scheme.has_decoder)):
        raise _undecoded(name or public_name(address.text))
    source = _opened(address, live, name)
    if live.decoder == "hardware" and isinstance(source, ImageSource):
        source.close()
        raise _undecoded(source.name)
    return source


def _undecoded(name: str) -> SourceError:
    return SourceError(
        f"{name} has no video stream for a hardware decoder; expected a network stream or a video file; use --decoder"
        " auto, which decodes in hardware where that is possible"
    )


def _opened(address: SourceAddress, live: CameraOptions, name: str | None) -> Source:
    """Open a source of any kind."""
    if address.device is not None:
        index, device = address.device
        return open_camera(index, device=device, options=live, name=name)
    if address.kind == "http":
        ended = _open_http(address.text, name or public_name(address.text), live)
        if ended is not None:
            return ended
    if address.scheme is not None:
        source: Source = LiveSource(name or public_name(address.text), address.feed_factory(live), live)
    elif address.kind == "pattern":
        return _open_many(name or address.text, matches(address.text), live.decoder)
    else:
        assert address.path is not None
        source = _open_path(address.path, name, live.decoder)
    source.path = address.path
    return source


def _open_path(path: Path, name: str | None, decoder: DecoderSetting) -> Source:
    """Open a file or folder by its kind."""
    if not os.path.exists(path):  # noqa: PTH110  # an overlong name is not a file and must not raise
        raise SourceError(f"no such file or folder: {path}; {EXPECTED}")
    name = name or str(path)
    if path.is_dir():
        return _open_folder(path, name)
    if is_list(path):
        return _open_many(name, listed(path), decoder)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(name, [path])
    return _open_video(path, name, decoder)


def is_list(file: Path) -> bool:
    """True for a text file that lists sources, by its name."""
    return file.suffix.lower() == ".txt"


class ImageSource(Source):
    """Image files, one after another.

    Images are decoded as a viewer shows them (`image_files.read_image`). Of several files, undecodable ones are skipped
    with a warning; a single one raises an error.
    """

    def __init__(self, name: str, paths: Sequence[Path], *, shown_as: str | None = None) -> None:
        """`shown_as` is the source name in frames; None: the paths of the files."""
        super().__init__(name, live=False, fps=None, frame_count=len(paths))
        self._shown_as = shown_as
        self._paths = iter(paths)
        self._single = len(paths) == 1
        self._read = 0
        self._next = self._decode_next()
        if self._next is None:
            raise SourceError(f"none of the {len(paths)} image files in {name} can be decoded")
        self.size_wh = self._next.size_wh

    def read(self) -> SourceFrame | None:
        """The next image that can be decoded."""
        frame, self._next = self._next, None
        return self._decode_next() if frame is None else read_now(frame)

    def close(self) -> None:
        """Do nothing: no file is open."""
        self._paths = iter(())
        self._next = None

    def _decode_next(self) -> SourceFrame | None:
        for path in self._paths:
            began_ns, began_at = time.perf_counter_ns(), time.time()
            try:
                image = read_image(path)
            except SourceError as error:
                if self._single:
                    raise
                self.skipped += 1
                log.warning("%s; skipped", error)
                continue
            decode_ns = time.perf_counter_ns() - began_ns
            self._read += 1
            shown = self._shown_as or str(path)
            return SourceFrame(image, self._read - 1, shown, began_ns, began_at, None, decode_ns)
        return None


class VideoSource(Source):
    """A video file with all of its frames, in order.

    A file that ends before its header's frame count is read as far as possible; a warning gives the number of frames.
    If the size changes within a video, the build of OpenCV decides: FFmpeg's backend scales to the size of the first
    frame.
    """

    def __init__(self, name: str, capture: Capture, open_planes: Callable[[], Capture] | None = None) -> None:
        """`open_planes` opens the same file in its decoder's planes."""
        self._open_planes = open_planes
        count = known(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        super().__init__(
            name,
            live=False,
            fps=known(capture.get(cv2.CAP_PROP_FPS)),
            frame_count=None if count is None else round(count),
        )
        self._capture: Capture | None = capture
        self._read = 0
        self._next = self._decode_next()
        if self._next is None:
            raise SourceError(f"{name} is a video without a frame that can be decoded")
        self.size_wh = self._next.size_wh

    def read(self) -> SourceFrame | None:
        """The next frame."""
        frame, self._next = self._next, None
        return self._decode_next() if frame is None else read_now(frame)

    def use_planes(self) -> None:
        """Open the file again, unless frames were read or PyAV cannot decode it."""
        if self._open_planes is None or self._capture is None or self._next is None or self._read != 1:
            return
        try:
            planes = self._open_planes()
        except SourceError as error:
            log.debug("%s: frames are converted from BGR: %s", self.name, error)
            return
        self._capture.release()
        self._capture, self._read = planes, 0
        self._next = self._decode_next()

    def close(self) -> None:
        """Close the file."""
        self._next = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _decode_next(self) -> SourceFrame | None:
        if self._capture is None:
            return None
        began_ns, began_at = time.perf_counter_ns(), time.time()
        try:
            grabbed = self._capture.grab()
            position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            decoded, image = self._capture.retrieve() if grabbed else (False, None)
        except cv2.error as error:
            log.warning("%s: frame %d cannot be decoded: %s", self.name, self._read, error.err)
            decoded, image = False, None
        if not decoded or image is None:
            self._report_end()
            return None
        decode_ns = time.perf_counter_ns() - began_ns
        index, self._read = self._read, self._read + 1
        return SourceFrame(
            image if isinstance(image, FramePixels) else np.asarray(image, np.uint8),
            index,
            self.name,
            began_ns,
            began_at,
            self._position_s(index, position_ms),
            decode_ns,
        )

    def _position_s(self, index: int, position_ms: float) -> float | None:
        """The container's time stamp; without one, the index over the frame rate."""
        if position_ms > 0 or index == 0:
            return max(position_ms, 0.0) / 1e3
        return None if self.fps is None else index / self.fps

    def _report_end(self) -> None:
        if self._read and self.frame_count and self._read < self.frame_count:
            log.warning(
                "%s: read %d of %d frames according to its header; the file is truncated or damaged",
                self.name,
                self._read,
                self.frame_count,
            )
        self.close()


def _open_many(name: str, texts: list[str], decoder: DecoderSetting) -> Source:
    """Files one after another: images like a folder, anything else by its kind."""
    if all(Path(text).suffix.lower() in IMAGE_SUFFIXES and "://" not in text for text in texts):
        return ImageSource(name, [Path(text) for text in texts])
    options = CameraOptions(decoder=decoder)
    return SequenceSource(name, texts, lambda text: _opened(SourceAddress.parse(text), options, None))


def _open_http(url: str, name: str, options: CameraOptions) -> Source | None:
    """An image or a file behind an address; None for a live stream or an unreachable server.

    Without waiting for the first frame, the server is only asked if the address has the suffix of a file.
    """
    if not options.wait_first and not http_content.may_be_file(url):
        return None
    try:
        content = http_content.probe(url, options.connect_timeout_s)
        if content.kind == "live":
            return None
        if content.kind == "image":
            most = http_content.LARGEST_IMAGE_BYTES
            path = http_content.download(url, options.connect_timeout_s, limit=most)
            return _deleted(path, lambda: ImageSource(name, [path], shown_as=name))
        source = _open_streamed(url, name, content, options)
        if source is not None:
            return source
        size = "" if content.length is None else f" ({content.length / 2**20:.1f} MiB)"
        log.warning(
            "%s%s is downloaded first, because the server does not support range requests", name, size
        )
        path = http_content.download(url, options.read_timeout_s)
        # The file is deleted while it is open, so that software could not continue in it.
        decoder: DecoderSetting = "hardware" if options.decoder == "hardware" else "software"
        return _deleted(path, lambda: _open_video(path, name, decoder))
    except SourceError as error:
        if options.wait_first and "the server answers 4" not in str(error):
            log.debug("%s: %s", name, error)
            return None
        if not options.wait_first:
            return None
        raise SourceError(f"{name}: {error}") from error


def _open_streamed(
    url: str, name: str, content: http_content.HttpContent, options: CameraOptions
) -> Source | None:
    """A file streamed from the server; None if the server or this OpenCV does not support it."""
    playlist = http_content.is_playlist(url)
    if not (content.ranges or playlist) or not OpenCvBuild.here().ffmpeg:
        return None
    try:

        def software() -> Capture:
            return open_capture(url, options.connect_timeout_s, options.read_timeout_s)

        return VideoSource(name, _hardware(url, options.decoder, software) or software())
    except SourceError:
        if playlist:
            raise
        return None


def _deleted(path: Path, open_it: Callable[[], Source]) -> Source:
    """Open a temporary file and unlink it: its space is freed when it is closed, even after a crash."""
    try:
        return open_it()
    finally:
        path.unlink(missing_ok=True)


def _open_folder(path: Path, name: str) -> Source:
    images, others = images_in(path)
    if others:
        log.warning(
            "%s: ignored %d of %d files, which do not have the suffix of an image",
            path,
            others,
            len(images) + others,
        )
    return ImageSource(name, images)


def _open_video(path: Path, name: str, decoder: DecoderSetting) -> Source:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if empty:
        raise SourceError(f"{path} is empty")

    def software() -> Capture:
        with quiet_opencv():
            capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            raise SourceError(
                f"{path} is neither an image nor a video that OpenCV can open, or its header is damaged"
            )
        return capture

    def planes() -> Capture:
        from edgevision.sources.feeds.planes_capture import PlanesCapture  # it belongs to an extra

        return _hardware(str(path), decoder, software, planes=True) or PlanesCapture(path)

    capture = _hardware(str(path), decoder, software) or software()
    return VideoSource(name, capture, planes if importlib.util.find_spec("av") else None)


def _hardware(
    address: str, decoder: DecoderSetting, software: Callable[[], Capture], *, planes: bool = False
) -> Capture | None:
    """A video file through a hardware decoder, in BGR or its planes; None if it is decoded in software."""
    if decoder == "software" or (decoder == "auto" and not candidates.candidates_here()):
        return None
    if importlib.util.find_spec("av") is None:
        if decoder == "hardware":
            raise MissingExtraError("PyAV", "rtsp", "a hardware decoder")
        return None
    # imported here because it belongs to an extra
    from edgevision.sources.feeds.decoders.file_capture import hardware_capture

    return hardware_capture(address, decoder, software, planes=planes)
