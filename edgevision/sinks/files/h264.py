"""H.264 encoder for fragmented MP4 through PyAV: browsers play it, and a truncated file plays up to its last fragment.

A fragment begins with a key frame, contains about a second and has its own index (ISO/IEC 14496-12, 8.8). The file is
synced after each fragment, so that a power failure loses no more than a killed process.
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
    # No frame is delayed, so that a fragment ends on time.
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "crf": "23"},
    "h264_nvenc": {"preset": "p4", "tune": "ll", "rc": "vbr", "cq": "23", "zerolatency": "1", "bf": "0"},
}


class H264Encoder:
    """Writes BGR frames of one size, with even sides, at a constant rate; the file is open until `close`.

    Raises `SinkError` if no encoder supports the size, `OSError` if the file cannot be written.
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
                f"{encoder_name()} does not support {width}x{height} at {fps:g} frames/s: {error}"
            ) from error
        self._reformatter = VideoReformatter()

    @property
    def playable(self) -> bool:
        """True once the file has a complete fragment."""
        return self._count > self._per_fragment

    def write(self, frame_bgr: Frame) -> None:
        """Encode a frame; the file is synced at the end of a fragment."""
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
        if self._count % self._per_fragment == 1:  # the key frame of a fragment flushes the previous one
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
    """``h264_nvenc`` if an NVIDIA GPU can encode, else ``libx264``; tested once."""
    if not _NVIDIA.exists() or "h264_nvenc" not in av.codecs_available:
        return "libx264"
    try:
        context = av.VideoCodecContext.create("h264_nvenc", "w")
        context.width, context.height, context.pix_fmt = 320, 240, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except av.FFmpegError as error:
        LOG.info("h264_nvenc does not open (%s); encoding with libx264 on the CPU", error)
        return "libx264"
    return "h264_nvenc"
