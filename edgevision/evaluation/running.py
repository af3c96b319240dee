"""Runs labelled images through a session in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from edgevision.contract.results import Result
from edgevision.contract.session import Session
from edgevision.contract.thresholds import Threshold
from edgevision.errors import UsageError
from edgevision.sources.image_files import read_image

Item = TypeVar("Item")
Kind = TypeVar("Kind", bound=Result)


def run_all(
    session: Session,
    items: Sequence[Item],
    file_of: Callable[[Item], Path],
    kind: type[Kind],
    verb: str,
    *,
    threshold: Threshold | None = None,
) -> Iterator[tuple[Item, Kind]]:
    """Run the image of every item; yields the item with its answer, which must be of `kind`.

    Raises `UsageError` for answers of another kind; `verb` names the expected task in its message.
    """
    size = session.spec.frames.batch.opt
    for start in range(0, len(items), size):
        chunk = items[start : start + size]
        frames = [read_image(file_of(item)) for item in chunk]
        for item, result in zip(chunk, session(frames, threshold=threshold), strict=True):
            if not isinstance(result, kind):
                raise UsageError(f"{session.spec.name} cannot {verb}: its task is {session.spec.task}")
            yield item, result
