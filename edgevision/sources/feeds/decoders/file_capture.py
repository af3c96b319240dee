"""Video files through a hardware decoder, with the interface of OpenCV's capture."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.errors import SourceError, first_line
from edgevision.sources.feeds.decoders import candidates
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate
from edgevision.sources.feeds.decoders.decoder import CODECS, Decoder, StreamKind, Unit, UnitReader
from edgevision.sources.feeds.decoders.probe import FIRST_FRAME_S, UNITS, choose, forced
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.frames import Capture

log = logging.getLogger(__name__)

OpenSoftware = Callable[[], Capture]


def hardware_capture(
    address: str, setting: Literal["auto", "hardware"], open_software: OpenSoftware, *, planes: bool = False
) -> Capture | None:
    """Open a file with the decoder that `setting` and the probe choose; None for software.

    With `planes` its frames are `PictureFrame`s, not converted to BGR. Raises `SourceError` if hardware is forced and
    cannot be used.
    """
    here = candidates.candidates_here()
    try:
        kind, units = _first_units(address)
        if setting == "hardware":
            candidate = forced(kind, here).candidate
        else:
            candidate = choose(kind, units, here, live=False).candidate
        if candidate is None:
            return None
        fallback = None if setting == "hardware" else open_software
        return HardwareCapture(address, kind, candidate, fallback, planes=planes)
    except SourceError as error:
        if setting == "hardware":
            raise
        log.debug("%s: decoded in software: %s", address, error)
        return None


class HardwareCapture:
    """Every frame of a file, in order. If the decoder fails, software continues after the last frame."""

    def __init__(
        self,
        address: str,
        kind: StreamKind,
        candidate: DecoderCandidate,
        open_software: OpenSoftware | None,
        *,
        planes: bool = False,
    ) -> None:
        """`open_software` is None if a failure is an error."""
        self._converters = Converters() if planes else None
        self._address, self._open_software = address, open_software
        self._name = candidate.name
        self._software: Capture | None = None
        self._container, self._stream = _opened(address)
        self._decoder: Decoder = candidate.open(kind, live=False)
        self._discarded: set[int | None] = set()
        self._frames = self._decoded()
        self._picture: VideoFrame | None = None
        self._grabbed = 0

    def grab(self) -> bool:
        """Decode the next frame."""
        if self._software is not None:
            return self._software.grab()
        try:
            self._picture = next(self._frames, None)
        except (SourceError, av.FFmpegError) as error:
            return self._fall_back(f"{self._name}: {first_line(error)}")
        self._grabbed += self._picture is not None
        return self._picture is not None

    def retrieve(self) -> tuple[bool, Any]:
        """The frame in BGR, or its planes."""
        if self._software is not None:
            return self._software.retrieve()
        if self._picture is None:
            return False, None
        if self._converters is not None:
            return True, PictureFrame(self._picture, self._converters)
        image = self._picture.to_ndarray(format="bgr24")
        return True, np.require(image, np.uint8, ["C_CONTIGUOUS", "WRITEABLE"])

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        """Frame rate, frame count, and position in milliseconds; 0 for any other property."""
        if propId == cv2.CAP_PROP_FPS:
            return float(self._stream.average_rate or 0)
        if propId == cv2.CAP_PROP_FRAME_COUNT:
            return float(self._stream.frames)
        if propId != cv2.CAP_PROP_POS_MSEC:
            return 0.0
        if self._software is not None:
            return self._software.get(propId)
        if self._picture is None or self._picture.pts is None or self._stream.time_base is None:
            return 0.0
        return float((self._picture.pts - (self._stream.start_time or 0)) * self._stream.time_base * 1000)

    def release(self) -> None:
        """Close the file."""
        self._decoder.close()
        self._container.close()
        if self._software is not None:
            self._software.release()

    def _decoded(self) -> Iterator[VideoFrame]:
        last_s = time.monotonic()
        for unit in _units(self._container, self._stream, self._discarded):
            frames = self._decoder.decode(unit)
            if frames:
                last_s = time.monotonic()
            elif time.monotonic() - last_s > FIRST_FRAME_S:
                raise SourceError(f"no frame within {FIRST_FRAME_S:g} s")
            yield from self._kept(frames)
            if frames:
                last_s = time.monotonic()  # the caller's time does not count
        yield from self._kept(self._decoder.finish())
        if self._decoder.held > 0:
            raise SourceError(f"{self._decoder.held} frames are missing at the end")

    def _kept(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames without those before the file's start, which are only references of others."""
        return (frame for frame in frames if frame.pts is None or frame.pts not in self._discarded)

    def _fall_back(self, reason: str) -> bool:
        if self._open_software is None:
            raise SourceError(f"{reason}; use --decoder auto, which falls back to software")
        log.warning("%s: %s; software continues at frame %d", self._address, reason, self._grabbed)
        self._decoder.close()
        self._software = self._open_software()
        return all(self._software.grab() for _ in range(self._grabbed + 1))


def _opened(address: str) -> tuple[Any, VideoStream]:
    try:
        container = av.open(address)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"PyAV cannot open it: {first_line(error)}") from error
    stream = next(iter(container.streams.video), None)
    if stream is None:
        container.close()
        raise SourceError("it has no video")
    return container, stream


def _units(container: Any, stream: VideoStream, discarded: set[int | None]) -> Iterator[Unit]:
    """All units; the time stamps of those whose frames are not shown are added to `discarded`."""
    reader = UnitReader(stream)
    for packet in container.demux(stream):
        if packet.size:
            if packet.is_discard:
                discarded.add(packet.pts)
            yield from reader.units(packet)


def _first_units(address: str) -> tuple[StreamKind, list[Unit]]:
    """The kind of a file's stream, and its first units. Raises `SourceError` if hardware does not fit the file."""
    container, stream = _opened(address)
    with contextlib.closing(container):
        codec = stream.codec_context.name
        if codec not in CODECS:
            raise SourceError(f"{codec}: hardware decoders are used for {' and '.join(CODECS)} only")
        reader, kind = UnitReader(stream), None
        units: list[Unit] = []
        for packet in container.demux(stream):
            if not packet.size or len(units) >= UNITS:
                break
            units += reader.units(packet)
            if kind is None and (frames := packet.decode()):
                kind = StreamKind.of(codec, frames[0])
                if frames[0].rotation:
                    raise SourceError("its frames are rotated; only software decoding supports this")
    if kind is None or not units[0].key:
        raise SourceError("its first frames cannot be decoded")
    return kind, units
