"""What is said about live sources on the command line arrives where they are opened."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from edgevision.addresses import LiveOptions
from edgevision.cli.run import command as run_command
from edgevision.cli.source_options import source_options
from edgevision.picture_watch import WatchOptions


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], LiveOptions()),
        (["--freeze-after", "0"], LiveOptions(watch=WatchOptions(freeze_after_s=None))),
        (["--freeze-after", "2.5"], LiveOptions(watch=WatchOptions(freeze_after_s=2.5))),
        (
            ["--give-up-after", "60", "--rtsp-transport", "udp"],
            LiveOptions(give_up_after_s=60, transport="udp"),
        ),
    ],
)
def test_options_arrive(arguments: list[str], expected: LiveOptions) -> None:
    seen = []

    @click.command()
    @source_options
    def probe(live: LiveOptions) -> None:
        seen.append(live)

    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 0, result.output
    assert seen == [expected]


def test_run_takes_them() -> None:
    names = {name for parameter in run_command.params for name in parameter.opts}
    assert {"--freeze-after", "--give-up-after", "--rtsp-transport"} <= names
