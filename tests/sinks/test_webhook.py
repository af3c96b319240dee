"""Posting to real servers that answer, refuse, hang, and close."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate

import pytest

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.errors import SinkError
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.record import record_of
from edgevision.sinks.sink import BusyError, RefusedError
from edgevision.sinks.webhook import Hook, WebhookSink
from edgevision.sources.backoff import Backoff
from tests.sinks.results import CROSSED, eventful, fresh, wait_until

QUICK = Backoff(first_s=0.01, longest_s=0.05)


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    after_s: float = 0.0
    closes: bool = False
    """Instead of answering."""


class Receiver:
    """A server that remembers what was posted; `answers` are given in turn, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [Answer()]
        self.posts: list[tuple[str, Message, bytes]] = []
        self.connections: set[tuple[str, int]] = set()
        self.url = ""
        self.ended = threading.Event()

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def bodies(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, _, body in self.posts]


@contextmanager
def serving(*answers: Answer) -> Iterator[Receiver]:
    receiver = Receiver(*answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.connections.add(self.client_address)
            receiver.posts.append((self.path, self.headers, body))
            answer = receiver.next_answer()
            receiver.ended.wait(answer.after_s)
            if answer.closes:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that went away are what is tested here."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def hook(url: str, **others: str) -> Hook:
    return Hook(url, "the hook", **others)


def test_events_are_posted_and_the_rest_is_not() -> None:
    left = AnalyticsEvent("left", "pool", 9, 1, 4.5, dwell_s=2.25)
    with serving() as receiver, open_sink(f"{receiver.url}/in?x=1", SinkOptions(live=False), {}) as sink:
        sink.write(fresh())
        sink.write(eventful(2, CROSSED, left))
        assert sink.health.written == 1
    ((path, headers, body),) = receiver.posts
    assert path == "/in?x=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("edgevision/")
    assert headers["Edgevision-Signature"] is None
    assert len(headers["Idempotency-Key"]) == 36
    printed = json.loads(body)
    assert abs(printed["created_at"] - time.time()) < 60
    first, second = printed["events"]
    assert first["event_id"] != second["event_id"]
    names = ("source", "frame", "event", "place", "id", "class")
    assert [first[name] for name in names] == ["yard", 2, "crossed", "door", 7, "person"]
    assert [second[name] for name in names] == ["yard", 2, "left", "pool", 9, "bus"]


def test_every_result_is_sent_if_requested() -> None:
    done = fresh(3)
    options = SinkOptions(live=False, every_result=True)
    with serving() as receiver, open_sink(receiver.url, options, {}) as sink:
        sink.write(done)
    (printed,) = receiver.bodies()
    assert printed["results"] == [record_of(done)]


def test_queued_results_are_posted_together_on_one_connection() -> None:
    with serving() as receiver, WebhookSink(hook(receiver.url)) as sink:
        sink.deliver([eventful(number) for number in range(3)])
        sink.deliver([eventful(9)])
    assert [len(body["events"]) for body in receiver.bodies()] == [3, 1]  # type: ignore[arg-type]  # a list
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.posts}) == 2
    assert len(receiver.connections) == 1


def test_a_retry_has_the_same_key() -> None:
    answers = [Answer(500), Answer(closes=True), Answer(503, {"Retry-After": "0"}), Answer()]
    with serving(*answers) as receiver:
        sink = BackgroundSink(WebhookSink(hook(receiver.url)), backoff=QUICK)
        sink.write(eventful(1))
        assert wait_until(lambda: sink.health.written == 1)
        sink.write(eventful(2))
        assert wait_until(lambda: sink.health.written == 2)
        sink.close()
    keys = [headers["Idempotency-Key"] for _, headers, _ in receiver.posts]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert len({body for _, _, body in receiver.posts[:4]}) == 1
    assert keys[4] not in keys[:4]
    assert sink.health.lost == 0


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 308])
def test_a_refused_batch_is_not_sent_again(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Answer(status, {"Location": "/elsewhere"}), Answer()) as receiver:
        sink = BackgroundSink(WebhookSink(hook(receiver.url)), backoff=QUICK)
        sink.write(eventful(1))
        assert wait_until(lambda: sink.health.lost == 1)
        assert sink.health.state == "failing"
        sink.write(eventful(2))
        assert wait_until(lambda: sink.health.written == 1)
        sink.close()
    assert [body["events"][0]["frame"] for body in receiver.bodies()] == [1, 2]  # type: ignore[index]  # a list
    assert f"the hook: status {status}" in caplog.text


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [("7", 7, 7), ("0", 0, 0), ("soon", 0, 0), (None, 0, 0), ("date", 50, 100)],
)
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_retry_after_is_read_in_both_forms(
    status: int, header: str | None, least_s: float, most_s: float
) -> None:
    value = formatdate(time.time() + 100, usegmt=True) if header == "date" else header
    headers = {} if value is None else {"Retry-After": value}
    with (
        serving(Answer(status, headers)) as receiver,
        WebhookSink(hook(receiver.url)) as sink,
        pytest.raises(BusyError, match=f"status {status}") as error,
    ):
        sink.write(eventful())
    assert least_s <= error.value.retry_after_s <= most_s


def test_a_body_is_signed() -> None:
    environment = {"EDGEVISION_WEBHOOK_SECRET": "häuslich", "EDGEVISION_WEBHOOK_TOKEN": "tok"}
    with serving() as receiver, open_sink(receiver.url, SinkOptions(live=False), environment) as sink:
        sink.write(eventful())
    ((_, headers, body),) = receiver.posts
    expected = hmac.new("häuslich".encode(), body, hashlib.sha256).hexdigest()
    assert headers["Edgevision-Signature"] == f"sha256={expected}"
    assert headers["Authorization"] == "Bearer tok"


def test_a_password_goes_to_the_server_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Answer(403)) as receiver:
        address = receiver.url.replace("://", "://me:s3cret@") + "/T0KEN"
        sink = open_sink(address, SinkOptions(live=False), {})
        with sink, pytest.raises(RefusedError) as error:
            sink.write(eventful())
    ((path, headers, _),) = receiver.posts
    assert (path, headers["Authorization"]) == ("/T0KEN", "Basic bWU6czNjcmV0")
    printed = f"{error.value} {sink.public_name} {sink.health} {caplog.text}"
    assert "s3cret" not in printed
    assert "T0KEN" not in printed
    assert receiver.url in printed


def test_a_server_that_hangs_costs_no_time_and_the_oldest_events() -> None:
    with serving(Answer(after_s=60)) as receiver:
        sink = BackgroundSink(WebhookSink(hook(receiver.url), read_s=0.1), capacity=10, backoff=QUICK)
        sink.write(eventful(0))
        assert wait_until(lambda: receiver.posts)
        longest_s = 0.0
        for number in range(1, 300):
            began_s = time.perf_counter()
            sink.write(eventful(number))
            longest_s = max(longest_s, time.perf_counter() - began_s)
        assert longest_s < 1
        assert wait_until(lambda: sink.health.last_error == "the hook: no answer in time")
        assert wait_until(lambda: len(receiver.posts) > 2)
        began_s = time.perf_counter()
        sink.close()
        assert time.perf_counter() - began_s < 2
    assert (sink.health.written, sink.health.lost) == (0, 300)


def test_a_slow_server_is_awaited_and_a_long_response_is_not_read() -> None:
    long = Answer(after_s=0.2, body=b"x" * 10**6)
    with serving(long) as receiver, WebhookSink(hook(receiver.url), read_s=20) as sink:
        sink.write(eventful(1))
        sink.write(eventful(2))
        assert sink.health.written == 2
    assert len(receiver.connections) == 2


def test_connection_errors_are_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url, printed in (
        (f"http://127.0.0.1:{port}/", r"^the hook: no connection: .*Connection refused$"),
        ("http://no-such-host.invalid/", r"^the hook: the host name cannot be resolved$"),
    ):
        with WebhookSink(hook(url)) as sink, pytest.raises(SinkError, match=printed):
            sink.write(eventful())
