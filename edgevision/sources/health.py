"""Health of a source: outages, and counts of frozen, black, damaged and lost frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

SourceState = Literal["connecting", "connected", "reconnecting", "frozen", "black"]
"""Connecting: no frame has arrived since the source was opened."""
Fault = Literal["frozen", "black", "damaged"]


@dataclass(frozen=True, slots=True)
class Outage:
    """A period without frames from a camera. If it does not answer at first, the outage starts with the opening."""

    began_at: float
    """Seconds since 1970."""
    seconds: float
    """From the last frame before it to the first one after it, or until now."""
    reason: str


@dataclass(slots=True)
class FrameCounts:
    """Frames of live sources without a result, counted since the source was opened."""

    dropped: int = 0
    """Replaced by newer ones before inference."""
    late: int = 0
    """Older than the maximum age, or with a result that would have been."""
    missed: int = 0
    """Never received, according to gaps between the camera's timestamps; includes frames that ``demo:`` and ``loop:``
    skipped.
    """

    def __add__(self, other: FrameCounts) -> FrameCounts:
        return FrameCounts(self.dropped + other.dropped, self.late + other.late, self.missed + other.missed)

    def notes(self) -> tuple[str, ...]:
        """The counts above 0 as text: ``3 dropped``."""
        counts = ((self.dropped, "dropped"), (self.late, "late"), (self.missed, "missed"))
        return tuple(f"{count} {what}" for count, what in counts if count)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """Health of a source at one moment; counts are totals since it was opened. Files have no counts."""

    state: SourceState = "connected"
    outages: int = 0
    outage_s: float = 0.0
    """Total length of all outages, including the current one."""
    reconnects: int = 0
    failed_attempts: int = 0
    """Failed attempts to reconnect."""
    lost: FrameCounts = field(default_factory=FrameCounts)
    frozen_frames: int = 0
    frozen_episodes: int = 0
    black_frames: int = 0
    black_episodes: int = 0
    damaged_frames: int = 0
    undecoded_frames: int = 0
    """Frames that were not decoded, because they would have been dropped: part of `lost.dropped`."""
    size_changes: int = 0
    last_frame_age_s: float | None = None
    """Time since the last valid frame arrived; None before the first."""
    last_outage: Outage | None = None

    @property
    def withheld(self) -> int:
        """Frames that arrived but were not passed on: frozen, black or damaged."""
        return self.frozen_frames + self.black_frames + self.damaged_frames

    def notes(self) -> tuple[str, ...]:
        """Short notes on outages, withheld and missed frames; empty without any."""
        found = []
        if self.outages and self.last_outage is not None:
            outages = "1 outage" if self.outages == 1 else f"{self.outages} outages"
            found.append(f"{outages} of {self.outage_s:.1f} s in all, last reason: {self.last_outage.reason}")
        for count, what, episodes in (
            (self.frozen_frames, "frozen", self.frozen_episodes),
            (self.black_frames, "black", self.black_episodes),
        ):
            if count:
                found.append(f"{count} {what} frames withheld, {episodes} time{'s' * (episodes != 1)}")
        if self.damaged_frames:
            found.append(f"{self.damaged_frames} damaged frames withheld")
        if self.undecoded_frames:
            found.append(f"{self.undecoded_frames} of the dropped frames were not decoded")
        if self.lost.missed:
            found.append(f"{self.lost.missed} frames missed: gaps between the camera's timestamps")
        return tuple(found)


class HealthRecord:
    """Thread-safe record of a source's health: one thread writes, others read; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._health = SourceHealth(state="connecting")
        self._opened_s = clock()
        self._last_good_s: float | None = None
        self._last_any_s: float | None = None
        self._fault: Fault | None = None
        self._lost_s: float | None = None
        self._over_s = 0.0
        """Total length of finished outages."""

    def good(self) -> None:
        """Record a valid frame."""
        with self._lock:
            now_s = self._arrived()
            self._last_good_s = now_s
            self._fault = None
            if self._health.state != "connected":
                self._health = replace(self._health, state="connected")

    def faulty(self, fault: Fault) -> bool:
        """Record a withheld frame; True if a frozen or black episode begins with it."""
        with self._lock:
            self._arrived()
            health = self._health
            if fault == "damaged":  # a damaged frame does not end a frozen or black episode
                self._health = replace(health, damaged_frames=health.damaged_frames + 1)
                return False
            began = fault != self._fault
            self._fault = fault
            if fault == "frozen":
                episodes = health.frozen_episodes + began
                frames = health.frozen_frames + 1
                self._health = replace(health, state="frozen", frozen_frames=frames, frozen_episodes=episodes)
            else:
                episodes = health.black_episodes + began
                frames = health.black_frames + 1
                self._health = replace(health, state="black", black_frames=frames, black_episodes=episodes)
            return began

    def lost(self, reason: str) -> bool:
        """Record the end of a connection or a failed attempt; True if an outage begins.

        An outage begins with the last frame, or with the opening. A connection without a frame does not end it.
        """
        with self._lock:
            if self._lost_s is not None:
                self._health = replace(self._health, failed_attempts=self._health.failed_attempts + 1)
                return False
            now_s = self._clock()
            self._lost_s = self._opened_s if self._last_any_s is None else self._last_any_s
            seconds = now_s - self._lost_s
            self._health = replace(
                self._health,
                state="connecting" if self._last_any_s is None else "reconnecting",
                outages=self._health.outages + 1,
                last_outage=Outage(time.time() - seconds, seconds, reason),
            )
            return True

    def undecoded(self, count: int) -> None:
        """Record frames that were not decoded."""
        with self._lock:
            self._health = replace(self._health, undecoded_frames=self._health.undecoded_frames + count)

    def resized(self) -> None:
        """Record a change of the frame size."""
        with self._lock:
            self._health = replace(self._health, size_changes=self._health.size_changes + 1)

    def now(self, lost: FrameCounts | None = None) -> SourceHealth:
        """The current health, with a copy of `lost`."""
        with self._lock:
            now_s = self._clock()
            age_s = None if self._last_good_s is None else now_s - self._last_good_s
            under_way_s = 0.0 if self._lost_s is None else now_s - self._lost_s
            outage = self._health.last_outage
            if outage is not None and self._lost_s is not None:
                outage = replace(outage, seconds=under_way_s)
            return replace(
                self._health,
                lost=FrameCounts() if lost is None else replace(lost),
                outage_s=self._over_s + under_way_s,
                last_frame_age_s=age_s,
                last_outage=outage,
            )

    def _arrived(self) -> float:
        """Record the arrival of any frame, which ends an outage."""
        now_s = self._clock()
        self._last_any_s = now_s
        if self._lost_s is not None:
            seconds = now_s - self._lost_s
            self._lost_s = None
            self._over_s += seconds
            outage = self._health.last_outage
            self._health = replace(
                self._health,
                reconnects=self._health.reconnects + 1,
                last_outage=None if outage is None else replace(outage, seconds=seconds),
            )
        return now_s
