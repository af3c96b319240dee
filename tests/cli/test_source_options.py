"""Command-line options of live sources reach the opened source."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgevision.cli.commands.run import command as run_command
from edgevision.cli.options.groups import camera_options
from edgevision.errors import SourceError
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.options import CameraOptions


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], CameraOptions()),
        (["--freeze-after", "0"], CameraOptions(freeze=FreezeOptions(freeze_after_s=None))),
        (["--freeze-after", "2.5"], CameraOptions(freeze=FreezeOptions(freeze_after_s=2.5))),
        (
            ["--outage-timeout", "60", "--rtsp-transport", "udp", "--decoder", "software"],
            CameraOptions(outage_timeout_s=60, transport="udp", decoder="software"),
        ),
    ],
)
def test_options_arrive(arguments: list[str], expected: CameraOptions) -> None:
    seen = []

    @click.command()
    @camera_options
    def probe(connection: CameraOptions) -> None:
        seen.append(connection)

    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 0, result.output
    assert seen == [expected]


def test_run_takes_them() -> None:
    names = {name for parameter in run_command.params for name in parameter.opts}
    assert {"--freeze-after", "--outage-timeout", "--rtsp-transport", "--decoder"} <= names


def test_a_run_on_the_camera_that_is_none(brightness_bundle: Path, tmp_path: Path) -> None:
    arguments = [
        str(brightness_bundle),
        "demo:64x48@60",
        "--limit",
        "5",
        "--jsonl",
        str(tmp_path / "found.jsonl"),
    ]
    result = CliRunner().invoke(run_command, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("5 frames in ")
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [line["source"] for line in lines] == ["demo:64x48@60"] * 5
    assert [line["frame"] for line in lines] == sorted({line["frame"] for line in lines})


def test_an_address_without_a_camera_is_one_clear_error_without_its_password(brightness_bundle: Path) -> None:
    result = CliRunner().invoke(run_command, [str(brightness_bundle), "rtsp://u:secret@127.0.0.1:9/x"])
    assert isinstance(result.exception, SourceError)
    assert str(result.exception) == "rtsp://127.0.0.1:9/x delivers no frames: Connection refused"
