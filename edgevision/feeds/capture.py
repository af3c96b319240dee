"""A feed by OpenCV's own capture: local cameras, GStreamer pipelines, and addresses where PyAV is not installed."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edgevision.errors import SourceError
from edgevision.feeds.feed import Feed, FeedFrame, thumbnail_of
from edgevision.frames import Capture, known
from edgevision.image import Frame
from edgevision.opencv_build import quiet_opencv


class CaptureFeed(Feed):
    """Reads an open capture; its frames are stamped when they arrive."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.fps = known(capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> FeedFrame:
        """Grab, stamp, decode."""
        try:
            grabbed = self._capture.grab()
            captured_ns, captured_at = time.perf_counter_ns(), time.time()
            decoded, image = self._capture.retrieve() if grabbed else (False, None)
        except cv2.error as error:
            raise SourceError(error.err) from error
        if not decoded or image is None:
            raise SourceError("it stopped delivering frames")
        frame = np.asarray(image, np.uint8)
        decode_ns = time.perf_counter_ns() - captured_ns

        def to_bgr() -> Frame:
            return frame

        size_wh = (frame.shape[1], frame.shape[0])
        return FeedFrame(to_bgr, thumbnail_of(frame), size_wh, captured_ns, captured_at, "arrival", decode_ns)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def open_device(index: int) -> Feed:
    """A camera of this machine."""
    with quiet_opencv():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise SourceError(
            "it cannot be opened; is it used by another program, or may this user not read it?"
            " sudo usermod -aG video $USER"
        )
    return CaptureFeed(capture)


def open_address(url: str, *, connect_timeout_s: float, read_timeout_s: float) -> Feed:
    """A network stream by the FFmpeg inside OpenCV."""
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(connect_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(read_timeout_s * 1000),
    ]
    with quiet_opencv():
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        raise SourceError(f"no connection within {connect_timeout_s:g} s, or no video there")
    return CaptureFeed(capture)


def open_pipeline(pipeline: str) -> Feed:
    """A GStreamer pipeline that ends in BGR, by an OpenCV built with GStreamer; only its newest frame waits."""
    with quiet_opencv():
        capture = cv2.VideoCapture(
            f"{pipeline} ! appsink drop=true max-buffers=1 sync=false", cv2.CAP_GSTREAMER
        )
    if not capture.isOpened():
        raise SourceError("GStreamer does not start the pipeline; try it with gst-launch-1.0")
    return CaptureFeed(capture)
