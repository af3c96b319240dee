"""Text output of steps, verification records and tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from edgevision.bundle.folder import Verification


class Steps:
    """Prints each finished step with its duration in seconds, on standard error."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def done(self, text: str) -> None:
        """Print a step."""
        now = time.perf_counter()
        click.echo(f"{now - self._began:7.1f} s  {text}", err=True)
        self._began = now


def verification_lines(verification: Verification) -> list[str]:
    """A heading and one line for each check."""
    word = "passed" if verification.passed else "FAILED"
    lines = [
        f"{verification.stage} verification {word}: {verification.library}, {verification.frames} frames,"
        f" {verification.machine_class or 'unknown machine class'}, {verification.created}"
    ]
    lines += [
        f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.measured:.6g} ({check.relation} {check.limit:g})"
        for check in verification.checks
    ]
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first is left-aligned, the others right-aligned."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
