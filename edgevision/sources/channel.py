"""The hand-over between two stages that run in threads of their own."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):  # noqa: N818  # not an error: the ordinary end of a stream
    """Nothing comes any more, or nobody takes any more."""


class Channel(Generic[T]):
    """A bounded queue with an end.

    `put` waits while `capacity` items wait, so that a fast producer is held back. With `newest` it never waits: the
    item that waited longest is displaced and handed back.
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest = newest
        self._ended = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Add an item; returns the one that it displaced. Raises `ChannelClosed` after `abort`."""
        with self._changed:
            displaced = None
            if self._newest and len(self._items) >= self._capacity:
                displaced = self._items.popleft()
            self._changed.wait_for(lambda: self._aborted or len(self._items) < self._capacity)
            if self._aborted:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()
            return displaced

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item, or None if none came in time.

        Raises `ChannelClosed` after `abort`, and after `end` once everything has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._aborted, timeout_s)
            if self._aborted or (self._ended and not self._items):
                raise ChannelClosed
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def take(self) -> T:
        """`get` that waits as long as it takes."""
        item = self.get()
        assert item is not None, "without a timeout there is an item or an exception"
        return item

    def end(self) -> None:
        """Say that no more comes; what waits can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake both sides; what waits is dropped."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()
