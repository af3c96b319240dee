"""Interface of decoders, and PyAV's decoders: in software, and on an NVIDIA GPU."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext, ThreadType
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.errors import SourceError, first_line

CODECS = ("h264", "hevc")
"""Codecs of hardware decoders; others are decoded in software."""
PIXELS = frozenset(("yuv420p", "yuvj420p"))
"""Pixel formats that every hardware decoder of these codecs supports: 8 bits, 4:2:0."""


@dataclass(frozen=True, slots=True)
class StreamKind:
    """The properties of a stream that decide which decoders fit it, and how its colours are converted."""

    codec: str
    width: int
    height: int
    pixels: str
    colorspace: int
    """Number of FFmpeg's AVColorSpace."""
    color_range: int

    def __str__(self) -> str:
        return f"{self.codec} {self.width}x{self.height}"

    @classmethod
    def of(cls, codec: str, picture: VideoFrame) -> StreamKind:
        """The kind of a stream, from a frame that software decoded."""
        return cls(
            codec,
            picture.width,
            picture.height,
            picture.format.name,
            int(picture.colorspace),
            int(picture.color_range),
        )

    def unsupported(self) -> str | None:
        """The reason why no hardware decoder is tried; None if one may be."""
        if self.codec not in CODECS:
            return f"hardware decoders are used for {' and '.join(CODECS)} only"
        if self.pixels not in PIXELS:
            return f"its pixel format is {self.pixels}; hardware decoders are used for 8 bits, 4:2:0"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """The bytes of one encoded frame in Annex B form, with the stream's parameter sets before each key frame."""

    data: bytes
    pts: int | None
    time_base: Fraction | None
    key: bool

    def packet(self) -> Packet[Any]:
        """The unit for PyAV."""
        packet: Packet[Any] = Packet(self.data)
        packet.pts, packet.is_keyframe = self.pts, self.key
        if self.time_base is not None:
            packet.time_base = self.time_base
        return packet


class UnitReader:
    """Converts a stream's packets to units; the packets stay unchanged."""

    def __init__(self, stream: VideoStream) -> None:
        name = stream.codec_context.name
        self._filter = BitStreamFilterContext(f"{name}_mp4toannexb,dump_extra", stream)

    def units(self, packet: Packet[VideoStream]) -> Iterator[Unit]:
        """The units of a packet. Raises `SourceError` for damaged data."""
        copy: Packet[Any] = Packet(bytes(packet))
        copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
        if packet.time_base is not None:
            copy.time_base = packet.time_base
        try:
            found = self._filter.filter(copy)
        except av.FFmpegError as error:
            raise SourceError(f"packet is damaged: {first_line(error)}") from error
        for part in found:
            yield Unit(bytes(part), packet.pts, packet.time_base, bool(packet.is_keyframe))


class Decoder(abc.ABC):
    """Decodes units into frames, which keep the time stamps of their units. One thread uses it."""

    held = 0
    """Number of frames that the decoder has not delivered yet after the last `decode`."""

    @abc.abstractmethod
    def decode(self, unit: Unit, *, wait: bool = True) -> list[VideoFrame]:
        """The frames that are ready, in display order. Raises `SourceError` if the decoder failed.

        Without `wait`, this returns at once if the decoder is in another process.
        """

    def late(self, wait_s: float) -> list[VideoFrame]:  # noqa: ARG002  # a decoder inside this process has none
        """Frames that arrive without a new unit: the first ones within `wait_s`."""
        return []

    @abc.abstractmethod
    def finish(self) -> list[VideoFrame]:
        """The frames that the decoder still held, at the end of a stream."""

    @property
    def helper_cpu_s(self) -> float:
        """CPU time of the decoder outside this process, in seconds."""
        return 0.0

    def close(self) -> None:  # noqa: B027  # decoders inside this process have nothing to close
        """Release the decoder."""


class PyAvDecoder(Decoder):
    """A decoder of FFmpeg: in software, or by a hardware acceleration such as ``cuda``."""

    def __init__(self, kind: StreamKind, accelerator: str | None = None, *, live: bool = True) -> None:
        """Software uses two threads over slices if `live`, and else threads over frames, as readers of files do."""
        self._accelerator = accelerator
        try:
            hardware = None if accelerator is None else HWAccel(accelerator, allow_software_fallback=False)
            self._context: Any = CodecContext.create(kind.codec, "r", hwaccel=hardware)
            if hardware is None:
                self._context.thread_type = ThreadType.SLICE if live else ThreadType.AUTO
                self._context.thread_count = 2 if live else 0
        except (av.FFmpegError, RuntimeError, NotImplementedError, ValueError) as error:
            raise SourceError(f"FFmpeg cannot open the decoder: {first_line(error)}") from error

    def decode(self, unit: Unit, *, wait: bool = True) -> list[VideoFrame]:  # noqa: ARG002  # it decodes here
        """The frames that are ready."""
        self.held += 1
        return self._frames(unit.packet())

    def finish(self) -> list[VideoFrame]:
        """The last frames."""
        return self._frames(None)

    def _frames(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            found: list[VideoFrame] = self._context.decode(packet)
        except (av.FFmpegError, RuntimeError, NotImplementedError) as error:
            raise SourceError(f"FFmpeg cannot decode the stream: {first_line(error)}") from error
        if found and self._accelerator is not None and not self._context.is_hwaccel:
            raise SourceError(f"FFmpeg has no {self._accelerator} decoder for this stream")
        self.held -= len(found)
        return found
