"""Distribution of results to listeners, beside the sinks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink

log = logging.getLogger(__name__)

Listener = Callable[[str, FrameResult], None]
"""Receives the source's name and each result, in the pipeline's thread. It must be fast, and copy the image if it keeps
it: sinks may draw into it afterwards.
"""


class ResultBroadcast:
    """Passes results to listeners; a listener that raises is removed."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` from now on; the returned function removes it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return lambda: self._remove(listener)

    def of(self, name: str) -> Sink:
        """The sink that passes a source's results on under that name."""
        return _TapSink(self, name)

    def publish(self, name: str, processed: FrameResult) -> None:
        """Call all listeners."""
        for listener in self._listeners:
            try:
                listener(name, processed)
            except Exception:
                log.exception("a listener failed and was removed")
                self._remove(listener)

    def _remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)


class _TapSink(Sink):
    """Sink of one source that passes results to the broadcast."""

    takes_images = False

    def __init__(self, tap: ResultBroadcast, name: str) -> None:
        self._broadcast = tap
        self._name = name

    def write(self, processed: FrameResult) -> None:
        """Call all listeners."""
        self._broadcast.publish(self._name, processed)

    def close(self) -> None:
        """Do nothing: listeners are not closed."""
