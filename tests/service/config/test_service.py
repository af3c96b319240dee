"""A service with real cameras and sinks, and with engines that hang and break."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgevision.contract.session import Session
from edgevision.errors import EngineError, UsageError
from edgevision.service.camera_manager import EngineFactory, Report
from edgevision.service.config.service import Service, ServiceOptions
from edgevision.service.config.settings import ModelSettings
from edgevision.service.systemd import ServiceManager
from edgevision.service.watchdog import WatchdogFinding
from tests.doubles import BrightnessSession
from tests.sinks.broker import free_port

WriteFile = Callable[[str], Path]
PATIENCE_S = 30.0

FILE = """\
[model]
bundle = "model"
[[camera]]
name = "door"
address = "demo:64x64@50"
sinks = ["all"]
[[camera]]
name = "yard"
address = "demo:64x64@50"
[[sink]]
name = "all"
address = "found.jsonl"
[watchdog]
stuck_after_s = 1
"""


class Engines:
    """Opens `BrightnessSession`s; `gate` holds the opening back, `stuck` a call."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.stuck = threading.Event()
        self.error: Exception | None = None
        self.opened = 0

    def __call__(self, _: Path, __: ModelSettings, ___: Callable[[], bool]) -> EngineFactory:
        def open_engine(report: Report) -> Session:
            report("building the engine: tactics", 0.5)
            self.gate.wait(PATIENCE_S)
            if self.error is not None:
                raise self.error
            self.opened += 1
            return StickySession(self.stuck)

        return open_engine


class StickySession(BrightnessSession):
    def __init__(self, stuck: threading.Event) -> None:
        super().__init__(takes_s=0.001)
        self.stuck = stuck

    def _infer(self, frames):  # type: ignore[no-untyped-def]  # as the base's
        while self.stuck.is_set():
            time.sleep(0.01)
        return super()._infer(frames)


class Manager:
    """systemd's side of a real socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """Everything so far."""
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def reloads(self) -> int:
        """How many began; each must have ended."""
        kinds = [text.split("=")[0] for text in self.listen()]
        began = [number for number, kind in enumerate(kinds) if kind == "RELOADING"]
        for number in began:
            assert "MONOTONIC_USEC=" in self.heard[number]
            assert "READY" in kinds[number + 1 : number + 2], "no message while it reloads"
        return len(began)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def start(tmp_path: Path, manager: Manager, engines: Engines) -> Iterator[Callable[[Path], Service]]:
    services: list[Service] = []

    def start_one(file: Path) -> Service:
        reported = ServiceManager(str(tmp_path / "notify"), watchdog_s=30.0)
        options = ServiceOptions(every_s=0.2, environment={}, manager=reported, open_engine=engines)
        service = Service(file, options)
        services.append(service)
        service.start()
        return service

    yield start_one
    engines.stuck.clear()
    engines.gate.set()
    for service in services:
        service.close()


def tick_until(service: Service, done: Callable[[WatchdogFinding], bool]) -> WatchdogFinding:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        finding = service.tick()
        if done(finding):
            return finding
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE_S:g} s; {service.status_line()}")


def frames_of(service: Service) -> dict[str, int]:
    return {camera.name: camera.stats.frames for camera in service.camera_manager.cameras}


def url_of(service: Service) -> str | None:
    return service.page.url


def run_all(service: Service) -> None:
    """Tick until every camera has given new results."""
    before = frames_of(service)
    tick_until(
        service, lambda _: all(count > before.get(name, 0) for name, count in frames_of(service).items())
    )


def test_it_notifies_systemd(
    start: Callable[[Path], Service], write_file: WriteFile, manager: Manager, engines: Engines
) -> None:
    engines.gate.clear()
    service = start(write_file(FILE))
    tick_until(service, lambda _: "EXTEND_TIMEOUT_USEC=60000000" in manager.listen())
    tick_until(service, lambda _: "STATUS=building the engine: tactics, 50%" in manager.listen())
    assert not {"READY=1", "WATCHDOG=1"} & set(manager.listen())
    engines.gate.set()
    tick_until(service, lambda _: "WATCHDOG=1" in manager.listen())
    heard = manager.listen()
    assert heard.count("READY=1") == 1
    assert heard.index("READY=1") < heard.index("WATCHDOG=1")
    run_all(service)
    assert service.status_line().startswith("2 of 2 cameras run, ")
    service.close()
    assert manager.listen()[-1] == "STOPPING=1"


def test_a_reload_changes_what_differs_and_nothing_else(
    start: Callable[[Path], Service],
    write_file: WriteFile,
    manager: Manager,
    engines: Engines,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.INFO)
    service = start(write_file(FILE))
    tick_until(service, lambda _: "READY=1" in manager.listen())
    run_all(service)
    door = service.camera_manager.cameras[0].stats.frames
    changed = FILE.replace('name = "yard"', 'name = "gate"').replace(
        'sinks = ["all"]', 'sinks = ["all"]\nthreshold = 0.7'
    )
    write_file(changed + "[budgets]\nmax_age_ms = 500\n")
    caplog.clear()
    assert service.reload()
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("reload")] == [
        "reload: camera yard: removed",
        "reload: camera door: threshold: none -> 0.7",
        "reload: camera gate: added",
        "reload: budgets: max_age_ms: none -> 500",
        "reload: done",
    ]
    run_all(service)
    assert [camera.name for camera in service.camera_manager.cameras] == ["door", "gate"]
    assert service.camera_manager.cameras[0].threshold == 0.7
    assert manager.reloads() == 1
    assert engines.opened == 1
    service.close()
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    numbers = [line["frame"] for line in lines]
    assert {line["source"] for line in lines} == {"door"}
    assert numbers == sorted(set(numbers)), "its camera was not opened again"
    assert len(numbers) > door
    found = [detection["score"] for line in lines[-1:] for detection in line["detections"]]
    assert all(score >= 0.7 for score in found)


def test_a_reload_while_the_engine_is_opened_holds_when_it_is_open(
    start: Callable[[Path], Service], write_file: WriteFile, manager: Manager, engines: Engines
) -> None:
    engines.gate.clear()
    service = start(write_file(FILE))
    tick_until(service, lambda _: "EXTEND_TIMEOUT_USEC=60000000" in manager.listen())
    write_file(FILE.replace('name = "yard"', 'name = "gate"'))
    assert service.reload()
    assert manager.reloads() == 0, "it has not sent READY yet"
    engines.gate.set()
    run_all(service)
    assert [camera.name for camera in service.camera_manager.cameras] == ["door", "gate"]
    assert engines.opened == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            FILE.replace("threshold", "x") + "[pgae]\n",
            'cameras.toml:15: pgae: unknown key; did you mean "page"?',
        ),
        ("[model\n", "cameras.toml:1: "),
        (FILE.replace("found.jsonl", "model/bundle.json/x.jsonl"), "cannot write"),
    ],
)
def test_a_file_with_mistakes_changes_nothing(
    start: Callable[[Path], Service],
    write_file: WriteFile,
    manager: Manager,
    text: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = start(write_file(FILE))
    tick_until(service, lambda _: "READY=1" in manager.listen())
    run_all(service)
    before = [(camera.name, camera.threshold) for camera in service.camera_manager.cameras]
    write_file(text)
    assert not service.reload()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(words in error for error in errors)
    assert errors[-1] == "reload: the configuration is unchanged"
    assert [(camera.name, camera.threshold) for camera in service.camera_manager.cameras] == before
    run_all(service)
    assert manager.reloads() == 1


def test_another_model_in_the_same_place_is_opened(
    start: Callable[[Path], Service],
    write_file: WriteFile,
    engines: Engines,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    service = start(write_file(FILE))
    run_all(service)
    bundle = (tmp_path / "model").resolve()
    (tmp_path / "model").unlink()
    (tmp_path / "model").mkdir()
    for name in ("model.onnx", "golden.npz", "bundle.json"):
        (tmp_path / "model" / name).write_bytes((bundle / name).read_bytes())
    assert service.reload()
    assert "reload: no differences" in caplog.messages
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["graphs"][0]["file"]["sha256"] = "0" * 64
    (tmp_path / "model" / "bundle.json").write_text(json.dumps(manifest))
    assert service.reload()
    assert "reload: model: model contains another model" in caplog.messages
    tick_until(service, lambda _: engines.opened == 2)
    run_all(service)


def test_an_engine_that_hangs_is_fatal_and_no_sign_of_life_is_sent(
    start: Callable[[Path], Service], write_file: WriteFile, manager: Manager, engines: Engines
) -> None:
    service = start(write_file(FILE))
    run_all(service)
    engines.stuck.set()
    finding = tick_until(service, lambda finding: finding.fatal is not None)
    assert finding.hangs
    assert finding.fatal is not None
    assert finding.fatal.startswith("an engine call has taken 1.")
    signs = manager.listen().count("WATCHDOG=1")
    assert manager.heard[-1] == f"STATUS={finding.fatal}"
    began_s = time.monotonic()
    service.close()
    assert time.monotonic() - began_s < 2.0
    assert manager.listen().count("WATCHDOG=1") == signs


def test_an_engine_that_cannot_be_opened_is_fatal(
    start: Callable[[Path], Service], write_file: WriteFile, engines: Engines
) -> None:
    engines.error = EngineError("no GPU")
    service = start(write_file(FILE))
    finding = tick_until(service, lambda finding: finding.fatal is not None)
    assert finding == WatchdogFinding("the camera manager has failed: no GPU")
    assert service.camera_manager.failure is engines.error


def test_a_camera_without_frames_is_reopened(
    start: Callable[[Path], Service], write_file: WriteFile, caplog: pytest.LogCaptureFixture
) -> None:
    text = FILE.replace(
        'name = "yard"\naddress = "demo:64x64@50"',
        'name = "yard"\naddress = "rtsp://127.0.0.1:9/x"\nreopen_after_s = 0.5',
    )
    service = start(write_file(text))
    finding = tick_until(service, lambda finding: bool(finding.reopen))
    assert [name for name, _ in finding.reopen] == ["yard"]
    assert any("yard: no valid frame for " in message for message in caplog.messages)
    run_door = frames_of(service)["door"]
    tick_until(service, lambda _: frames_of(service)["door"] > run_door)
    assert "yard: connecting" in service.status_line()


def test_the_page_starts_moves_and_stops_with_the_file(
    start: Callable[[Path], Service], write_file: WriteFile, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("aiohttp")
    ports = [free_port(), free_port()]
    service = start(write_file(FILE))
    assert url_of(service) is None
    for port in ports:
        write_file(FILE + f"[page]\nport = {port}\n")
        assert service.reload()
        assert url_of(service) == f"http://127.0.0.1:{port}/"
        socket.create_connection(("127.0.0.1", port), 5).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_file(FILE + f"[page]\nport = {taken.getsockname()[1]}\n")
        service.reload()
        assert url_of(service) == f"http://127.0.0.1:{ports[1]}/"
        assert any("page: unchanged: " in message for message in caplog.messages)
    write_file(FILE)
    service.reload()
    assert url_of(service) is None
    deadline_s = time.monotonic() + PATIENCE_S
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("page")]:
        assert time.monotonic() < deadline_s, f"threads of pages that are gone: {left}"
        time.sleep(0.01)


def test_health_follows_the_watchdog_of_the_file(
    start: Callable[[Path], Service], write_file: WriteFile, engines: Engines
) -> None:
    pytest.importorskip("aiohttp")
    service = start(write_file(FILE + f"[page]\nport = {free_port()}\n"))
    run_all(service)
    health = f"{url_of(service)}health"
    assert urllib.request.urlopen(health, timeout=5).status == 200
    engines.stuck.set()
    finding = tick_until(service, lambda finding: finding.hangs)
    assert "an engine call has taken 1." in str(finding.fatal)
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(health, timeout=5)
    assert "the engine has not answered for 1 s" in answer.value.read().decode()
    engines.stuck.clear()


def test_a_file_with_mistakes_is_not_started(write_file: WriteFile) -> None:
    with pytest.raises(UsageError, match="has 2 mistakes"):
        Service(write_file("x = 1\n[model]\nbundle = 'model'\n"), ServiceOptions(environment={}))
