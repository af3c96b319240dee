"""A real MQTT broker, Debian's mosquitto, and a listener."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.sinks.results import wait_until

SERVER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def require_mosquitto() -> str:
    """The program; skips without it, fails without it where EDGEVISION_REQUIRE_MQTT is set."""
    if SERVER is None:
        message = "no mosquitto here: apt-get install mosquitto"
        if os.environ.get("EDGEVISION_REQUIRE_MQTT"):
            pytest.fail(message)
        pytest.skip(message)
    return SERVER


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class MosquittoBroker:
    """Runs from `start` to `stop`, on the same port each time."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        self._program = require_mosquitto()
        self._config = folder / "mosquitto.conf"
        # Started by root it would become another user, who may not read this folder.
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", "user root", *settings]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with tempfile.TemporaryFile() as printed:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config], stdout=printed, stderr=printed
            )
            if not wait_until(self._answers):
                self.stop(kill=True)
                printed.seek(0)
                raise AssertionError(f"mosquitto does not answer: {printed.read().decode()}")

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> MosquittoBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Listener:
    """Hears everything under a prefix; messages as (topic, payload, qos, retained)."""

    def __init__(self, port: int, prefix: str = "#", user: tuple[str, str] | None = None) -> None:
        self.heard: list[tuple[str, bytes, int, bool]] = []
        self._ready = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(*user)
        self._client.on_connect = lambda client, *_: client.subscribe(prefix, qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, bytes(message.payload), message.qos, message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert wait_until(lambda: self._ready)

    def _on_subscribe(self, *_: Any) -> None:
        self._ready = True

    def topics(self) -> list[str]:
        return [topic for topic, *_ in self.heard]

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
