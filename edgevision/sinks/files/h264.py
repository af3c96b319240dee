"""H.264 in fragmented MP4 by PyAV: browsers play it, and a file that was cut off plays up to its last fragment.

A fragment begins with a key frame and holds about a second; its index is written with it (ISO/IEC 14496-12, 8.8). After
each one the file is synced, so that a power cut takes no more than a process that is killed does.
"""

from __future__ import annotations

import functools
import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from edgevision.contract.image import Frame
from edgevision.errors import SinkError

LOG = logging.getLogger(__name__)

FRAGMENT_S = 1.0
_BT709 = 1
"""AVCOL_SPC_BT709, AVCOL_PRI_BT709 and AVCOL_TRC_BT709."""
_NVIDIA = Path("/dev/nvidia0")
_OPTIONS = {
    # No frame is held back, so that a fragment ends when its second does.
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "crf": "23"},
    "h264_nvenc": {"preset": "p4", "tune": "ll", "rc": "vbr", "cq": "23", "zerolatency": "1", "bf": "0"},
}


class H264Encoder:
    """Writes BGR frames of one size, with even sides, at a constant rate; the file is open until `close`.

    Raises `SinkError` where no encoder takes the size, `OSError` where the file cannot be written.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float) -> None:
        rate = Fraction(fps).limit_denominator(1001)
        self._per_fragment = max(1, round(FRAGMENT_S * fps))
        self._period = 1 / rate
        self._count = 0
        self._file = path.open("wb", buffering=0)
        try:
            options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
            self._container = av.open(self._file, "w", format="mp4", container_options=options)
            stream = self._container.add_stream(encoder_name(), rate=rate, options=_OPTIONS[encoder_name()])
            self._stream = cast("VideoStream", stream)
            context = self._stream.codec_context
            context.width, context.height = size_wh
            context.pix_fmt = "yuv420p"
            context.gop_size = self._per_fragment
            context.color_range = ColorRange.MPEG
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.open()
        except (av.FFmpegError, ValueError) as error:
            self._file.close()
            width, height = size_wh
            raise SinkError(
                f"{encoder_name()} takes no {width}x{height} at {fps:g} frames/s: {error}"
            ) from error
        self._reformatter = VideoReformatter()

    @property
    def playable(self) -> bool:
        """True once a whole fragment is in the file."""
        return self._count > self._per_fragment

    def write(self, frame_bgr: Frame) -> None:
        """Encode a frame; at a fragment's end the file is synced."""
        picture = self._reformatter.reformat(
            VideoFrame.from_ndarray(frame_bgr, "bgr24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.pts = self._count
        picture.time_base = self._period
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self._count += 1
        if (
            self._count % self._per_fragment == 1
        ):  # the key frame that began a fragment has written the last one
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Write the last fragment and close the file."""
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        finally:
            self._file.close()


@functools.cache
def encoder_name() -> str:
    """``h264_nvenc`` where a GPU of NVIDIA encodes, else ``libx264``; tried once."""
    if not _NVIDIA.exists() or "h264_nvenc" not in av.codecs_available:
        return "libx264"
    try:
        context = av.VideoCodecContext.create("h264_nvenc", "w")
        context.width, context.height, context.pix_fmt = 320, 240, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except av.FFmpegError as error:
        LOG.info("h264_nvenc does not open (%s): libx264 encodes on the CPU", error)
        return "libx264"
    return "h264_nvenc"
