"""The files in ``deploy/`` match the package."""

from __future__ import annotations

import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from deploy.health import address, main
from edgevision.cli.root import COMMANDS
from edgevision.service.config.document import parse
from edgevision.service.config.reading import read_deployment
from edgevision.service.config.settings import Settings
from edgevision.service.watchdog import STUCK_EXIT_CODE
from edgevision.settings.setting import Table, settings_of

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "deploy"
CONTAINERFILES = sorted(FOLDER.glob("Containerfile.*"))
INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip


def instructions(file: Path) -> list[tuple[str, str]]:
    """Name and arguments of each, with continued lines joined; a line that is none fails."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in text.splitlines():
        name, _, arguments = line.partition(" ")
        assert name in INSTRUCTIONS, f"{file.name}: {line}"
        found.append((name, arguments.strip()))
    return found


def copied(file: Path) -> list[tuple[str, ...]]:
    """What is copied from the checkout: sources, and the target last."""
    words = [shlex.split(arguments) for name, arguments in instructions(file) if name == "COPY"]
    return [tuple(each) for each in words if not each[0].startswith("--from=")]


def pyproject() -> dict[str, Any]:
    data: Any = parse((REPOSITORY / "pyproject.toml").read_bytes(), "pyproject.toml").data
    return dict(data)


def test_both_images_are_there() -> None:
    assert [file.suffix for file in CONTAINERFILES] == [".cpu", ".jetpack"]


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.suffix)
class TestContainerfile:
    def test_what_is_copied_is_in_the_checkout(self, file: Path) -> None:
        sources = [source for words in copied(file) for source in words[:-1]]
        assert len(sources) >= 8
        for source in sources:
            assert (REPOSITORY / source).exists(), source

    def test_extras_and_packages_are_those_of_the_project(self, file: Path) -> None:
        (extras,) = [
            arguments.removeprefix("EXTRAS=")
            for name, arguments in instructions(file)
            if name == "ARG" and arguments.startswith("EXTRAS=")
        ]
        assert set(extras.split(",")) <= set(pyproject()["project"]["optional-dependencies"])
        assert {"live", "rtsp", "mqtt", "webhook", "track"} <= set(extras.split(","))
        runs = " ".join(arguments for name, arguments in instructions(file) if name == "RUN")
        assert '"/source[${EXTRAS}]"' in runs
        assert "--no-deps trackers" in runs
        assert "\ntrackers==" in (REPOSITORY / "constraints.txt").read_text()

    def test_bases_are_pinned(self, file: Path) -> None:
        given = dict(arguments.split("=", 1) for name, arguments in instructions(file) if name == "ARG")
        for name, arguments in instructions(file):
            if name == "FROM":
                base = arguments.split()[0].replace("${BASE}", given.get("BASE", ""))
                assert re.fullmatch(r"[a-z0-9./-]+:[a-z0-9][a-z0-9.-]+", base), base
                assert not base.endswith(":latest")

    def test_it_runs_as_a_user_without_rights(self, file: Path) -> None:
        last: dict[str, str] = dict(instructions(file))
        assert last["USER"] == "edgevision"
        names = [name for name, _ in instructions(file)]
        assert names.index("USER") < names.index("ENTRYPOINT")
        assert "COPY" not in names[names.index("USER") :]
        assert "RUN" not in names[names.index("USER") :]

    def test_what_it_starts_exists(self, file: Path) -> None:
        last: dict[str, str] = dict(instructions(file))
        assert json.loads(last["ENTRYPOINT"]) == ["edgevision"]
        command, path = json.loads(last["CMD"])
        assert command in COMMANDS
        assert path == "/etc/edgevision/cameras.toml"
        check = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
        assert check[-1] in [f"{words[-1]}" for words in copied(file)]
        assert "STATE_DIRECTORY=/var/lib/edgevision" in last["ENV"]
        assert "ORT_DISABLE_TELEMETRY=1" in last["ENV"]

    def test_the_wheel_builds_from_what_is_copied(self, file: Path, tmp_path: Path) -> None:
        context = tmp_path / "root"
        for *sources, target in copied(file):
            if not target.startswith("/source"):
                continue
            for source in sources:
                to = context / target.lstrip("/")
                if (REPOSITORY / source).is_dir():
                    ignore = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(REPOSITORY / source, to, dirs_exist_ok=True, ignore=ignore)
                else:
                    to.mkdir(parents=True, exist_ok=True)
                    shutil.copy(REPOSITORY / source, to)
        done = subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(context / "source")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list((context / "source" / "dist").glob("edgevision-*.whl"))) == 1


def unit() -> ConfigParser:
    parser = ConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their capitals
    parser.read(FOLDER / "edgevision.service")
    return parser


def test_the_unit_starts_an_existing_command_and_handles_its_exit_codes() -> None:
    service = dict(unit()["Service"])
    program, command, file = service["ExecStart"].split()
    assert Path(program).name == "edgevision"
    assert command in COMMANDS
    assert file.endswith(".toml")
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["Restart"] == "always"
    clean = service["SuccessExitStatus"].split()
    assert "143" in clean
    assert str(STUCK_EXIT_CODE) not in clean
    assert int(service["WatchdogSec"]) >= 10
    assert int(service["TimeoutStopSec"]) > 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "edgevision.service").read_text()
    copy = tmp_path / "edgevision.service"
    copy.write_text(text.replace("/opt/edgevision/bin/edgevision", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "edgevision" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example configuration next to a bundle with its classes."""
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    write_brightness_bundle(tmp_path / "mymodel")
    manifest = json.loads((tmp_path / "mymodel" / "bundle.json").read_text())
    manifest["spec"]["classes"] = ["person", "bicycle"]
    (tmp_path / "mymodel" / "bundle.json").write_text(json.dumps(manifest))
    return Path(shutil.copy(FOLDER / "example.toml", tmp_path))


def test_the_example_is_in_order(example: Path) -> None:
    environment = {
        "STATE_DIRECTORY": str(example.parent),
        "DOOR_PASSWORD": "x",
        "ALARM_TOKEN": "y",
        "EDGEVISION_TOKEN": "0123456789abcdef",
    }
    reading = read_deployment(example, environment)
    assert (list(map(str, reading.problems)), list(map(str, reading.warnings))) == ([], [])
    settings = reading.require()
    assert [camera.name for camera in settings.cameras] == ["door", "yard"]
    assert settings.page is not None


def test_the_example_has_every_key() -> None:
    sections: dict[str, str] = {}
    heading = ""
    for line in (FOLDER / "example.toml").read_text().splitlines():
        if found := re.match(r"\[+([a-z]+)(?:\.([a-z]+))?\]+", line):
            heading = found[1]
            line = f"{found[2]} =" if found[2] else ""
        sections[heading] = sections.get(heading, "") + line + "\n"
    for table in settings_of(Settings):
        assert isinstance(table.kind, Table)
        for key in settings_of(table.kind.kind):
            assert re.search(rf"^(# )?{key.name} =", sections[table.name], re.MULTILINE), (
                f"{table.name}.{key.name}"
            )


class Answers(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_health_check_asks_the_page(server: http.server.HTTPServer, tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(f"[page]\nhost = '0.0.0.0'\nport = {server.server_port}\n")
    assert address(file) == f"http://127.0.0.1:{server.server_port}/health"
    assert main(file) == 0
    Answers.status = 503
    try:
        assert main(file) == 1
    finally:
        Answers.status = 200
    server.shutdown()
    server.server_close()
    assert main(file) == 1


def test_without_a_page_there_is_nothing_to_ask(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    assert main(file) == 0
    file.write_text("[model]\n")
    assert main(file) == 0
    file.write_text("[page]\nhost = '::'\n")
    assert address(file) == "http://[::1]:8080/health"
