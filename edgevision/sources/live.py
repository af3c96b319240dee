"""Live camera: reconnects and returns the newest valid frame."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn

from edgevision.errors import EdgevisionError, SourceError, first_line
from edgevision.sources.channel import Channel, ChannelClosed
from edgevision.sources.demand import Demand
from edgevision.sources.feeds.capture import open_device
from edgevision.sources.feeds.feed import Feed, FeedFrame
from edgevision.sources.feeds.gaps import GapCounter
from edgevision.sources.feeds.v4l2 import DeviceOptions
from edgevision.sources.frames import Source, SourceFrame
from edgevision.sources.freeze import FreezeDetector, Verdict
from edgevision.sources.health import HealthRecord, SourceHealth
from edgevision.sources.options import CameraOptions

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 0.7
CHECK_S = 0.5
"""Period in which a waiting reader checks the limit of an outage."""


class LiveSource(Source):
    """A live feed that is reopened whenever it ends.

    A thread connects, decodes and keeps only the newest frame, so that a slow reader never gets an old one. Frozen,
    black and damaged frames are counted and withheld. The start and the end of an outage are each logged once.
    """

    def __init__(
        self, name: str, open_feed: Callable[[], Feed], options: CameraOptions | None = None
    ) -> None:
        super().__init__(name, live=True, fps=None, frame_count=None)
        self._open_feed = open_feed
        self._options = options or CameraOptions()
        self._record = HealthRecord()
        self._watch = FreezeDetector(self._options.freeze)
        self._frames: Channel[tuple[int, FeedFrame]] = Channel(1, newest=True)
        self._demand = Demand()
        self._closing = threading.Event()
        self._feed: Feed | None = None
        self._chance = random.Random()
        self._failures = 0
        self._delay_s = 0.0
        self._failure = ""
        self._withheld_now = 0
        self._last_size_wh: tuple[int, int] | None = None
        self._delivered = 0
        self._last_index = -1
        self._thread = threading.Thread(target=self._keep_open, name=f"camera {name}", daemon=True)
        self._thread.start()
        self._first = self._await_first() if self._options.wait_first else None

    @property
    def health(self) -> SourceHealth:
        """The current health."""
        return self._record.now(self.lost)

    def read(self) -> SourceFrame | None:
        """The newest unread frame; waits through outages.

        Raises `SourceError` if an outage exceeds `CameraOptions.outage_timeout_s`.
        """
        wait_s = None if self._options.outage_timeout_s is None else CHECK_S
        while (frame := self._take(wait_s)) is None and not self.ended:
            pass
        return frame

    def poll(self) -> SourceFrame | None:
        """The newest unread frame, or None at once. Raises like `read`."""
        return self._take(0)

    def close(self) -> None:
        """Stop the thread, which closes the feed. A thread that hangs in a driver or waits for data ends later."""
        self._closing.set()
        self._frames.abort()
        self._notify()
        if (feed := self._feed) is not None:
            feed.interrupt()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_TIMEOUT_S)

    def _await_first(self) -> tuple[int, FeedFrame]:
        within_s = self._options.first_frame_s
        try:
            first = self._frames.get(within_s)
        except ChannelClosed:
            first = None
        if first is None:
            health = self.health
            self.close()
            only = health.state if health.state in ("frozen", "black") else "damaged"
            reason = self._failure or (
                f"it delivered only {only} frames"
                if health.withheld
                else f"no frame within {within_s:g} s: another program may use the camera, or its cable may be faulty"
            )
            raise SourceError(f"{self.name} delivers no frames: {reason}")
        return first

    def _take(self, wait_s: float | None) -> SourceFrame | None:
        """The newest frame; None after the time-out, or at the end if `ended` is true."""
        item, self._first = self._first, None
        try:
            item = self._frames.get(0 if item else wait_s) or item
        except ChannelClosed:
            if not self._closing.is_set():  # an error of our own ended the thread
                raise SourceError(f"{self.name}: {self._failure or 'its thread ended'}") from None
        if self._closing.is_set():
            self.ended = True
            return None
        if item is None:
            self._give_up_in_time()
            return None
        self._demand.taken()
        index, frame = item
        self.lost.dropped += index - self._last_index - 1
        self._last_index = index
        return SourceFrame(
            frame.pixels,
            index,
            self.name,
            frame.captured_ns,
            frame.captured_at,
            None,
            frame.decode_ns,
            frame.clock,
        )

    def _give_up_in_time(self) -> None:
        """Raise `SourceError` if an outage exceeds its limit."""
        limit_s = self._options.outage_timeout_s
        if limit_s is None:
            return
        health = self.health
        outage = health.last_outage
        if health.state in ("connecting", "reconnecting") and outage and outage.seconds > limit_s:
            raise SourceError(f"{self.name} has been away for {outage.seconds:.1f} s: {outage.reason}")

    def _keep_open(self) -> None:
        """Connect and deliver until closed; with `wait_first`, a failed first connection ends the thread."""
        try:
            while not self._closing.is_set():
                if not self._connect_and_deliver():
                    return
                self._closing.wait(self._delay_s)
        except ChannelClosed:
            pass
        finally:
            self._frames.end()
            self._notify()

    def _connect_and_deliver(self) -> bool:
        """Run one connection from start to end; False if no further attempt is useful."""
        connected_s = None
        try:
            self._feed = feed = self._open_feed()
            connected_s = time.monotonic()
            feed.demand = self._demand
            try:
                if self._closing.is_set():  # closed while it was connecting
                    raise ChannelClosed
                self.fps = feed.fps or self.fps
                self._deliver(feed)
            finally:
                self._feed = None
                feed.close()
        except EdgevisionError as error:
            reason = first_line(error)
        except ChannelClosed:
            raise
        except Exception as error:  # of a library or our own; a working camera must survive it
            reason = f"{type(error).__name__}: {first_line(error)}"
            log.exception("%s", self.name)
        if self._closing.is_set() or (self._options.wait_first and self._delivered == 0):
            self._failure = reason
            return False
        if self._record.lost(reason):
            if self._record.now().state == "connecting":
                log.warning("%s does not answer: %s; retrying until it does", self.name, reason)
            else:
                log.warning("%s: connection lost: %s; reconnecting", self.name, reason)
        else:
            log.debug("%s: still away: %s", self.name, reason)
        # A camera that disconnects right after answering also gets growing delays.
        if connected_s is not None and time.monotonic() - connected_s > self._delay_s:
            self._failures = 0
        self._delay_s = self._options.backoff.delay_s(self._failures, self._chance)
        self._failures += 1
        return True

    def _deliver(self, feed: Feed) -> NoReturn:
        """Pass valid frames on until the feed ends with an error."""
        first, new, gaps = True, self._delivered == 0, GapCounter()
        while True:
            try:
                frame = feed.read()
            except Exception:
                self.lost.missed += gaps.end()
                raise
            if self._closing.is_set():
                raise ChannelClosed
            if frame.stamp_ns is not None:
                self.lost.missed += sum(gaps.add(stamp) for stamp in (*frame.skipped_ns, frame.stamp_ns))
            if frame.skipped_ns:
                self._delivered += len(frame.skipped_ns)  # the reader counts the gap as dropped
                self._record.undecoded(len(frame.skipped_ns))
            verdict: Verdict = self._watch.look(frame.thumbnail, time.monotonic())
            if frame.damaged:
                self._record.faulty("damaged")
            elif verdict == "good":
                self._hand_on(frame)
            else:
                self._withhold(verdict)
            if first and (outage := self._record.now().last_outage) is not None:
                log.warning("%s: %s after %.1f s", self.name, "there" if new else "back", outage.seconds)
            first = False

    def _hand_on(self, frame: FeedFrame) -> None:
        self._record.good()
        if self._withheld_now:
            log.warning("%s: valid frames again; %d were withheld", self.name, self._withheld_now)
            self._withheld_now = 0
        if self._last_size_wh not in (None, frame.size_wh):
            self._record.resized()
            log.warning("%s: frames are now %dx%d", self.name, *frame.size_wh)
        elif self._last_size_wh is None:
            self.size_wh = frame.size_wh
        self._last_size_wh = frame.size_wh
        self._frames.put((self._delivered, frame))
        self._delivered += 1
        self._notify()

    def _withhold(self, fault: Literal["frozen", "black"]) -> None:
        if self._record.faulty(fault):
            what = "repeats one image" if fault == "frozen" else "is entirely black"
            log.warning("%s %s; its frames are withheld until that ends", self.name, what)
        self._withheld_now += 1


def open_camera(
    index: int,
    *,
    device: DeviceOptions | None = None,
    options: CameraOptions | None = None,
    name: str | None = None,
    devices: Path = Path("/dev"),
) -> Source:
    """Open a camera by its index in the mode of `device`; `devices` is Linux's device folder."""
    options = options or CameraOptions()
    absent = _why_absent(index, devices)
    if absent and options.wait_first:
        raise SourceError(f"camera {index} does not exist: {absent}")

    def connect() -> Feed:
        if absent := _why_absent(index, devices):
            raise SourceError(absent)
        return open_device(index, device or DeviceOptions(), devices)

    return LiveSource(name or f"camera {index}", connect, options)


def _why_absent(index: int, devices: Path) -> str | None:
    """The reason why a camera is absent; None if it exists, or if the system does not list cameras."""
    if sys.platform != "linux" or (devices / f"video{index}").exists():
        return None
    present = ", ".join(str(path) for path in sorted(devices.glob("video*"))) or "none"
    return f"there is no {devices / f'video{index}'}; cameras here: {present}"
