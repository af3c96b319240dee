"""Progress and heading of evaluations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TypeVar

import click

from edgevision.contract.session import Session

Answer = TypeVar("Answer")


def shown(answers: Iterator[Answer], count: int) -> Iterator[Answer]:
    """The same results, with a progress bar on standard error."""
    with click.progressbar(answers, length=count, label="images", file=sys.stderr) as running:
        yield from running


def heading_of(session: Session, what: str) -> str:
    """Model, engine and device, what was measured, and notes of the engine."""
    notes = "".join(f"\n{note}" for note in session.info.notes)
    return f"{session.spec.name}, {session.info.library} on {session.info.device}: {what}{notes}"
