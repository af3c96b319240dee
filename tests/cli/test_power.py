"""Commands that run for long warn of what slows the device down."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.commands import deploy, live
from edgevision.cli.root import edgevision
from edgevision.device.power import watch
from edgevision.device.power.reading import power_state
from edgevision.pipeline.pipeline import run_streams
from tests.device.power.trees import ORIN_NANO_36, grow


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = grow(tmp_path / "board", ORIN_NANO_36)
    monkeypatch.setattr(watch, "power_state", lambda: power_state(root))
    monkeypatch.setattr(watch, "PERIOD_S", 0.01)
    return root


def test_a_run_reports_throttling(
    brightness_bundle: Path, board: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def starved(*arguments: object, **options: object) -> object:
        grow(board, {"sys/class/hwmon/hwmon3/oc3_event_cnt": "27395\n"})
        return run_streams(*arguments, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr("edgevision.cli.commands.run.run_streams", starved)
    with caplog.at_level(logging.WARNING):
        done = CliRunner().invoke(edgevision, ["run", str(brightness_bundle), "demo:", "--limit", "3"])
    assert done.exit_code == 0, done.output
    assert "meanwhile instantaneous over-current (OC3): 5 times" in done.output


def test_a_run_at_full_clocks_prints_no_warning(brightness_bundle: Path, board: Path) -> None:
    done = CliRunner().invoke(edgevision, ["run", str(brightness_bundle), "demo:", "--limit", "3"])
    assert done.exit_code == 0, done.output
    assert "meanwhile" not in done.output


class Recorder:
    """In place of the watch: whether it was begun and ended."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def __enter__(self) -> Recorder:
        self.steps.append("begun")
        return self

    def __exit__(self, *_: object) -> None:
        self.steps.append("ended")


@pytest.mark.parametrize("command", ["live", "deploy"])
def test_the_page_and_the_service_are_watched(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    recorder = Recorder()
    monkeypatch.setattr(
        "edgevision.cli.commands.deploy.faulthandler.enable", lambda: None
    )  # the runner's output is no file
    monkeypatch.setattr({"live": live, "deploy": deploy}[command], "PowerWatch", lambda: recorder)
    words = {"live": [str(tmp_path), "demo:", "--port", "0"], "deploy": [str(tmp_path / "absent.toml")]}
    done = CliRunner().invoke(edgevision, [command, *words[command]])
    assert done.exit_code != 0, "there is nothing to run here"
    assert recorder.steps == ["begun", "ended"]
