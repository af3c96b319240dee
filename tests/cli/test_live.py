"""`edgevision live` as it is called, in this process and in its own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.cli.commands.live import command
from edgevision.errors import BundleError, EdgevisionError, MissingExtraError, UsageError

pytest.importorskip("aiohttp")


def refused(error: type[EdgevisionError], *arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert isinstance(result.exception, error), result.output
    return str(result.exception)


def test_invalid_sources_are_refused(tmp_path: Path) -> None:
    assert "no source was given" in refused(UsageError, tmp_path, "--port", "0")
    assert "NAME=SOURCE" in refused(UsageError, tmp_path, "--name", "door", "--port", "0")
    assert "expected different names" in refused(
        UsageError, tmp_path, "a=demo:", "--name", "a=demo:", "--port", "0"
    )


def test_a_port_in_use_is_reported_before_the_engine_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        messages = refused(UsageError, tmp_path / "no bundle", "demo:", "--port", taken.getsockname()[1])
    assert "another program uses this port" in messages


def test_a_bundle_that_is_none_ends_it(tmp_path: Path) -> None:
    refused(BundleError, tmp_path, "demo:320x240@10", "--port", "0")


def test_a_missing_bundle_is_reported_and_not_the_camera(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "no bundle at" in refused(BundleError, tmp_path / "nosuch", "/dev/video99", "--port", "0")
    assert "video99" not in caplog.text


def test_the_token_file_is_looked_at_first(tmp_path: Path) -> None:
    assert "cannot read the token" in refused(
        UsageError, tmp_path, "demo:", "--token-file", tmp_path / "none"
    )


def test_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'edgevision[live]'" in refused(MissingExtraError, tmp_path, "demo:")


class Running:
    """The command in a process of its own; its first line tells where the page is."""

    def __init__(self, *arguments: object) -> None:
        words = [sys.executable, "-m", "edgevision", "live", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        watchdog = threading.Timer(120, self.process.kill)
        watchdog.start()
        self.first_line = self.process.stdout.readline()
        watchdog.cancel()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", self.first_line)
        assert match is not None, self.process.communicate()
        self.port = int(match[1])

    def ask(self, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cameras_run_until_a_signal(
    brightness_bundle: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    away = "away=rtsp://127.0.0.1:1/stream"
    lines = tmp_path / "found.jsonl"
    call = (brightness_bundle, "demo:320x240@10", away, "--engine", "onnxruntime", "--jsonl", lines)
    with Running(*call) as running:
        assert running.first_line.startswith("demo:320x240@10, away at http")
        until_s = time.monotonic() + 60
        while True:
            _, state = running.ask("/api/state")
            if state["cameras"][0]["frames"] > 3:
                break
            assert time.monotonic() < until_s, state
            time.sleep(0.05)
        assert running.ask("/ready")[0] == running.ask("/health")[0] == 200
        assert [camera["state"] for camera in state["cameras"]] == ["running", "connecting"]
        assert state["engine"]["engine"] == "onnxruntime"
        assert [sink["state"] for sink in state["sinks"]] == ["working"]
        began_s = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(20) == code
        assert time.monotonic() - began_s < 3.0, "half a second, where no other tests run"
        assert running.process.stderr is not None
        assert "Traceback" not in running.process.stderr.read()
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(written) > 3
    assert {record["source"] for record in written} == {"demo:320x240@10"}
