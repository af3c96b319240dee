"""Probes the machine's hardware decoder with an encoded sample; no camera is needed."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision.sources.feeds.decoders import candidates
from edgevision.sources.feeds.decoders.candidates import DecoderChoice

if TYPE_CHECKING:
    from edgevision.sources.feeds.decoders.decoder import StreamKind, Unit

SIZE_WH = (1920, 1080)


def probe_sample(size_wh: tuple[int, int] = SIZE_WH) -> DecoderChoice:
    """Choose a decoder for an H.264 stream of a moving pattern."""
    here = candidates.candidates_here()
    if not here:
        return DecoderChoice(None, "software: this machine has no hardware decoder that edgevision uses")
    if importlib.util.find_spec("av") is None:
        return DecoderChoice(None, "software: hardware decoders need PyAV: pip install 'edgevision[rtsp]'")
    # imported here because it belongs to an extra
    from edgevision.sources.feeds.decoders.probe import choose

    try:
        kind, units = _sample(size_wh)
    except (ValueError, RuntimeError, OSError) as error:
        return DecoderChoice(
            None, f"software: the hardware was not probed, because PyAV cannot encode a sample: {error}"
        )
    return choose(kind, units, here, live=True)


def _sample(size_wh: tuple[int, int]) -> tuple[StreamKind, list[Unit]]:
    from av.codec.context import CodecContext
    from av.video.frame import VideoFrame

    from edgevision.sources.feeds.decoders.decoder import PyAvDecoder, StreamKind, Unit
    from edgevision.sources.feeds.decoders.probe import UNITS

    width, height = size_wh
    encoder: Any = CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", 25
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "g": "15"}
    pattern = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = np.kron(pattern, np.ones((8, 8, 1), np.uint8))
    packets = []
    for number in range(UNITS):
        frame = VideoFrame.from_ndarray(np.roll(image, 4 * number, 1), "rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    units = [Unit(bytes(packet), packet.pts, packet.time_base, packet.is_keyframe) for packet in packets]
    picture = PyAvDecoder(StreamKind("h264", width, height, "yuv420p", 2, 0)).decode(units[0])[0]
    return StreamKind.of("h264", picture), units
