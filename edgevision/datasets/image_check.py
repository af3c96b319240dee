"""Checks at the start that all images can be decoded, instead of failing hours later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgevision.errors import SourceError
from edgevision.sources.image_files import read_image

MOST_BROKEN = 0.01
"""Maximum share of broken images; a larger share indicates another problem with the data."""
_LISTED = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An image that cannot be decoded."""

    place: int
    """Its index among the requested images."""
    reason: str


def decode_all(read: Callable[[int], T], count: int) -> tuple[list[T | None], list[Broken]]:
    """Call `read` for each index in threads; if `read` raises `SourceError`, the item is None and listed."""
    broken: list[Broken] = []

    def attempt(place: int) -> T | None:
        try:
            return read(place)
        except SourceError as error:
            broken.append(Broken(place, str(error)))
            return None

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(attempt, range(count)))
    return found, sorted(broken, key=lambda item: item.place)


def usable_files(files: Sequence[Path], *, strict: bool = False) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files that decode, and a warning for the others; raises the errors of `accept`."""
    _, broken = decode_all(lambda place: read_image(files[place]).shape, len(files))
    warnings = accept(broken, len(files), strict=strict)
    left_out = {item.place for item in broken}
    return tuple(file for place, file in enumerate(files) if place not in left_out), warnings


def accept(broken: Sequence[Broken], count: int, *, strict: bool) -> tuple[str, ...]:
    """The warning on broken images; raises `SourceError` for a share over `MOST_BROKEN`, or for any with `strict`."""
    if not broken:
        return ()
    listed = "".join(f"\n  {item.reason}" for item in broken[:_LISTED])
    more = f"\n  ... and {len(broken) - _LISTED} more" if len(broken) > _LISTED else ""
    share = len(broken) / count
    if strict or share > MOST_BROKEN:
        why = "--strict allows none" if strict else f"at most {100 * MOST_BROKEN:g} % may be skipped"
        raise SourceError(
            f"{len(broken)} of {count} images cannot be decoded, {why}; repair or remove them:{listed}{more}"
        )
    return (f"{len(broken)} of {count} images cannot be decoded and are skipped:{listed}{more}",)
