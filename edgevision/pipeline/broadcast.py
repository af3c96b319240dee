"""Where others look at results as they come, beside the sinks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink

log = logging.getLogger(__name__)

Listener = Callable[[str, FrameResult], None]
"""Called with the source's name and each result, in the pipeline's thread: it must be quick, and copy what it keeps of
the image, for sinks may draw into it afterwards."""


class ResultBroadcast:
    """Hands results to listeners; one that raises is taken for broken and called no more."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` from now on; what is returned ends that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return lambda: self._remove(listener)

    def of(self, name: str) -> Sink:
        """The sink by which a source's results come here, under that name."""
        return _TapSink(self, name)

    def publish(self, name: str, processed: FrameResult) -> None:
        """Call all listeners."""
        for listener in self._listeners:
            try:
                listener(name, processed)
            except Exception:
                log.exception("a listener of the camera manager failed and is called no more")
                self._remove(listener)

    def _remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)


class _TapSink(Sink):
    """One source's way to the tap."""

    def __init__(self, tap: ResultBroadcast, name: str) -> None:
        self._broadcast = tap
        self._name = name

    def write(self, processed: FrameResult) -> None:
        """Call all listeners."""
        self._broadcast.publish(self._name, processed)

    def close(self) -> None:
        """Listeners need no end."""
