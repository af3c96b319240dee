"""Text output of steps, verification records and tables."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import click

from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.session import Session
from edgevision.contract.thresholds import Threshold, by_class, least_of


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
    noun = "images" if any(check.tensor == "image" for check in verification.checks) else "frames"
    lines = [
        f"{verification.stage} verification {word}: {verification.library}, {verification.frames} {noun},"
        f" {verification.machine_class or 'unknown machine class'}, {verification.created}"
    ]
    lines += [
        f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.measured:.6g} ({check.relation} {check.limit:g})"
        for check in verification.checks
    ]
    return lines


def show_bundle(bundle: Bundle, steps: Steps) -> None:
    """Print that a bundle was written, and every verification of its graphs."""
    steps.done(f"wrote {bundle.path}")
    for one in (bundle, *bundle.coders):
        folder = "" if one is bundle else f"{one.path.name}/"
        for entry in one.manifest.graphs:
            for verification in entry.verifications:
                title = f"{folder}{entry.file.name} in {verification.engine}:"
                click.echo("\n".join([title, *verification_lines(verification)]))


def finish_bundle(bundle: Bundle, steps: Steps, tensorrt: tuple[str, ...], *, fp16: bool) -> None:
    """Add the FP16 graph if it is wanted, and print what was written."""
    if fp16:  # imported here because they need onnx
        if bundle.manifest.parts:
            from edgevision.export.pipelines.half_parts import with_fp16_parts as with_fp16
        else:
            from edgevision.export.half import with_fp16
        bundle = with_fp16(bundle, steps.done, tensorrt)
        for coder in bundle.coders:
            with_fp16(coder, functools.partial(_named, steps, coder.path.name), tensorrt)
    show_bundle(bundle, steps)


def _named(steps: Steps, name: str, text: str) -> None:
    steps.done(f"{name}: {text}")


MOST_CLASSES = 8
"""Number of classes up to which their thresholds are listed."""
VISIBLE = 0.01
"""Difference of a threshold from the graph's score threshold from which a warning is printed."""


def chosen_threshold(session: Session, threshold: float | None) -> Threshold:
    """The user's threshold, or the session's; prints a line on standard error if that is an operating point.

    It warns of a threshold below the graph's own.
    """
    floor = 0.0 if session.spec.nms is None else session.spec.nms.score_floor
    least = least_of(session.threshold) if threshold is None else threshold
    if least <= floor - VISIBLE:
        click.echo(
            f"warning: the threshold {least:g} has no effect below {floor:g}, because the graph returns no lower score;"
            " export with a lower --score-threshold",
            err=True,
        )
    if threshold is not None:
        return threshold
    known = by_class(session.threshold, session.spec.classes)
    if known is not None:
        listed = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
        shown = listed if len(known) <= MOST_CLASSES else f"{session.threshold:.2f}"
        click.echo(f"confidence thresholds of the bundle: {shown}; --threshold replaces them", err=True)
    return session.threshold


def run_text(session: Session) -> str:
    """Model, graph and engine in words."""
    return f"{session.spec.name}, {session.precision or 'bare'} graph, {session.info.library}"


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
