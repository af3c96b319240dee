"""docs/deploy.md describes every key as the schema does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevision.service.config.settings import Settings
from edgevision.service.watchdog import STUCK_EXIT_CODE
from edgevision.settings.kinds import Kind
from edgevision.settings.setting import Table, settings_of

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "deploy.md").read_text()


def table_of(heading: str, kind: type) -> str:
    """A table in Markdown, as the document has to have it."""
    rows = [f"### `{heading}`", "", "| key | option | takes | default | is |", "|---|---|---|---|---|"]
    for key in settings_of(kind):
        assert isinstance(key.kind, Kind)
        default = "**must be given**" if key.required else written(key.default)
        option = f"`{key.option}`" if key.option else ""
        rows.append(f"| `{key.name}` | {option} | {key.kind.expected} | {default} | {key.help} |")
    return "\n".join(rows)


def written(default: object) -> str:
    """A default as TOML has it."""
    if default is None:
        return ""
    if default == ():
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{json.dumps(default)}`"


def tables() -> dict[str, str]:
    """All, by their headings."""
    found = {}
    for key in settings_of(Settings):
        assert isinstance(key.kind, Table)
        heading = f"[[{key.name}]]" if key.kind.several else f"[{key.name}]"
        found[heading] = table_of(heading, key.kind.kind)
    return found


@pytest.mark.parametrize("heading", sorted(tables()))
def test_every_key_is_in_the_document(heading: str) -> None:
    assert tables()[heading] in DOCUMENT, f"docs/deploy.md should have:\n{tables()[heading]}"


def test_the_document_has_no_other_tables_of_keys() -> None:
    headings = [line.strip("#` ") for line in DOCUMENT.splitlines() if line.startswith("### `[")]
    assert sorted(headings) == sorted(tables())


def test_the_exit_code_is_the_one_in_the_document() -> None:
    assert f"| {STUCK_EXIT_CODE} |" in DOCUMENT
