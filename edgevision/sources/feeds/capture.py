"""Feeds by OpenCV's capture: local cameras, GStreamer pipelines, and addresses if PyAV is not installed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2
import numpy as np

from edgevision.device.opencv_build import quiet_opencv
from edgevision.errors import SourceError
from edgevision.sources.feeds.feed import Feed, FeedFrame, thumbnail_of
from edgevision.sources.feeds.v4l2 import DeviceOptions, Mode, modes, wanted_mode
from edgevision.sources.frames import Capture, known

LOG = logging.getLogger(__name__)
_REPORTED: set[tuple[int, str]] = set()
"""Reported modes per camera, so that a camera is not reported again after an outage."""


class CaptureFeed(Feed):
    """Reads an open capture; frames are stamped on arrival."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.fps = known(capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> FeedFrame:
        """Grab, stamp and decode a frame."""
        try:
            grabbed = self._capture.grab()
            captured_ns, captured_at = time.perf_counter_ns(), time.time()
            decoded, image = self._capture.retrieve() if grabbed else (False, None)
        except cv2.error as error:
            raise SourceError(error.err) from error
        if not decoded or image is None:
            raise SourceError("the capture stopped delivering frames")
        frame = np.asarray(image, np.uint8)
        decode_ns = time.perf_counter_ns() - captured_ns
        size_wh = (frame.shape[1], frame.shape[0])
        return FeedFrame(frame, thumbnail_of(frame), size_wh, captured_ns, captured_at, "arrival", decode_ns)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def open_device(index: int, options: DeviceOptions, devices: Path = Path("/dev")) -> Feed:
    """Open a local camera in the mode of `options`, with its best mode for the rest.

    The granted mode is logged, with one warning per camera if it differs from `options`.
    """
    wanted = wanted_mode(options, modes(devices / f"video{index}"))
    with quiet_opencv():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise SourceError(
            "the device cannot be opened: another program may use it, or this user may lack permission: sudo"
            " usermod -aG video $USER"
        )
    if wanted.given:
        _set_mode(capture, wanted)
        _report_mode(index, options, capture)
    return CaptureFeed(capture)


def _set_mode(capture: cv2.VideoCapture, wanted: DeviceOptions) -> None:
    """Set the format first, because sizes and rates of a driver depend on it."""
    settings = (
        (cv2.CAP_PROP_FOURCC, None if wanted.format is None else cv2.VideoWriter.fourcc(*wanted.format)),
        (cv2.CAP_PROP_FRAME_WIDTH, wanted.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, wanted.height),
        (cv2.CAP_PROP_FPS, wanted.fps),
    )
    for key, value in settings:
        if value is not None:
            capture.set(key, float(value))


def _report_mode(index: int, asked: DeviceOptions, capture: Capture) -> None:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    granted = Mode(
        code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") or "unknown format",
        round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        capture.get(cv2.CAP_PROP_FPS),
    )
    differs = (
        asked.format not in (None, granted.format)
        or asked.width not in (None, granted.width)
        or asked.height not in (None, granted.height)
        or (asked.fps is not None and abs(asked.fps - granted.fps) > 0.5)
    )
    message = f"camera {index} gives {granted}"
    if differs and (index, message) not in _REPORTED:
        _REPORTED.add((index, message))
        LOG.warning("%s; the driver does not support the requested mode", message)
    else:
        LOG.info("%s", message)


def open_address(url: str, *, connect_timeout_s: float, read_timeout_s: float) -> Feed:
    """A network stream through the FFmpeg inside OpenCV."""
    return CaptureFeed(open_capture(url, connect_timeout_s, read_timeout_s))


def open_capture(url: str, connect_timeout_s: float, read_timeout_s: float) -> cv2.VideoCapture:
    """Open an address with the FFmpeg inside OpenCV; raises `SourceError`."""
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(connect_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(read_timeout_s * 1000),
    ]
    with quiet_opencv():
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        raise SourceError(f"no connection within {connect_timeout_s:g} s, or the address has no video")
    return capture


def open_pipeline(pipeline: str) -> Feed:
    """A GStreamer pipeline with BGR output, through an OpenCV built with GStreamer; it queues only the newest frame."""
    with quiet_opencv():
        capture = cv2.VideoCapture(
            f"{pipeline} ! appsink drop=true max-buffers=1 sync=false", cv2.CAP_GSTREAMER
        )
    if not capture.isOpened():
        raise SourceError("GStreamer cannot start the pipeline; test it with gst-launch-1.0")
    return CaptureFeed(capture)
