"""Results for sockets: each client gets the newest of each camera, and is told how many it did not get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import record_of


@dataclass(frozen=True, slots=True)
class Posted:
    """A camera's result, and its number since the hub began."""

    camera: str
    number: int
    processed: FrameResult


@dataclass(eq=False, slots=True)
class Subscriber:
    """A client; belongs to the server's loop."""

    cameras: frozenset[str] | None
    """None: all."""
    period_s: float
    """Least time between two results of one camera."""
    since: dict[str, int]
    """The number of the last result that it has had, or that was there when it came."""
    due_s: dict[str, float] = field(default_factory=dict)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    state_due: bool = True

    def wants(self, camera: str) -> bool:
        """True if the camera is among those it asked for."""
        return self.cameras is None or camera in self.cameras


class ResultHub:
    """The newest result of each camera, for all clients.

    `offer` is called in the pipeline's thread and keeps a reference while somebody listens, no more. Turning a result
    into JSON is done once for all clients, in the server's loop. All other methods are called there.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: set[Subscriber] = set()
        self._newest: dict[str, Posted] = {}
        self._numbers: dict[str, int] = {}
        self._told = threading.Event()
        """Set while the loop has been told of news that it has not looked at: it is woken once for many results."""
        self._texts: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.missed = 0
        """Results that a client did not get, of all clients."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work for a loop."""
        self._loop = loop

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._subscribers)

    def offer(self, camera: str, processed: FrameResult) -> None:
        """Take notice of a result."""
        number = self._numbers[camera] = self._numbers.get(camera, 0) + 1
        if not self._subscribers or self._loop is None:
            return
        self._newest[camera] = Posted(camera, number, processed)
        if not self._told.is_set():
            self._told.set()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._wake)

    def enter(self, cameras: frozenset[str] | None, per_s: float | None) -> Subscriber | None:
        """Somebody listens; None if as many do already as are allowed to."""
        if len(self._subscribers) >= self._most:
            return None
        if not self._subscribers:
            self._newest.clear()  # of the time when somebody listened last
        period_s = 0.0 if per_s is None else 1 / per_s
        subscriber = Subscriber(cameras, period_s, dict(self._numbers))
        self._subscribers.add(subscriber)
        subscriber.fresh.set()
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Somebody listens no more."""
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._newest.clear()  # pictures hang on them
            self._texts.clear()

    def tick(self) -> None:
        """It is time for everybody to be told the state."""
        for subscriber in self._subscribers:
            subscriber.state_due = True
            subscriber.fresh.set()

    async def next(self, subscriber: Subscriber, state: Callable[[], str]) -> list[str]:
        """The messages that are due, as JSON: newest results, and the state once a second; waits for the first."""
        while True:
            wait_s = self._until_due_s(subscriber)
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                await asyncio.wait_for(subscriber.fresh.wait(), wait_s)
            subscriber.fresh.clear()
            messages = self._take(subscriber)
            if subscriber.state_due:
                subscriber.state_due = False
                messages.append(state())
            if messages:
                return messages

    def _take(self, subscriber: Subscriber) -> list[str]:
        messages = []
        now_s = time.monotonic()
        for camera, posted in list(self._newest.items()):
            last = subscriber.since.get(camera, 0)
            if posted.number <= last or not subscriber.wants(camera):
                continue
            due_s = subscriber.due_s.get(camera, 0.0)
            if now_s < due_s:
                continue
            missed = posted.number - last - 1
            self.missed += missed
            subscriber.since[camera] = posted.number
            subscriber.due_s[camera] = max(due_s, now_s - subscriber.period_s) + subscriber.period_s
            messages.append(f'{{"type":"result","missed":{missed},{self._text(posted)}')
        return messages

    def _until_due_s(self, subscriber: Subscriber) -> float | None:
        """Until the first result that waits for its time; None if none does."""
        if not subscriber.period_s:
            return None
        waiting = [
            subscriber.due_s.get(camera, 0.0)
            for camera, posted in self._newest.items()
            if subscriber.wants(camera) and posted.number > subscriber.since.get(camera, 0)
        ]
        return max(min(waiting) - time.monotonic(), 0.0) if waiting else None

    def _text(self, posted: Posted) -> str:
        """A result as JSON without its opening brace; made once for all clients."""
        number, text = self._texts.get(posted.camera, (0, ""))
        if number != posted.number:
            record = {"camera": posted.camera, **record_of(posted.processed)}
            text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))[1:]
            self._texts[posted.camera] = (posted.number, text)
        return text

    def _wake(self) -> None:
        self._told.clear()
        for subscriber in self._subscribers:
            subscriber.fresh.set()
