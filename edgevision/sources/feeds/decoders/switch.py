"""Decoder of a live stream: software from the first packet, hardware once it has passed the probe."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders import candidates
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate, DecoderChoice
from edgevision.sources.feeds.decoders.decoder import CODECS, Decoder, StreamKind, Unit, UnitReader
from edgevision.sources.feeds.decoders.probe import FIRST_FRAME_S, UNITS, choose, chosen, forced
from edgevision.sources.options import DecoderSetting

log = logging.getLogger(__name__)

MOST_UNITS = 20 * UNITS
"""Encoded frames without a decoded one after which hardware is not tried."""
MOST_BEHIND = 2
"""Hardware has caught up when its newest frame is at most this many frames older than software's."""
_LOGGED: set[str] = set()
"""Failures that were logged, so that each is logged once and not for every camera and outage."""


class LiveDecoder:
    """Decodes the packets of one connection.

    ``auto`` decodes in software while a thread probes the hardware with the stream's first packets. From the next key
    frame on, hardware decodes in parallel with software until it has caught up, and then alone. If it does not catch
    up in time, because it hangs or all of its sessions are in use, software continues without a gap. If it fails later,
    software takes over at the next key frame. ``hardware`` does the same without a probe; a failure is an error.
    """

    def __init__(self, stream: VideoStream, setting: DecoderSetting) -> None:
        self._stream = stream
        self._setting = setting
        codec = stream.codec_context.name
        self._candidates = () if setting == "software" else candidates.candidates_here()
        # Packets are copied only if hardware may be used.
        usable = codec in CODECS and (self._candidates or setting == "hardware")
        self._reader = UnitReader(stream) if usable else None
        if setting == "hardware" and self._reader is None:
            raise SourceError(
                f"{codec}: hardware decoders are used for {' and '.join(CODECS)} only; {_REMEDY}"
            )
        self._units: list[Unit] = []
        self._choice: DecoderChoice | None = None
        self._prober: threading.Thread | None = None
        self._hardware: Decoder | None = None
        self._alone = self._resync = False
        self._kind: StreamKind | None = None
        self._last_frame_s = 0.0
        self._recent: deque[int] = deque(maxlen=1 + MOST_BEHIND)
        """Time stamps of software's last frames; hardware's up to the last one are not delivered again."""

    @property
    def name(self) -> str:
        """The decoder of the latest frame: "software", or the hardware's name."""
        return (
            self._choice.candidate.name
            if self._alone and self._choice and self._choice.candidate
            else "software"
        )

    @property
    def software_only(self) -> bool:
        """True while no hardware decodes."""
        return self._hardware is None

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The frames that are ready. Raises PyAV's errors, and `SourceError` for forced hardware that fails."""
        if self._reader is None:
            return packet.decode()
        units = list(self._reader.units(packet)) if packet.size else []
        if packet.is_keyframe and self._hardware is None:
            self._open_hardware()
        frames = [] if self._alone else self._by_software(packet)
        if self._hardware is None:
            self._choose_decoder(units, frames)
        elif packet.size:
            frames += self._by_hardware(self._hardware, units)
        elif self._alone:
            frames += self._hardware.finish()
        return frames

    def close(self) -> None:
        """Release the hardware. A running probe ends at its own time-outs."""
        self._reader = None
        if self._hardware is not None:
            self._hardware.close()
            self._hardware = None

    def _by_software(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        if self._resync and not packet.is_keyframe:
            return []
        self._resync = False
        frames = packet.decode()
        self._recent += [frame.pts for frame in frames if frame.pts is not None]
        return frames

    def _by_hardware(self, hardware: Decoder, units: list[Unit]) -> list[VideoFrame]:
        """The frames that software has not delivered."""
        now_s = time.monotonic()
        try:
            frames = [frame for unit in units for frame in hardware.decode(unit, wait=self._alone)]
        except SourceError as error:
            self._give_up(str(error))
            return []
        if frames and not self._alone:
            self._alone = not self._recent or frames[-1].pts is None or frames[-1].pts >= self._recent[0]
        if frames and self._alone:
            self._last_frame_s = now_s
        frames = [frame for frame in frames if self._is_new(frame)]
        if frames and self._alone:
            self._recent.clear()  # the camera's clock may be set back later
        if now_s - self._last_frame_s > FIRST_FRAME_S and not frames:
            self._give_up(f"no frame within {FIRST_FRAME_S:g} s; all of its sessions may be in use")
        return frames

    def _is_new(self, frame: VideoFrame) -> bool:
        return self._alone and (not self._recent or (frame.pts is not None and frame.pts > self._recent[-1]))

    def _choose_decoder(self, units: list[Unit], frames: list[VideoFrame]) -> None:
        """Find the kind of the stream, and choose its decoder."""
        if self._choice is not None or self._prober is not None or len(self._units) > MOST_UNITS:
            return
        if self._units or (units and units[0].key):
            self._units += units
        if self._kind is None and frames:
            self._kind = StreamKind.of(self._stream.codec_context.name, frames[0])
        if (kind := self._kind) is None:
            return
        if self._setting == "hardware":
            self._choice = forced(kind, self._candidates)
        elif (known := chosen(kind, self._candidates, live=True)) is not None:
            self._choice = known
        elif len(self._units) >= UNITS:
            self._prober = threading.Thread(
                target=self._probe, args=(kind,), name="decoder probe", daemon=True
            )
            self._prober.start()

    def _probe(self, kind: StreamKind) -> None:
        units, self._units = self._units[:UNITS], []
        self._choice = choose(kind, units, self._candidates, live=True)

    def _open_hardware(self) -> None:
        candidate: DecoderCandidate | None = self._choice.candidate if self._choice else None
        if candidate is None or self._kind is None:
            return
        try:
            self._hardware = candidate.open(self._kind, live=True)
        except SourceError as error:
            self._give_up(str(error))
        self._last_frame_s = time.monotonic()

    def _give_up(self, reason: str) -> None:
        """Continue in software for this connection; an error if hardware is forced."""
        assert self._choice is not None
        assert self._choice.candidate is not None
        text = f"{self._choice.candidate.name}: {reason}"
        if self._hardware is not None:
            self._hardware.close()
            self._hardware = None
        if self._setting == "hardware":
            raise SourceError(f"{text}; {_REMEDY}")
        if self._alone:
            self._stream.codec_context.flush_buffers()
            self._alone, self._resync = False, True
        self._choice = DecoderChoice(None, f"{self._kind} is decoded in software; {text}")
        if self._choice.reason not in _LOGGED:
            _LOGGED.add(self._choice.reason)
            log.warning("%s", self._choice.reason)


_REMEDY = "use --decoder auto, which falls back to software"
