"""Class names of labels."""

from __future__ import annotations

from pathlib import Path

from edgevision.errors import UsageError

ANY = "any"
"""Name of the last class of a model that fills a region: no class, so that the rest of the image alone decides."""


def class_name(classes: tuple[str, ...], label: int) -> str:
    """The name of a label, or its number if it has no name."""
    return classes[label] if 0 <= label < len(classes) else str(label)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read names, one per line, in the order of the labels; raises `UsageError` with the wrong line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} as a text file of class names: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UsageError(f"{path} contains no class name; expected one per line")
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name:
            raise UsageError(f"{path}:{number} is empty; expected one class name per line")
        if name in names:
            raise UsageError(
                f"{path}:{number} repeats {name!r} of line {names[name]}; expected different names"
            )
        names[name] = number
    return tuple(names)
