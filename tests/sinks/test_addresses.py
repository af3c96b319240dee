"""Parsing of sink addresses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgevision.errors import MissingExtraError, UsageError
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.files.csv_table import CsvSink
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.mqtt import MqttSink
from edgevision.sinks.sink import Sink
from edgevision.sinks.webhook import WebhookSink
from tests.sinks.broker import free_port
from tests.sinks.results import fresh

FILE = SinkOptions(live=False)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("{}/a.jsonl", JsonlSink, "{}/a.jsonl"),
        ("{}/a.CSV", CsvSink, "{}/a.CSV"),
        ("http://me:pw@h.example:81/hook?t=1", WebhookSink, "http://h.example:81"),
        ("https://[::1]/hook", WebhookSink, "https://[::1]"),
        ("mqtt://me:pw@127.0.0.1:{port}/home/cams/", MqttSink, "mqtt://127.0.0.1:{port}/home/cams"),
        ("mqtts://[::1]", MqttSink, "mqtts://[::1]:8883/edgevision"),
    ],
)
def test_an_address_is_a_sink(tmp_path: Path, text: str, kind: type[Sink], name: str) -> None:
    port = free_port()
    with open_sink(text.format(tmp_path, port=port), FILE, {}) as sink:
        assert type(sink) is kind
        assert sink.public_name == name.format(tmp_path, port=port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "results.txt",
            r"results\.txt is not the address of a sink; expected FILE\.jsonl, FILE\.csv, mqtt://",
        ),
        ("ftp://me:pw@h/x", r"ftp://h/x is not the address of a sink"),
        ("mqtt:///x", "has no valid host and port"),
        ("http://h:99999/", "has no valid host and port"),
        ("mqtt://me:pw@h/a/#", r"the topic of mqtt://h/a/ contains \+, #"),
        ("mqtt://h/%24SYS", r"the topic of mqtt://h/%24SYS contains"),
        ("events:", "events: has no folder"),
    ],
)
def test_an_invalid_address_is_reported_without_passwords(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        open_sink(text, FILE, {})
    assert "pw" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "module", "extra"), [("mqtt://h", "paho", "mqtt"), ("http://h", "urllib3", "webhook")]
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, text: str, module: str, extra: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(MissingExtraError, match=rf"pip install 'edgevision\[{extra}\]'"):
        open_sink(text, FILE, {})


def test_a_live_sink_continues_its_file_and_a_file_s_run_truncates_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for _ in range(2):
        sink = open_sink(str(path))
        assert isinstance(sink, BackgroundSink)
        sink.write(fresh())
        sink.close()
    assert len(path.read_bytes().splitlines()) == 2
    with open_sink(str(path), FILE) as plain:
        plain.write(fresh())
    assert len(path.read_bytes().splitlines()) == 1


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="capacity is 0"):
        SinkOptions(capacity=0)
