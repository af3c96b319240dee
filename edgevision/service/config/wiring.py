"""Sinks of a service, which stay open over a reload if they are unchanged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgevision.errors import SinkError
from edgevision.service.config.addressing import sink_address
from edgevision.service.config.settings import Settings, SinkSettings
from edgevision.sinks.addresses import WEBHOOK_SECRET, WEBHOOK_TOKEN, open_sink
from edgevision.sinks.sink import Sink

SinkOpener = Callable[[SinkSettings, Path, Mapping[str, str]], Sink]
"""Opens a sink; takes the folder for relative paths and the environment; raises an `EdgevisionError`."""


def open_live(sink: SinkSettings, folder: Path, environment: Mapping[str, str]) -> Sink:
    """Open the sink of these settings; it never blocks the pipeline."""
    own = {WEBHOOK_TOKEN: sink.token, WEBHOOK_SECRET: sink.secret}
    given = {name: value for name, value in own.items() if value is not None}
    return open_sink(sink_address(sink.address, folder), sink.options, {**environment, **given})


@dataclass(frozen=True, slots=True)
class Change:
    """New sinks before they are applied."""

    sinks: Mapping[str, Sink]
    """Kept and new sinks by name."""
    keep: Callable[[], None]
    """Apply the change."""
    discard: Callable[[], None]
    """Drop the change and close the new sinks."""


class Wiring:
    """Sinks by name and by settings; their user closes the ones that it no longer has."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], open_one: SinkOpener = open_live
    ) -> None:
        """Raises the errors of `open_one`; nothing is left open then."""
        self._environment = environment
        self._open_one = open_one
        self._known: dict[SinkSettings, Sink] = {}
        change = self.prepare(settings)
        change.keep()
        self.sinks = change.sinks

    def prepare(self, settings: Settings) -> Change:
        """Open the sinks that are not open yet."""
        opened: dict[SinkSettings, Sink] = {}
        # A renamed sink is still the same sink.
        wanted = {sink.name: replace(sink, name="") for sink in settings.sinks}
        try:
            for sink in wanted.values():
                if sink not in self._known:
                    opened[sink] = self._open_one(sink, settings.folder, self._environment)
        except BaseException:
            _close(opened)
            raise
        known = self._known | opened
        sinks = {name: known[sink] for name, sink in wanted.items()}

        def keep() -> None:
            self._known = {sink: known[sink] for sink in wanted.values()}
            self.sinks = sinks

        return Change(sinks, keep, lambda: _close(opened))

    def close(self) -> None:
        """Close all; only if no camera manager owns them."""
        _close(self._known)


def _close(sinks: Mapping[SinkSettings, Sink]) -> None:
    for sink in sinks.values():
        with contextlib.suppress(SinkError):  # its write errors are already logged
            sink.close()
