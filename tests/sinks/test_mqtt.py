"""Publishing to a real broker that starts, stops, refuses and hangs."""

from __future__ import annotations

import gc
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.errors import SinkError
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.mqtt import Broker, MqttSink, topic_level
from edgevision.sinks.record import record_of
from edgevision.sources.backoff import Backoff
from tests.sinks.broker import Listener, MosquittoBroker, free_port
from tests.sinks.results import CROSSED, eventful, fresh, processed, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = Backoff(first_s=0.02, longest_s=0.1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    with MosquittoBroker(tmp_path, "allow_anonymous true") as running:
        yield running


def test_detections_and_events_have_their_topics(broker: MosquittoBroker) -> None:
    left = AnalyticsEvent("left", "pool", 9, 1, 4.5, dwell_s=2.25)
    first, second = fresh(1, source="back/yard"), eventful(2, CROSSED, left)
    with Listener(broker.port) as listener:
        with open_sink(f"mqtt://127.0.0.1:{broker.port}/home/cams", SinkOptions(live=False)) as sink:
            sink.write(first)
            sink.write(second)
            assert sink.health.written == 2
        assert wait_until(lambda: len(listener.heard) == 6)
    topics = [(topic, qos, retained) for topic, _, qos, retained in listener.heard]
    assert topics == [
        ("home/cams/status", 1, False),
        ("home/cams/back%2Fyard/detections", 0, False),
        ("home/cams/yard/events", 1, False),
        ("home/cams/yard/events", 1, False),
        ("home/cams/yard/detections", 0, False),
        ("home/cams/status", 1, False),
    ]
    payloads = [payload for _, payload, *_ in listener.heard]
    assert (payloads[0], payloads[5]) == (b"online", b"offline")
    assert json.loads(payloads[1]) == record_of(first)
    assert json.loads(payloads[4]) == record_of(second)
    crossed, gone = json.loads(payloads[2]), json.loads(payloads[3])
    assert crossed.pop("event_id") != gone.pop("event_id")
    assert crossed == {
        "source": "yard",
        "frame": 2,
        "captured_at": 1700000000.123456,
        "clock": "camera",
        "event": "crossed",
        "place": "door",
        "id": 7,
        "class": "person",
        "at": 1699999999.623,
        "direction": "in",
    }
    assert (gone["event"], gone["dwell_s"]) == ("left", 2.25)


def test_a_late_subscriber_receives_only_the_status(broker: MosquittoBroker) -> None:
    with open_sink(f"mqtt://127.0.0.1:{broker.port}", SinkOptions(live=False)) as sink:
        sink.write(eventful())
        with Listener(broker.port) as listener:
            assert wait_until(lambda: listener.heard)
            assert listener.heard == [("edgevision/status", b"online", 1, True)]


def test_only_events_are_sent_by_default(broker: MosquittoBroker) -> None:
    options = SinkOptions(live=False, every_result=False)
    with Listener(broker.port) as listener:
        with open_sink(f"mqtt://127.0.0.1:{broker.port}", options) as sink:
            assert sink.keep(fresh()) is None
            sink.write(fresh())
            sink.write(eventful())
            assert sink.health.written == 1
        assert wait_until(lambda: len(listener.heard) == 3)
    assert [topic.rpartition("/")[2] for topic in listener.topics()] == ["status", "events", "status"]


def test_the_broker_publishes_the_last_will(broker: MosquittoBroker) -> None:
    program = (
        "import os, sys, time; from edgevision.sinks.addresses import open_sink, SinkOptions;"
        " from tests.sinks.results import fresh;"
        f" sink = open_sink('mqtt://127.0.0.1:{broker.port}', SinkOptions(live=False)); sink.write(fresh());"
        " os._exit(9)"
    )
    with Listener(broker.port, "edgevision/status") as listener:
        done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False, timeout=60)
        assert done.returncode == 9
        assert wait_until(lambda: len(listener.heard) == 2)
    assert [payload for _, payload, *_ in listener.heard] == [b"online", b"offline"]


def test_a_broker_that_restarts_receives_all_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    broker = MosquittoBroker(tmp_path, "allow_anonymous true")
    inner = MqttSink(Broker("127.0.0.1", broker.port), patience_s=0.05)
    inner._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # it takes parts of seconds, too
    sink = BackgroundSink(inner, backoff=QUICK)
    sink.write(eventful(1))  # before there is a broker at all
    assert wait_until(lambda: sink.health.state == "failing")
    heard: list[int] = []
    for number in (2, 3):
        broker.start()
        with Listener(broker.port, "edgevision/+/events") as listener:
            assert wait_until(lambda: sink.health.waiting == 0)
            sink.write(eventful(10 * number))
            assert wait_until(lambda: sink.health.waiting == 0)
            assert wait_until(lambda number=number: f'"frame":{10 * number},' in str(listener.heard))  # type: ignore[misc]  # mypy knows no defaults of lambdas
            heard += [json.loads(payload)["frame"] for _, payload, *_ in listener.heard]
        broker.stop(kill=True)
        assert wait_until(lambda: not inner._connected.is_set())
        sink.write(eventful(number))
    broker.start()
    with Listener(broker.port, "edgevision/+/events") as listener:
        assert wait_until(lambda: sink.health.waiting == 0)
        heard += [json.loads(payload)["frame"] for _, payload, *_ in listener.heard]
    assert sink.health.lost == 0
    assert sink.health.written == 5
    # Messages published before the listener connected are not received: storing them is the broker's task.
    assert {20, 30} <= set(heard)
    sink.close()
    broker.stop()


def test_detections_that_waited_too_long_are_left_out_and_events_are_not(broker: MosquittoBroker) -> None:
    long_ago_ns = time.perf_counter_ns() - 60 * 10**9
    with (
        Listener(broker.port, "edgevision/+/+") as listener,
        MqttSink(Broker("127.0.0.1", broker.port), patience_s=20) as sink,
    ):
        sink.deliver([processed(1, captured_ns=long_ago_ns), eventful(2, captured_ns=long_ago_ns), fresh(3)])
        assert wait_until(lambda: len(listener.heard) == 2)
    assert listener.topics() == ["edgevision/yard/events", "edgevision/yard/detections"]
    assert (sink.health.written, sink.health.lost) == (2, 1)


def test_credentials_are_read_from_the_environment_and_redacted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    try:
        subprocess.run(
            ["mosquitto_passwd", "-b", passwords, "cam", "s3cret"], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no mosquitto_passwd here")
    settings = ("allow_anonymous false", f"password_file {passwords}")
    with MosquittoBroker(tmp_path, *settings) as broker:
        address = f"mqtt://127.0.0.1:{broker.port}"
        good = {"EDGEVISION_MQTT_USER": "cam", "EDGEVISION_MQTT_PASSWORD": "s3cret"}
        with open_sink(address, SinkOptions(live=False), good) as sink:
            sink.write(fresh())
            assert sink.health.written == 1
        with open_sink(f"mqtt://cam:s3cret@127.0.0.1:{broker.port}", SinkOptions(live=False), {}) as sink:
            sink.write(fresh())
        wrong = Broker("127.0.0.1", broker.port, user="cam", password="wr0ng")
        with MqttSink(wrong, patience_s=0.02) as refused:
            assert wait_until(
                lambda: "the broker rejects the connection: Not authorized" in messages_of(refused)
            )
            message = f"{messages_of(refused)} {caplog.text} {refused.public_name} {refused.health} {wrong}"
    assert "wr0ng" not in message
    assert "s3cret" not in message


def messages_of(sink: MqttSink) -> str:
    with pytest.raises(SinkError) as error:
        sink.write(fresh())
    return str(error.value)


def test_a_broker_that_is_not_there_is_an_error() -> None:
    sink = MqttSink(Broker("127.0.0.1", free_port()), patience_s=0.1)
    with sink, pytest.raises(SinkError, match=r"mqtt://127\.0\.0\.1:\d+/edgevision: no connection"):
        sink.write(fresh())


def test_a_broker_that_never_responds_does_not_delay_the_pipeline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(server.accept()[0]))
        thread.start()
        sink = open_sink(f"mqtt://127.0.0.1:{server.getsockname()[1]}", SinkOptions(capacity=5))
        thread.join(20)
        longest_s = 0.0
        for number in range(200):
            began_s = time.perf_counter()
            sink.write(fresh(number))
            longest_s = max(longest_s, time.perf_counter() - began_s)
        assert wait_until(lambda: sink.health.state == "failing")
        began_s = time.perf_counter()
        sink.close()
        assert time.perf_counter() - began_s < 2
        for connection in taken:
            connection.close()
    assert longest_s < 1
    assert (sink.health.written, sink.health.lost) == (0, 200)


# A handshake that fails leaves paho's socket to the collector of garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    settings = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    with MosquittoBroker(tmp_path, *settings) as broker:
        sink = MqttSink(Broker("localhost", broker.port, tls=True), patience_s=0.5)
        with sink, pytest.raises(SinkError, match="no connection"):
            sink.write(fresh())
        del sink
        assert wait_until(lambda: not any("paho" in thread.name for thread in threading.enumerate()))
        gc.collect()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with open_sink(f"mqtts://localhost:{broker.port}/cams", SinkOptions(live=False)) as trusting:
            trusting.write(fresh())
            assert trusting.health.written == 1


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("Front door", "Front door"),
        ("straße", "straße"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("+", "%2B"),
        ("#1", "%231"),
        ("a\0b\n", "a%00b%0A"),
        ("rtsp://h/s", "rtsp:%2F%2Fh%2Fs"),
        ("", "%"),
    ],
)
def test_a_name_is_one_level_of_a_topic(name: str, level: str) -> None:
    assert topic_level(name) == level
