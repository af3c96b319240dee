"""Results for WebSocket clients: the newest of each camera, with the number of skipped ones."""

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
    """A camera's result, numbered from the start of the hub."""

    camera: str
    number: int
    processed: FrameResult


@dataclass(eq=False, slots=True)
class Subscriber:
    """A client; used only in the server's loop."""

    cameras: frozenset[str] | None
    """None: all cameras."""
    period_s: float
    """Minimum time between two results of one camera."""
    since: dict[str, int]
    """Number of the last result sent, or of the newest when the client connected."""
    due_s: dict[str, float] = field(default_factory=dict)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    state_due: bool = True

    def follows(self, camera: str) -> bool:
        """True if the client requested this camera."""
        return self.cameras is None or camera in self.cameras


class ResultHub:
    """The newest result of each camera, for all clients.

    `offer` runs in the pipeline's thread and only keeps a reference while there are clients. A result is converted to
    JSON once for all clients, in the server's loop. All other methods run there.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: set[Subscriber] = set()
        self._newest: dict[str, Posted] = {}
        self._numbers: dict[str, int] = {}
        self._wake_pending = threading.Event()
        """Set while a wake-up of the loop is pending; many results cause one wake-up."""
        self._texts: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.missed = 0
        """Results that clients missed, summed over all clients."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop of the server."""
        self._loop = loop

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self._subscribers)

    def offer(self, camera: str, processed: FrameResult) -> None:
        """Receive a result."""
        number = self._numbers[camera] = self._numbers.get(camera, 0) + 1
        if not self._subscribers or self._loop is None:
            return
        self._newest[camera] = Posted(camera, number, processed)
        if not self._wake_pending.is_set():
            self._wake_pending.set()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._wake)

    def enter(self, cameras: frozenset[str] | None, per_s: float | None) -> Subscriber | None:
        """Add a client; None if the maximum is reached."""
        if len(self._subscribers) >= self._most:
            return None
        if not self._subscribers:
            self._newest.clear()  # left over from earlier clients
        period_s = 0.0 if per_s is None else 1 / per_s
        subscriber = Subscriber(cameras, period_s, dict(self._numbers))
        self._subscribers.add(subscriber)
        subscriber.fresh.set()
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a client."""
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._newest.clear()  # releases their images
            self._texts.clear()

    def tick(self) -> None:
        """Mark the state as due for all clients."""
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
            if posted.number <= last or not subscriber.follows(camera):
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
        """Time until the first delayed result is due; None if none is delayed."""
        if not subscriber.period_s:
            return None
        waiting = [
            subscriber.due_s.get(camera, 0.0)
            for camera, posted in self._newest.items()
            if subscriber.follows(camera) and posted.number > subscriber.since.get(camera, 0)
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
        self._wake_pending.clear()
        for subscriber in self._subscribers:
            subscriber.fresh.set()
