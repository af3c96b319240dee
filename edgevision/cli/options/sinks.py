"""Options of commands with sinks: tables, brokers, webhooks, event images."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from edgevision.analytics.filters import labels_from_names
from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.options.defined import group_options
from edgevision.errors import UsageError
from edgevision.settings.setting import settings_of
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.opening import refuse_overwriting
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source


@dataclass(frozen=True, slots=True)
class SinkArguments:
    """Sinks from the options that several commands share."""

    csv: Path | None = None
    mqtt: tuple[str, ...] = ()
    webhook: tuple[str, ...] = ()
    events: Path | None = None
    options: SinkOptions = field(default_factory=SinkOptions)
    webhook_results: bool = False

    def check_targets(self) -> None:
        """Raise `UsageError` for an option of a sink that was not requested."""
        if self.webhook_results and not self.webhook:
            raise UsageError("--webhook-results has no effect without --webhook; expected --webhook URL too")
        if self.events is not None:
            return
        for found in settings_of(SinkOptions):  # every one with an option concerns event images
            if found.option and found.value(self.options) != found.default:
                raise UsageError(
                    f"{found.option} has no effect without --events; expected --events FOLDER too"
                )

    def check(self, analytics: AnalyticsOptions, classes: tuple[str, ...] | None = None) -> None:
        """Raise `UsageError` for a sink that would never receive anything; `classes` are the model's, if known."""
        if classes is not None and self.options.classes:
            labels_from_names(self.options.classes, classes)
        if analytics.lines or analytics.zones:
            return
        if self.webhook and not self.webhook_results:
            raise UsageError(
                "--webhook posts events, and nothing creates events; expected --line or --zone, or"
                " --webhook-results"
            )
        if self.events is not None and not self.options.classes:
            raise UsageError(
                "--events keeps images of events, and nothing creates events; expected --line or --zone, or"
                " --event-classes"
            )

    def open(
        self, stack: contextlib.ExitStack, sources: Sequence[Source] = (), *, jsonl: Path | None = None
    ) -> list[Sink]:
        """The sinks, which `stack` closes; `jsonl` is opened in the same way.

        If all sources are files, the run waits for its sinks, and a sink's error ends it. A live run never waits for a
        sink. Raises `UsageError` if a file would replace a source.
        """
        options = replace(self.options, live=not sources or any(source.live for source in sources))
        files = [path for path in (jsonl, self.csv) if path is not None]
        for path in files:
            for source in sources:
                refuse_overwriting(source, path)
        found = [] if jsonl is None else [stack.enter_context(_open_lines(jsonl, live=options.live))]
        texts = [*([] if self.csv is None else [f"{self.csv}"]), *self.mqtt]
        found += [stack.enter_context(open_sink(text, options)) for text in texts]
        posted = replace(options, every_result=self.webhook_results)
        found += [stack.enter_context(open_sink(text, posted)) for text in self.webhook]
        if self.events is not None:
            found.append(stack.enter_context(open_sink(f"events:{self.events}", options)))
        return found


def sink_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--csv`` to ``--keep-days``, passed on as the one argument `sinks`."""

    @functools.wraps(command)
    def with_sinks(
        *args: object,
        csv: Path | None,
        mqtt: tuple[str, ...],
        webhook: tuple[str, ...],
        webhook_results: bool,
        events: Path | None,
        options: SinkOptions,
        **others: object,
    ) -> object:
        if csv is not None and csv.suffix.lower() != ".csv":
            raise UsageError(f"--csv {csv} has another suffix; expected a name that ends in .csv")
        sinks = SinkArguments(csv, mqtt, webhook, events, options, webhook_results)
        sinks.check_targets()
        return command(*args, sinks=sinks, **others)

    decorated = group_options(SinkOptions, "options")(with_sinks)
    for option in reversed(_options()):
        decorated = option(decorated)
    return decorated


def sink_lines(sinks: Sequence[Sink]) -> list[str]:
    """A line for each sink that wrote or lost results; call it after closing."""
    lines = []
    for health in (sink.health for sink in sinks):
        lost = (
            f", {health.lost} lost ({health.last_error or 'results arrived too fast'})" if health.lost else ""
        )
        if health.written or health.lost:
            lines.append(f"{health.name}: {health.written} results written{lost}")
    return lines


def _open_lines(path: Path, *, live: bool) -> Sink:
    """JSON lines in a file with any suffix, such as /dev/stdout."""
    sink = JsonlSink(path, append=live)
    return BackgroundSink(sink) if live else sink


def _options() -> list[Callable[..., Any]]:
    path = click.Path(path_type=Path)
    return [
        click.option(
            "--csv", type=path, help="CSV file with one row per detection; events go to NAME.events.csv."
        ),
        click.option(
            "--mqtt",
            multiple=True,
            metavar="URL",
            help="Publish results and events to this broker: mqtt://HOST/PREFIX or mqtts://.",
        ),
        click.option(
            "--webhook",
            multiple=True,
            metavar="URL",
            help="Post events (of --line and --zone) as JSON to this URL.",
        ),
        click.option(
            "--webhook-results", is_flag=True, help="Post every result, not only events; requires --webhook."
        ),
        click.option(
            "--events",
            type=path,
            metavar="FOLDER",
            help="Keep an image of each event (of --line and --zone) in this folder.",
        ),
    ]
