"""docs/sinks.md matches the sinks."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.commands.run import command
from edgevision.sinks import addresses
from edgevision.sinks.files.csv_table import COLUMNS, EVENT_COLUMNS
from edgevision.sinks.record import event_records, record_of
from tests.sinks.results import eventful

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text()


@pytest.mark.parametrize("columns", [COLUMNS, EVENT_COLUMNS], ids=["detections", "events"])
def test_columns_are_those_of_the_table(columns: tuple[str, ...]) -> None:
    assert f"\n{','.join(columns)}\n" in PAGE


def test_every_field_of_a_record_is_documented() -> None:
    done = eventful()
    (event,) = event_records(done, uuid.uuid4())
    documented = set(re.findall(r"`(\w+)`", PAGE))
    assert {*record_of(done), *event} <= documented


def test_every_variable_is_documented() -> None:
    names = [addresses.MQTT_USER, addresses.MQTT_PASSWORD, addresses.WEBHOOK_SECRET, addresses.WEBHOOK_TOKEN]
    assert all(f"`{name}`" in PAGE for name in names)
    assert sorted(set(re.findall(r"EDGEVISION_(?:MQTT|WEBHOOK)_\w+", PAGE))) == sorted(names)


def test_every_option_is_one_of_the_command() -> None:
    printed = CliRunner().invoke(command, ["--help"]).output
    options = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert {"--csv", "--mqtt", "--webhook", "--events", "--keep"} <= options
    assert all(option in printed for option in options), options


def test_the_check_of_a_signature_works() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    good = "sha256=" + hmac.new(b"key", b"body", hashlib.sha256).hexdigest()
    assert is_genuine(b"body", good, "key")
    assert not is_genuine(b"body ", good, "key")
