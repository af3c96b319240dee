"""Chooses the decoder for a kind of stream: hardware only if it is correct and faster than software on this machine."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate, DecoderChoice
from edgevision.sources.feeds.decoders.decoder import StreamKind, Unit
from edgevision.sources.feeds.decoders.trial import Cost, Trial

log = logging.getLogger(__name__)

UNITS = 30
"""Encoded frames of the stream that a probe decodes."""
START_S = 20.0
"""Maximum time to start the process and to decode in software."""
FIRST_FRAME_S = 3.0
"""Maximum time to the first frame of a hardware decoder."""
REST_S = 15.0
"""Maximum time for the comparison after it."""
LEAST_PSNR_DB = 40.0
"""Minimum PSNR of BGR frames against software's. Decoding is exact by its standards, and only the conversion to BGR may
round differently. The matrix of another colour standard gives about 30 dB, a wrong range 25 dB.
"""
MOST_HELD = 1
"""Frames that hardware may hold back beyond software, on a live stream; each adds a frame period of age."""


@dataclass(slots=True)
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    choice: DecoderChoice | None = None


_SLOTS: dict[tuple[StreamKind, bool, tuple[DecoderCandidate, ...]], _Slot] = {}
_SLOTS_LOCK = threading.Lock()


def choose(
    kind: StreamKind, units: Sequence[Unit], candidates: tuple[DecoderCandidate, ...], *, live: bool
) -> DecoderChoice:
    """Choose from the stream's first units, which begin with a key frame; logs the choice.

    Each kind of stream is probed once in a process; other streams of the kind wait for the result.
    """
    with _SLOTS_LOCK:
        slot = _SLOTS.setdefault((kind, live, candidates), _Slot())
    with slot.lock:
        if slot.choice is None:
            slot.choice = probe(kind, units, candidates, live=live)
            level = logging.WARNING if candidates else logging.INFO  # expected if there is no hardware
            log.log(level, "%s", slot.choice.reason)
        return slot.choice


def chosen(kind: StreamKind, candidates: tuple[DecoderCandidate, ...], *, live: bool) -> DecoderChoice | None:
    """The choice for a kind of stream; None if it is not made yet."""
    slot = _SLOTS.get((kind, live, candidates))
    return None if slot is None else slot.choice


def forced(kind: StreamKind, candidates: Sequence[DecoderCandidate]) -> DecoderChoice:
    """The first installed candidate, without a probe. Raises `SourceError` if there is none."""
    reasons = []
    for candidate in candidates:
        reason = kind.unsupported() or candidate.missing()
        if reason is None:
            return DecoderChoice(candidate, f"{kind} is decoded by {candidate.name}, as requested")
        reasons.append(f"{candidate.name}: {reason}")
    found = "; ".join(reasons) or "this machine has none that edgevision uses (Jetson, NVIDIA GPU)"
    raise SourceError(
        f"no hardware decoder for {kind}: {found}; use --decoder auto, which falls back to software"
    )


def probe(
    kind: StreamKind, units: Sequence[Unit], candidates: Sequence[DecoderCandidate], *, live: bool
) -> DecoderChoice:
    """Choose the first candidate that is correct and faster than software."""
    if not candidates:
        return DecoderChoice(
            None, f"{kind} is decoded in software: this machine has no hardware decoder for it"
        )
    rejected = []
    for candidate in candidates:
        reason = kind.unsupported() or candidate.missing()
        if reason is None:
            found = _tried(Trial(kind, candidate, live, tuple(units)))
            if found.reason is None:
                return DecoderChoice(candidate, f"{kind} is decoded by {candidate.name}: {found.figures}")
            reason = found.reason
        rejected.append(f"{candidate.name}: {reason}")
    return DecoderChoice(None, f"{kind} is decoded in software; {'; '.join(rejected)}")


@dataclass(slots=True)
class _Result:
    reason: str | None = None
    """Why the candidate is not used; None if it is."""
    figures: str = ""


def _tried(trial: Trial) -> _Result:
    """Run a trial in its own process, which is killed after a time-out."""
    with tempfile.TemporaryFile() as request:
        trial.write(request)
        request.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "edgevision.sources.feeds.decoders.trial"],
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _RUNNING.add(process)
        try:
            return _result(trial, _Answers(process))
        except TimeoutError as error:
            return _Result(str(error))
        finally:
            _kill(process)
            process.wait()
            _RUNNING.discard(process)
            assert process.stdout is not None
            process.stdout.close()


_RUNNING: set[subprocess.Popen[bytes]] = set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole session, because a decoder may be a child process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@atexit.register
def _kill_running() -> None:
    for process in tuple(_RUNNING):
        _kill(process)


def _result(trial: Trial, answers: _Answers) -> _Result:
    """Read the answers of a trial in their order; raises `TimeoutError`."""
    first = answers.next(START_S, "the probe's process did not start")
    if "software" not in first:
        return _Result("the probe's process ended before it decoded in software")
    second = answers.next(FIRST_FRAME_S, "no frame")
    if "first" not in second:
        return _Result(second.get("error") or _no_first_frame(second))
    third = answers.next(REST_S, "not all frames arrived")
    if "psnr_db" not in third:
        return _Result(third.get("error") or "it ended during the comparison")
    software, hardware = Cost(**first["software"]), Cost(**third["hardware"])
    reason = _difference(software, hardware, third["psnr_db"], live=trial.live)
    if reason is not None:
        return _Result(reason)
    last = answers.next(REST_S, "not all frames of the speed measurement arrived")
    if "done" not in last:
        return _Result(last.get("error") or "it ended during the measurement")
    software, hardware = Cost(**last["software"]), Cost(**last["hardware"])
    figures = (
        f"{hardware.wall_ms:.1f} ms and {hardware.cpu_ms:.1f} ms of CPU a frame; software"
        f" {software.wall_ms:.1f} and {software.cpu_ms:.1f}"
    )
    faster = hardware.wall_ms < software.wall_ms and hardware.cpu_ms < software.cpu_ms
    return _Result(None if faster else f"not faster: {figures}", figures)


def _difference(software: Cost, hardware: Cost, psnr_db: float, *, live: bool) -> str | None:
    """The reason why the frames cannot be used; None if they can."""
    if hardware.frames < software.frames:
        return f"it delivered {hardware.frames} of {software.frames} frames"
    if psnr_db < LEAST_PSNR_DB:
        return f"its frames differ from software's: PSNR {psnr_db:.1f} dB; expected {LEAST_PSNR_DB:g} or more"
    if live and hardware.held > software.held + MOST_HELD:
        return (
            f"it holds back {hardware.held} frames, software {software.held}; each adds a frame period of age"
        )
    return None


def _no_first_frame(answer: dict[str, Any]) -> str:
    return "it ended without a frame" if "psnr_db" in answer else "the process crashed"


class _Answers:
    """Lines of JSON from a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._file = process.stdout.fileno()
        self._data = bytearray()

    def next(self, within_s: float, what: str) -> dict[str, Any]:
        """The next answer; empty if the process ended. Raises `TimeoutError` with `what` and the time."""
        until_s = time.monotonic() + within_s
        while (end := self._data.find(b"\n")) < 0:
            ready, _, _ = select.select([self._file], [], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{what} within {within_s:g} s")
            data = os.read(self._file, 65_536)
            if not data:
                return {}
            self._data += data
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        answer: dict[str, Any] = json.loads(line)
        return answer
