"""A setting is defined once: a new one is a key of files, an option, and a row of the documentation."""

from __future__ import annotations

from dataclasses import dataclass, field

import click
import pytest
from click.testing import CliRunner

from edgevision.cli.options.defined import group_options, option_of, options_of
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.config.document import parse
from edgevision.service.config.schema import Reader
from edgevision.service.config.settings import (
    CameraSettings,
    ModelSettings,
    PageSettings,
    SinkSettings,
)
from edgevision.settings.kinds import Choice, Flag, Number, Text, Texts
from edgevision.settings.setting import definition, group, setting, settings_of
from tests.service.config.test_docs import table_of

GROUPS = (ModelSettings, PipelineOptions, CameraSettings, SinkSettings, PageSettings)


@dataclass(frozen=True, slots=True)
class FanSettings:
    """Settings that no command uses."""

    speed_rpm: float = field(
        default=900.0,
        metadata=setting(Number(0, 3000), "Speed of the fan.", option="--fan-speed", metavar="RPM"),
    )
    blades: int = field(default=5, metadata=setting(Number(2, 9, whole=True), "Blades.", option="--blades"))
    mode: str = field(
        default="quiet", metadata=setting(Choice(("quiet", "loud")), "How it runs.", option="--mode")
    )
    steps: int | str = field(
        default="auto", metadata=setting(Number(1, 4, whole=True, word="auto"), "Steps.", option="--steps")
    )
    reverse: bool = field(default=False, metadata=setting(Flag(), "Turn it round.", option="--reverse"))
    rooms: tuple[str, ...] = field(default=(), metadata=setting(Texts("rooms"), "Where.", option="--room"))
    label: str | None = field(default=None, metadata=setting(Text("a text"), "Its name."))


@click.command()
@options_of(FanSettings, "speed_rpm", "blades", "mode", "steps", "reverse", "rooms")
def fan(**given: object) -> None:
    """A command."""
    click.echo(repr(given))


def invoked(*arguments: str) -> str:
    return CliRunner().invoke(fan, list(arguments)).output


def test_a_new_setting_is_an_option_with_its_range_default_unit_and_help() -> None:
    assert invoked() == (
        "{'fan_speed': 900.0, 'blades': 5, 'mode': 'quiet', 'steps': 'auto', 'reverse': False, 'room': ()}\n"
    )
    given = invoked("--fan-speed", "20", "--steps", "3", "--reverse", "--room", "hall", "--room", "yard")
    assert "'fan_speed': 20.0" in given
    assert "'steps': 3, 'reverse': True, 'room': ('hall', 'yard')" in given
    text = " ".join(invoked("--help").split())
    assert "--fan-speed RPM Speed of the fan. [default: 900.0; 0<=x<=3000]" in text
    assert "--blades INTEGER RANGE Blades. [default: 5; 2<=x<=9]" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fan-speed", "3001"), "3001.0 is not in the range 0<=x<=3000"),
        (("--fan-speed", "nan"), "finite"),
        (("--blades", "1"), "1 is not in the range 2<=x<=9"),
        (("--mode", "off"), "'off' is not one of 'quiet', 'loud'"),
        (("--steps", "5"), "'5' is not \"auto\" or a whole number from 1 to 4"),
    ],
)
def test_an_option_refuses_what_a_file_refuses(arguments: tuple[str, str], message: str) -> None:
    assert message in invoked(*arguments)


def test_a_new_setting_is_a_key_of_a_file_and_a_row_of_the_documentation() -> None:
    document = parse(b'speed_rpm = 20\nblades = 12\nmode = "loud"\n', "fan.toml")
    reader = Reader(document, {})
    read = reader.table(FanSettings, document.data)
    assert (read.speed_rpm, read.mode, read.steps) == (20.0, "loud", "auto")
    (problem,) = reader.problems
    assert problem.line == 2
    assert "expected a whole number from 2 to 9; received 12" in problem.text
    assert (
        "| `speed_rpm` | `--fan-speed` | a number from 0 to 3000 | `900` | Speed of the fan. |"
        in table_of("[fan]", FanSettings)
    )


def test_a_setting_without_an_option_has_none() -> None:
    assert definition(FanSettings, "label").option is None
    with pytest.raises(KeyError, match=r"FanSettings\.label has no option"):
        option_of(FanSettings, "label")


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """A table that contains a group."""

    name: str = field(default="hall", metadata=setting(Text("a text"), "Its name."))
    fan: FanSettings = field(default_factory=FanSettings, metadata=group(FanSettings))


def test_a_group_is_read_from_the_table_around_it_and_from_options() -> None:
    document = parse(b'name = "yard"\nblades = 3\n', "room.toml")
    reader = Reader(document, {})
    assert reader.table(RoomSettings, document.data) == RoomSettings("yard", FanSettings(blades=3))
    assert reader.problems == []
    assert "| `blades` | `--blades` |" in table_of("[room]", RoomSettings)
    seen: list[FanSettings] = []
    command = click.command()(
        group_options(FanSettings, "fan", without=("mode",))(lambda fan: seen.append(fan))
    )
    assert CliRunner().invoke(command, ["--blades", "4", "--room", "hall"]).exit_code == 0
    assert seen == [FanSettings(blades=4, rooms=("hall",))]
    assert "No such option" in CliRunner().invoke(command, ["--mode", "loud"]).output


def test_no_option_is_defined_twice() -> None:
    options = [found.option for group in GROUPS for found in settings_of(group) if found.option]
    assert len(options) == len(set(options)) >= 20
