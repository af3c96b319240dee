"""MQTT sink for results and events."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from edgevision.errors import SinkError, first_line
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import event_records, json_of, record_of
from edgevision.sinks.sink import Sink, without_image
from edgevision.sinks.waiting import has_events

KEEPALIVE_S = 15
"""Keep-alive: a silent broker is disconnected after this time, even if it never answered the connection."""
CONNECT_S = 3.0
ACKNOWLEDGE_S = 5.0
FAREWELL_S = 0.3
STALE_S = 10.0
"""Older detections are dropped as useless; events are always sent."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker with the prefix of our topics."""

    host: str
    port: int
    prefix: str = "edgevision"
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def public_name(self) -> str:
        """Its address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}/{self.prefix}"


class MqttSink(Sink):
    """Publishes JSON to ``PREFIX/CAMERA/detections`` and, one message per event, to ``PREFIX/CAMERA/events``.

    Detections have QoS 0, because newer ones follow at once. Events have QoS 1, at least once; `event_id` identifies
    repetitions. Neither is retained, because a new subscriber would receive an old message as current.
    ``PREFIX/status`` is retained, ``online`` or ``offline``; the broker publishes the latter when the connection breaks
    (last will).

    Only one result is in progress at a time, so the library's own queue never grows.
    """

    takes_images = False

    def __init__(self, broker: Broker, *, every_result: bool = True, patience_s: float = 0.5) -> None:
        """`patience_s`: time that `write` waits for a connection."""
        self._broker = broker
        self._every_result = every_result
        self._patience_s = patience_s
        self._run = uuid.uuid4()
        self._connected = threading.Event()
        self._refusal = ""
        self._closed = False
        self._under_way: tuple[FrameResult, list[mqtt.MQTTMessageInfo]] | None = None
        self._client = self._new_client()
        try:
            self._client.connect_async(broker.host, broker.port, keepalive=KEEPALIVE_S)
        except ValueError as error:
            raise SinkError(f"{broker.public_name}: {first_line(error)}") from error
        self._client.loop_start()

    @property
    def public_name(self) -> str:
        """The broker's address without user and password."""
        return self._broker.public_name

    def write(self, processed: FrameResult) -> None:
        """Publish, and wait for the broker's acknowledgement."""
        if has_events(processed) or self._every_result:
            self._publish(processed)

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """Keep everything except the image."""
        return without_image(processed) if self._every_result or has_events(processed) else None

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Publish like `write`, but drop detections that waited too long."""
        for processed in batch:
            if _is_stale(processed) and not has_events(processed):
                self.lost += 1
            else:
                self._publish(processed)

    def close(self) -> None:
        """Publish ``offline`` if connected, and disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._connected.is_set():
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.publish(self._status, b"offline", qos=1, retain=True).wait_for_publish(
                    FAREWELL_S
                )
        self._client.disconnect()
        # loop_stop joins the library's thread, which may hang while it connects.
        ending = threading.Thread(target=self._client.loop_stop, name="mqtt end", daemon=True)
        ending.start()
        ending.join(FAREWELL_S)

    @property
    def _status(self) -> str:
        return f"{self._broker.prefix}/status"

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"edgevision-{self._run.hex[:12]}")
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(1, 10)
        client.will_set(self._status, b"offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set_context(ssl.create_default_context())
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        self._refusal = ""
        client.publish(self._status, b"online", qos=1, retain=True)
        self._connected.set()

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, _reason: ReasonCode, _properties: Any
    ) -> None:
        self._connected.clear()

    def _publish(self, processed: FrameResult) -> None:
        if not self._connected.wait(self._patience_s):
            reason = (
                f"the broker rejects the connection: {self._refusal}" if self._refusal else "no connection"
            )
            raise SinkError(f"{self.public_name}: {reason}")
        if self._under_way is None or self._under_way[0] is not processed:
            self._under_way = (processed, self._hand_over(processed))
        try:
            for message in self._under_way[1]:
                message.wait_for_publish(ACKNOWLEDGE_S)
                if not message.is_published():
                    # The library keeps the message; the next attempt waits for the same one.
                    raise SinkError(f"{self.public_name}: not acknowledged within {ACKNOWLEDGE_S:g} s")
        except (RuntimeError, ValueError) as error:
            self._under_way = None
            raise SinkError(f"{self.public_name}: {first_line(error)}") from error
        self._under_way = None
        self.written += 1

    def _hand_over(self, processed: FrameResult) -> list[mqtt.MQTTMessageInfo]:
        camera = f"{self._broker.prefix}/{topic_level(processed.frame.source)}"
        messages = [
            self._client.publish(f"{camera}/events", json_of(event), qos=1)
            for event in event_records(processed, self._run)
        ]
        if self._every_result and not _is_stale(processed):
            messages.append(self._client.publish(f"{camera}/detections", json_of(record_of(processed))))
        return messages


def _is_stale(processed: FrameResult) -> bool:
    return time.perf_counter_ns() - processed.frame.captured_ns > STALE_S * 1e9


def topic_level(name: str) -> str:
    """A camera's name as one topic level; special characters are percent-encoded, so names stay unique."""
    plain = "".join(
        quote(letter, safe="") if letter in "/+#%" or not letter.isprintable() else letter for letter in name
    )
    # Topics that begin with $ belong to the broker; a level must not be empty.
    return plain or "%"
