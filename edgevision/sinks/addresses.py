"""Opens sinks by their addresses."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from edgevision.errors import MissingExtraError, UsageError
from edgevision.settings.kinds import Flag, Number, Texts
from edgevision.settings.setting import setting
from edgevision.sinks.background import CAPACITY, BackgroundSink
from edgevision.sinks.files.csv_table import CsvSink
from edgevision.sinks.files.event_folder import Retention
from edgevision.sinks.files.event_images import EventImageOptions, EventImageSink
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.sink import Sink
from edgevision.sources.addresses import public_name

EXPECTED = "expected FILE.jsonl, FILE.csv, mqtt://HOST/PREFIX, mqtts://, http://, https:// or events:FOLDER"
MQTT_USER = "EDGEVISION_MQTT_USER"
MQTT_PASSWORD = "EDGEVISION_MQTT_PASSWORD"
WEBHOOK_SECRET = "EDGEVISION_WEBHOOK_SECRET"
WEBHOOK_TOKEN = "EDGEVISION_WEBHOOK_TOKEN"
FILE_PATIENCE_S = 10.0
"""Time that a file's run waits for a broker before it ends with an error."""
EVENT_IMAGE_CAPACITY = 32
"""Queue capacity of event images, which are full frames."""


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of sinks."""

    live: bool = True
    """True: never block the pipeline. Failed writes are lost and counted, and existing files are continued. False:
    files are truncated, and a failed write ends the run.
    """
    capacity: int = field(
        default=CAPACITY,
        metadata=setting(
            Number(1, 1_000_000, whole=True),
            "Maximum number of queued results; further ones are lost and counted.",
        ),
    )
    every_result: bool | None = field(
        default=None,
        metadata=setting(
            Flag(),
            "Send all results, or only those with events; default: all to MQTT, those with events to webhooks.",
        ),
    )
    keep: int = field(
        default=1000,
        metadata=setting(
            Number(1, whole=True),
            "Maximum number of event images; the oldest are deleted first.",
            option="--keep",
        ),
    )
    max_mib: float = field(
        default=500.0,
        metadata=setting(
            Number(0, least_open=True), "Maximum disk space of event images, in MiB.", option="--keep-mib"
        ),
    )
    max_days: float = field(
        default=30.0,
        metadata=setting(
            Number(0, least_open=True), "Delete event images after this many days.", option="--keep-days"
        ),
    )
    classes: tuple[str, ...] = field(
        default=(),
        metadata=setting(
            Texts("names of classes", commas=True),
            "Also keep images of frames that contain these classes; requires --events (in a deployment file: the"
            " address `events:`).",
            option="--event-classes",
            metavar="CLASS,...",
        ),
    )
    gap_s: float = field(
        default=10.0,
        metadata=setting(
            Number(0), "Minimum seconds between two images of one class of `classes`, for `events:`."
        ),
    )

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise UsageError(f"capacity is {self.capacity}; expected 1 or more results")


def open_sink(
    text: str, options: SinkOptions | None = None, environment: Mapping[str, str] | None = None
) -> Sink:
    """Open the sink of an address; with `live` it never blocks.

    Users and passwords come from the address or, better, from `environment` (default: this process's own). Raises
    `UsageError` for an invalid address, `MissingExtraError`, and `SinkError`.
    """
    options = options or SinkOptions()
    environment = os.environ if environment is None else environment
    capacity = options.capacity
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    match scheme[1].lower() if scheme else "":
        case "mqtt" | "mqtts":
            sink = _open_mqtt(text, options, environment)
        case "http" | "https":
            sink = _open_webhook(text, options, environment)
        case "events":
            sink = _open_events(text[len("events:") :], options)
            capacity = min(capacity, EVENT_IMAGE_CAPACITY)
        case _:
            sink = _open_file(text, append=options.live)
    return BackgroundSink(sink, capacity) if options.live else sink


def _open_file(text: str, *, append: bool) -> Sink:
    path = Path(text)
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return JsonlSink(path, append=append)
        case ".csv":
            return CsvSink(path, append=append)
    raise UsageError(f"{public_name(text)} is not the address of a sink; {EXPECTED}")


def _open_mqtt(text: str, options: SinkOptions, environment: Mapping[str, str]) -> Sink:
    if importlib.util.find_spec("paho") is None:
        raise MissingExtraError("paho-mqtt", "mqtt", "publishing to an MQTT broker")
    # imported here because it belongs to an extra
    from edgevision.sinks.mqtt import Broker, MqttSink

    parts = _split(text)
    prefix = unquote(parts.path.strip("/")) or "edgevision"
    if re.search(r"[+#\0]", prefix) or prefix.startswith("$") or "#" in text or parts.query:
        raise UsageError(
            f"the topic of {public_name(text)} contains +, #, ? or $, which MQTT forbids for publishers"
        )
    tls = parts.scheme.lower() == "mqtts"
    user, password = _credentials(parts)
    broker = Broker(
        parts.hostname or "",
        parts.port or (8883 if tls else 1883),
        prefix,
        tls=tls,
        user=user if user is not None else environment.get(MQTT_USER),
        password=password if password is not None else environment.get(MQTT_PASSWORD),
    )
    patience_s = 0.5 if options.live else FILE_PATIENCE_S
    return MqttSink(broker, every_result=options.every_result is not False, patience_s=patience_s)


def _open_webhook(text: str, options: SinkOptions, environment: Mapping[str, str]) -> Sink:
    if importlib.util.find_spec("urllib3") is None:
        raise MissingExtraError("urllib3", "webhook", "posting to a webhook")
    # imported here because it belongs to an extra
    from edgevision.sinks.webhook import Hook, WebhookSink

    parts = _split(text)
    user, password = _credentials(parts)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    hook = Hook(
        address.geturl(),
        f"{address.scheme}://{address.netloc}",  # many services have the secret in the path
        user_password=None if user is None else f"{user}:{password or ''}",
        token=environment.get(WEBHOOK_TOKEN),
        secret=environment.get(WEBHOOK_SECRET),
    )
    return WebhookSink(hook, every_result=options.every_result is True)


def _open_events(text: str, options: SinkOptions) -> Sink:
    folder, _, query = text.partition("?")
    if not folder:
        raise UsageError("events: has no folder; expected for example events:FOLDER?keep=1000")
    options = _with_query(options, query)
    retention = Retention(options.keep, int(options.max_mib * 2**20), options.max_days * 86400)
    return EventImageSink(Path(folder), EventImageOptions(retention, options.classes, options.gap_s))


def _with_query(options: SinkOptions, query: str) -> SinkOptions:
    """Replace options by those in the address."""
    kinds: dict[str, Callable[[str], Any]] = {
        "keep": int,
        "max_mib": float,
        "max_days": float,
        "classes": lambda names: tuple(name.strip() for name in names.split(",") if name.strip()),
        "gap_s": float,
    }
    given: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in kinds:
            raise UsageError(f"events: has no option {key!r}; expected {', '.join(kinds)}")
        try:
            given[key] = kinds[key](value)
        except ValueError:
            raise UsageError(f"{key}={value} of events: is not a number") from None
    return dataclasses.replace(options, **given)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"{public_name(text)} has no valid host and port; {EXPECTED}")
    return parts


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    user = None if parts.username is None else unquote(parts.username)
    return user, None if parts.password is None else unquote(parts.password)
