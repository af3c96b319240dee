"""Compares a hardware decoder with software on units of a stream, in a separate process that may hang or crash.

The request comes on standard input: a line of JSON, then the bytes of the units. Each answer is a line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate
from edgevision.sources.feeds.decoders.decoder import Decoder, PyAvDecoder, StreamKind, Unit

ROUNDS = 2
"""Software and hardware are timed in turns, this many times each; the lowest time of each counts."""
SETTLE_S = 0.2
"""A decoder holds back the frames that do not arrive within this time after the last one."""
STEP = 5
"""All frames are compared, at every fifth pixel of every fifth row."""

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean times per frame from its unit to a BGR array, in milliseconds, and the number of held-back frames."""

    wall_ms: float
    cpu_ms: float
    frames: int
    held: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A hardware decoder, and the units to try it on."""

    kind: StreamKind
    candidate: DecoderCandidate
    live: bool
    units: tuple[Unit, ...]

    def write(self, file: BinaryIO) -> None:
        """Write it in the form that `read` reads."""
        units = [[len(unit.data), unit.pts, unit.key] for unit in self.units]
        base = self.units[0].time_base or Fraction(1, 90_000)
        head = {
            "kind": dataclasses.asdict(self.kind),
            "candidate": dataclasses.asdict(self.candidate),
            "live": self.live,
            "time_base": [base.numerator, base.denominator],
            "units": units,
        }
        file.write(json.dumps(head).encode() + b"\n")
        file.writelines(unit.data for unit in self.units)

    @classmethod
    def read(cls, file: BinaryIO) -> Trial:
        """Read what `write` wrote."""
        head = json.loads(file.readline())
        base = Fraction(*head["time_base"])
        units = tuple(Unit(file.read(size), pts, base, key) for size, pts, key in head["units"])
        return cls(StreamKind(**head["kind"]), DecoderCandidate(**head["candidate"]), head["live"], units)


def main() -> None:
    """Answer with the cost of software, the first frame of the hardware, its PSNR, and both costs."""
    trial = Trial.read(sys.stdin.buffer)
    pictures = _Pictures()
    software = _timed(PyAvDecoder(trial.kind, live=trial.live), trial.units, pictures)
    _answer(software=dataclasses.asdict(software))
    try:
        others = _Pictures(announce=True)
        hardware = _timed(trial.candidate.open(trial.kind, live=trial.live), trial.units, others)
        _answer(psnr_db=pictures.psnr_db(others), hardware=dataclasses.asdict(hardware))
        # One frame at a time shows how many the decoder holds back; speed is measured with several frames in flight.
        hardware = _timed(trial.candidate.open(trial.kind, live=False), trial.units)
        for _ in range(ROUNDS - 1):
            software = _better(software, _timed(PyAvDecoder(trial.kind, live=trial.live), trial.units))
            hardware = _better(hardware, _timed(trial.candidate.open(trial.kind, live=False), trial.units))
        _answer(done=True, software=dataclasses.asdict(software), hardware=dataclasses.asdict(hardware))
    except SourceError as error:
        _answer(error=str(error))


class _Pictures:
    """Keeps a grid of pixels of each frame, in display order."""

    def __init__(self, *, announce: bool = False) -> None:
        self._images: list[Image] = []
        self._announce = announce

    def add(self, image: Image) -> None:
        if self._announce and not self._images:
            _answer(first=True)
        self._images.append(image[::STEP, ::STEP].copy())

    def psnr_db(self, other: _Pictures) -> float:
        """The lowest peak signal-to-noise ratio of the frames that both have; 0 if none, or if sizes differ."""
        pairs = list(zip(self._images, other._images, strict=False))
        if not pairs or any(one.shape != another.shape for one, another in pairs):
            return 0.0
        return min(_psnr_db(one, another) for one, another in pairs)


def _psnr_db(one: Image, other: Image) -> float:
    error = float(np.square(one.astype(np.float32) - other).mean())
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)


def _timed(decoder: Decoder, units: Sequence[Unit], pictures: _Pictures | None = None) -> Cost:
    """Decode and convert all units; times start at the first frame, when the decoder is running."""
    stamps: list[tuple[float, float]] = []
    counts: list[int] = []
    try:
        for unit in units:
            _convert(decoder.decode(unit), decoder, pictures, stamps, counts)
        while decoder.held > 0 and (late := decoder.late(SETTLE_S)):
            _convert(late, decoder, pictures, stamps, counts)
        held, timed = max(0, decoder.held), len(stamps)
        _convert(decoder.finish(), decoder, pictures, stamps, counts)
    finally:
        decoder.close()
    if timed < 2:
        return Cost(math.inf, math.inf, sum(counts), held)
    frames = sum(counts[1:timed])
    wall_s, cpu_s = (end - start for start, end in zip(stamps[0], stamps[timed - 1], strict=True))
    return Cost(1e3 * wall_s / frames, 1e3 * cpu_s / frames, sum(counts), held)


def _convert(
    frames: Sequence[VideoFrame],
    decoder: Decoder,
    pictures: _Pictures | None,
    stamps: list[tuple[float, float]],
    counts: list[int],
) -> None:
    """Convert frames to BGR; appends their number, and the clocks after it."""
    for frame in frames:
        image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
        if pictures is not None:
            pictures.add(image)
    if frames:
        counts.append(len(frames))
        stamps.append(_clocks(decoder))


def _clocks(decoder: Decoder) -> tuple[float, float]:
    """Wall time, and CPU time of this process and the decoder's."""
    return time.perf_counter(), time.process_time() + decoder.helper_cpu_s


def _better(one: Cost, other: Cost) -> Cost:
    return Cost(min(one.wall_ms, other.wall_ms), min(one.cpu_ms, other.cpu_ms), one.frames, one.held)


def _answer(**content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
