"""Reads texts and numbers from files of the kernel."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """The text without surrounding whitespace and zero bytes; None if it is empty or unreadable."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:  # also of a disabled sensor
        return None


def number(path: Path, divisor: float) -> float | None:
    """The number, divided; None if there is none."""
    try:
        return float(text(path) or "") / divisor
    except ValueError:
        return None


def numbers(path: Path, divisor: float) -> list[float]:
    """All whole numbers, divided."""
    return [float(word) / divisor for word in (text(path) or "").split() if word.isdigit()]
