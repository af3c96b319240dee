"""How a source is: outages, frozen and black pictures, counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

SourceState = Literal["connecting", "connected", "reconnecting", "frozen", "black"]
"""Connecting: no picture has come yet since the source was opened."""
Fault = Literal["frozen", "black", "damaged"]


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without a connection; a camera that did not answer at first has had one from its opening on."""

    began_at: float
    """Seconds since 1970."""
    seconds: float
    """From the last picture before it to the first one after it, or until now."""
    reason: str


@dataclass(slots=True)
class FrameCounts:
    """Frames of live sources that led to no result, counted since the source was opened."""

    dropped: int = 0
    """Replaced by newer ones before they were run."""
    late: int = 0
    """Older than the age budget, or their result would have been."""
    missed: int = 0
    """Sent by the camera, by the gaps between its time stamps, and never received."""

    def __add__(self, other: FrameCounts) -> FrameCounts:
        return FrameCounts(self.dropped + other.dropped, self.late + other.late, self.missed + other.missed)

    def notes(self) -> tuple[str, ...]:
        """The counts that are not 0, for people: ``3 dropped``."""
        counts = ((self.dropped, "dropped"), (self.late, "late"), (self.missed, "missed"))
        return tuple(f"{count} {what}" for count, what in counts if count)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """A source at one moment; counts are since it was opened. Of a file nothing is counted."""

    state: SourceState = "connected"
    outages: int = 0
    outage_s: float = 0.0
    """All of them, the one under way included."""
    reconnects: int = 0
    failed_attempts: int = 0
    """Attempts to connect again that came to nothing."""
    lost: FrameCounts = field(default_factory=FrameCounts)
    frozen_frames: int = 0
    frozen_episodes: int = 0
    black_frames: int = 0
    black_episodes: int = 0
    damaged_frames: int = 0
    size_changes: int = 0
    last_frame_age_s: float | None = None
    """Since the last good frame came; None before the first."""
    last_outage: Outage | None = None

    @property
    def withheld(self) -> int:
        """Frames that came and were not handed on: frozen, black or damaged."""
        return self.frozen_frames + self.black_frames + self.damaged_frames

    def notes(self) -> tuple[str, ...]:
        """What is worth a word, in few of them; nothing if all was well."""
        found = []
        if self.outages and self.last_outage is not None:
            outages = "1 outage" if self.outages == 1 else f"{self.outages} outages"
            found.append(f"{outages} of {self.outage_s:.1f} s in all, the last: {self.last_outage.reason}")
        for count, what, episodes in (
            (self.frozen_frames, "frozen", self.frozen_episodes),
            (self.black_frames, "black", self.black_episodes),
        ):
            if count:
                found.append(f"{count} {what} frames withheld, {episodes} time{'s' * (episodes != 1)}")
        if self.damaged_frames:
            found.append(f"{self.damaged_frames} damaged frames withheld")
        if self.lost.missed:
            found.append(f"{self.lost.missed} frames missed: the camera took them, and they never came")
        return tuple(found)


class HealthRecord:
    """Keeps a source's health while one thread reports to it and others ask; `clock` gives seconds."""

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
        """Length of the outages that are over."""

    def good(self) -> None:
        """A picture came that is handed on."""
        with self._lock:
            now_s = self._arrived()
            self._last_good_s = now_s
            self._fault = None
            self._health = replace(self._health, state="connected")

    def faulty(self, fault: Fault) -> bool:
        """A picture came that is withheld; True if a frozen or black episode begins with it."""
        with self._lock:
            self._arrived()
            health = self._health
            if fault == "damaged":  # a single one between frozen pictures does not end their episode
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
        """The connection ended, or an attempt to connect again came to nothing; True if an outage begins with it.

        It begins with the last picture that came, or with the opening, and a connection without a picture does not
        end it.
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

    def resized(self) -> None:
        """Pictures changed their size."""
        with self._lock:
            self._health = replace(self._health, size_changes=self._health.size_changes + 1)

    def now(self, lost: FrameCounts | None = None) -> SourceHealth:
        """The health at this moment, with a copy of `lost`."""
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
        """A picture of any kind came, which ends an outage."""
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
