"""`edgevision deploy` as it is called, in this process and in its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.cli.commands.deploy import LogHandler, Reloads, command
from edgevision.errors import UsageError
from edgevision.service.watchdog import STUCK_EXIT_CODE

PATIENCE_S = 60.0
END_S = 2.0
"""Within which the program promises to end."""
ATTEMPTS = 5
"""A loaded machine can delay one end; it does not delay every one."""

FILE = """\
[model]
bundle = "model"
[[camera]]
name = "door"
address = "demo:160x120@30"
sinks = ["all", "alarm"]
[[camera]]
name = "yard"
address = "demo:160x120@30"
sinks = ["all"]
[[camera]]
name = "dead"
address = "rtsp://me:secret@127.0.0.1:9/stream"
[[sink]]
name = "all"
address = "found.jsonl"
[[sink]]
name = "alarm"
address = "http://127.0.0.1:{port}/hook"
every_result = true
"""


class Deployment:
    """A process of its own, and what it wrote."""

    def __init__(self, folder: Path, program: list[str], environment: dict[str, str]) -> None:
        self.log = folder / "log.txt"
        self.lines = folder / "found.jsonl"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                program, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment}
            )

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline_s, f"{what}: not within {PATIENCE_S:g} s\n{self.text()}"
            time.sleep(0.02)

    def wait_for_log(self, text: str) -> None:
        self.wait_for(lambda: text in self.text(), text)

    def results(self) -> list[dict[str, Any]]:
        """All whole lines."""
        data = self.lines.read_bytes() if self.lines.exists() else b""
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def wait_for_results(self, count: int, of: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        self.wait_for(lambda: sum(map(of, self.results())) >= count, f"{count} results")

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """The exit code, and how many seconds the end took."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        return code, time.monotonic() - began_s


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """A web server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path, brightness_bundle: Path, hanging_port: int) -> Path:
    pytest.importorskip("urllib3")
    (tmp_path / "model").symlink_to(brightness_bundle)
    write(tmp_path, FILE.format(port=hanging_port))
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "cameras.toml").write_text(text)
    (folder / "cameras.toml").chmod(0o640)


@pytest.fixture
def deploy(folder: Path) -> Iterator[Callable[..., Deployment]]:
    started: list[Deployment] = []

    def start(
        *arguments: str, program: tuple[str, ...] = ("-m", "edgevision"), **environment: str
    ) -> Deployment:
        words = [sys.executable, *program, "deploy", "cameras.toml", *arguments]
        started.append(Deployment(folder, words, environment))
        return started[-1]

    yield start
    for deployment in started:
        deployment.process.kill()
        deployment.process.wait()


def ended_in_time(start: Callable[[], Deployment], number: signal.Signals, code: int) -> Deployment:
    """The first of `ATTEMPTS` deployments that ended within `END_S`; each must end with this exit code."""
    all_s = []
    for _ in range(ATTEMPTS):
        deployment = start()
        ended, took_s = deployment.end(number)
        assert ended == code, deployment.text()
        if took_s < END_S:
            return deployment
        all_s.append(took_s)
    raise AssertionError(f"ended after {all_s} s, at most {END_S:g} expected\n{deployment.text()}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_within_two_seconds_despite_hangs(
    deploy: Callable[..., Deployment], number: signal.Signals, code: int
) -> None:
    def running() -> Deployment:
        deployment = deploy("--every", "1")
        deployment.wait_for_results(30)
        deployment.wait_for_log("2 of 3 cameras run, ")
        return deployment

    deployment = ended_in_time(running, number, code)
    data = deployment.lines.read_bytes()
    assert data.endswith(b"}\n")
    assert {line["source"] for line in deployment.results()} == {"door", "yard"}
    assert "secret" not in deployment.text()


def test_it_ends_within_two_seconds_while_the_engine_is_opened(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    program = acted(tmp_path, "time.sleep(3600)")

    def opening() -> Deployment:
        deployment = deploy(program=program)
        deployment.wait_for_log("3 cameras")
        return deployment

    ended_in_time(opening, signal.SIGTERM, 143)


def test_hangup_follows_the_file_and_disturbs_nothing_else(
    deploy: Callable[..., Deployment], folder: Path, hanging_port: int
) -> None:
    deployment = deploy()
    deployment.wait_for_results(10, lambda line: line["source"] == "door")
    text = FILE.format(port=hanging_port)
    write(folder, text.replace('name = "yard"', 'name = "gate"') + "[pgae]\n")
    deployment.process.send_signal(signal.SIGHUP)
    deployment.wait_for_log("reload: the configuration is unchanged")
    assert 'reload: cameras.toml:21: pgae: unknown key; did you mean "page"?' in deployment.text()
    seen = len(deployment.results())
    deployment.wait_for_results(seen + 10, lambda line: line["source"] in ("door", "yard"))
    changed = text.replace('name = "yard"', 'name = "gate"').replace(
        'sinks = ["all", "alarm"]', 'sinks = ["all", "alarm"]\nthreshold = 0.99'
    )
    write(folder, changed)
    deployment.process.send_signal(signal.SIGHUP)
    deployment.wait_for_log("reload: done")
    after = len(deployment.results())
    deployment.wait_for_results(10, lambda line: line["source"] == "gate")
    deployment.wait_for_results(after + 30)
    for message in ("camera yard: removed", "camera gate: added", "camera door: threshold: none -> 0.99"):
        assert f"reload: {message}" in deployment.text()
    lines = deployment.results()
    door = [line for line in lines if line["source"] == "door"]
    assert [line["frame"] for line in door] == sorted({line["frame"] for line in door}), "opened again"
    assert door[0]["detections"]
    assert door[-1]["detections"] == []
    assert lines[-1]["source"] != "yard"
    assert deployment.end(signal.SIGTERM)[0] == 143


def test_a_hanging_engine_ends_the_process_with_all_stacks(
    deploy: Callable[..., Deployment], folder: Path, tmp_path: Path, hanging_port: int
) -> None:
    write(folder, FILE.format(port=hanging_port) + "[watchdog]\nstuck_after_s = 1\n")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(PATIENCE_S)
    call = "\n".join(
        [
            "session = original(*words, **options)",
            "infer, calls = session._infer, []",
            "def hang(frames):",
            "    calls.append(1)",
            "    if len(calls) > 60: time.sleep(3600)",
            "    return infer(frames)",
            "session._infer = hang",
            "return session",
        ]
    )
    deployment = deploy(
        program=acted(tmp_path, call),
        NOTIFY_SOCKET=str(tmp_path / "notify"),
        WATCHDOG_USEC="30000000",
        JOURNAL_STREAM="1:2",
    )
    assert deployment.process.wait(PATIENCE_S) == STUCK_EXIT_CODE, deployment.text()
    text = deployment.text()
    assert "<3>an engine call has taken 1." in text
    assert f"ending the process with exit code {STUCK_EXIT_CODE}" in text
    assert "in hang" in text, "the stack of the thread that hangs"
    assert text.count("Thread 0x") + text.count("Current thread 0x") >= 3
    heard = []
    listener.setblocking(False)
    while True:
        try:
            heard.append(listener.recv(4096).decode())
        except BlockingIOError:
            break
    listener.close()
    assert "READY=1" in heard
    assert "WATCHDOG=1" in heard
    assert heard[-1] == "STOPPING=1"
    assert deployment.lines.read_bytes().endswith(b"}\n")


def test_a_library_that_stops_python_ends_the_process(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    holds = "\n".join(
        [
            "import ctypes",
            "from edgevision.cli.commands import deploy",
            "deploy.HANG_S = 2.0",
            "session = original(*words, **options)",
            "infer, calls = session._infer, []",
            "def hold(frames):",
            "    calls.append(1)",
            "    if len(calls) > 200: ctypes.PyDLL(None).sleep(3600)  # without giving the lock of Python back",
            "    return infer(frames)",
            "session._infer = hold",
            "return session",
        ]
    )
    deployment = deploy(program=acted(tmp_path, holds))
    assert deployment.process.wait(PATIENCE_S) == 1
    assert "Timeout (0:00:02)!" in deployment.text()
    assert "in hold" in deployment.text()
    assert deployment.lines.read_bytes().endswith(b"}\n")


def test_an_engine_that_cannot_be_opened_is_one_line(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    raises = "from edgevision.errors import EngineError\nraise EngineError('no GPU')"
    deployment = deploy(program=acted(tmp_path, raises))
    assert deployment.process.wait(PATIENCE_S) == 1
    assert deployment.text().splitlines()[-1] == "edgevision: no GPU"
    assert "Traceback" not in deployment.text()


def acted(folder: Path, body: str) -> tuple[str, ...]:
    """A program that is edgevision but for its `open_session`."""
    program = folder / "acted.py"
    program.write_text(
        "\n".join(
            [
                "import time",
                "from edgevision.cli import main",
                "from edgevision.service.config import engine",
                "original = engine.open_session",
                "def open_session(*words, **options):",
                *[f"    {line}" for line in body.splitlines()],
                "engine.open_session = open_session",
                "main()",
            ]
        )
    )
    return (str(program),)


def test_a_check_shows_what_would_run(
    folder: Path, hanging_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = FILE.format(port=hanging_port) + "[page]\nport = 9001\n"
    text = text.replace('name = "yard"', 'name = "yard"\nonly = ["lamp"]\ntrack = true')
    text = text.replace(
        'name = "door"', 'name = "door"\nlines.a = [0, 0, 1, 1]\nzones.b = [0, 0, 1, 0, 1, 1]'
    )
    write(folder, text)
    result = CliRunner().invoke(command, ["cameras.toml", "--check"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == f"model: {folder}/model, engine the fastest verified"
    assert lines[1] == "budgets: batch auto, results of any age"
    cells = [line.split() for line in lines]
    assert ["door", "demo:160x120@30", "default", "1", "line,", "1", "zone", "all", "all,", "alarm"] in cells
    assert ["yard", "demo:160x120@30", "default", "tracks", "lamp", "all"] in cells
    assert ["dead", "rtsp://127.0.0.1:9/stream", "default", "none", "all", "none"] in cells
    assert ["alarm", f"http://127.0.0.1:{hanging_port}"] in cells
    assert lines[-2:] == ["page: http://127.0.0.1:9001/", "cameras.toml is in order"]
    assert "secret" not in result.output
    assert not (folder / "found.jsonl").exists()


def test_check_reports_the_mistakes_of_a_file(folder: Path) -> None:
    write(folder, "[model]\nbundle = 'gone'\nx = 1\n")
    result = CliRunner().invoke(command, [str(folder / "cameras.toml"), "--check"])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).count("\n") == 3


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_any_number_of_hangups_is_one_reload() -> None:
    with Reloads() as reloads:
        assert not reloads.take()
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert reloads.take()
        assert not reloads.take()


def test_lines_of_the_log_carry_their_level(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        logging.LogRecord("edgevision", level, "", 0, "%s\nand %s", ("one", "two"), None)
        for level in (logging.ERROR, logging.WARNING, logging.INFO)
    ]
    for record in records:
        LogHandler(journal=True).emit(record)
    assert capsys.readouterr().err == "<3>one\n<3>and two\n<4>one\n<4>and two\n<6>one\n<6>and two\n"
    LogHandler(journal=False).emit(records[1])
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" warning one")
    assert second.endswith(" warning and two")


def test_a_closed_log_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    LogHandler(journal=False).emit(logging.LogRecord("edgevision", logging.INFO, "", 0, "x", (), None))
