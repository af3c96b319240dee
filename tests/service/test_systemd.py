"""Messages to the service manager's socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevision.service.systemd import ServiceManager


class Listener:
    """systemd's side."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def next(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


def manager_at(address: str, **others: str) -> ServiceManager:
    return ServiceManager.from_environment({"NOTIFY_SOCKET": address, **others})


def test_each_call_is_one_datagram(listener: Listener) -> None:
    manager = manager_at(listener.socket.getsockname())
    assert manager.listens
    manager.ready()
    assert listener.next() == "READY=1"
    manager.alive()
    assert listener.next() == "WATCHDOG=1"
    manager.extend(90.5)
    assert listener.next() == "EXTEND_TIMEOUT_USEC=90500000"
    manager.stopping()
    assert listener.next() == "STOPPING=1"
    before_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading()
    first, second = listener.next().split("\n")
    assert first == "RELOADING=1"
    name, usec = second.split("=")
    assert name == "MONOTONIC_USEC"
    assert before_usec <= int(usec) <= before_usec + 60_000_000


def test_a_status_is_one_line_and_is_not_repeated(listener: Listener) -> None:
    manager = manager_at(listener.socket.getsockname())
    manager.status("a\nREADY=1")
    manager.status("a\nREADY=1")
    manager.status("b")
    assert [listener.next(), listener.next()] == ["STATUS=a READY=1", "STATUS=b"]


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="abstract names are Linux's")
def test_an_at_sign_is_an_abstract_address() -> None:
    name = f"edgevision-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    manager_at(f"@{name}").ready()
    assert listener.next() == "READY=1"
    listener.socket.close()


def test_without_a_manager_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    for manager in (ServiceManager.from_environment({}), manager_at("vsock:2:1")):
        assert not manager.listens
        manager.ready()
        manager.status("x")
    assert caplog.records == []


def test_a_manager_that_is_gone_is_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        manager_at(str(tmp_path / "gone")).ready()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot send READY to the service manager: [Errno 2] No such file or directory"
    ]


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_interval_is_read(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert ServiceManager.from_environment(environment).watchdog_s == watchdog_s
