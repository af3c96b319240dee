"""A folder of event images with limits on number, size and age."""

from __future__ import annotations

import errno
import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgevision.errors import SinkError, UsageError
from edgevision.sinks.files.images import probe_folder
from edgevision.sinks.record import json_of
from edgevision.storage import atomic

log = logging.getLogger(__name__)

WRITER = "edgevision events 1"
"""Marker in each JSON file; only images with such a file are ever deleted."""
STEM = re.compile(r"\d{8}T\d{6}\.\d{6}Z_[\w.-]+", re.ASCII)
PARTIAL = re.compile(rf"\.{STEM.pattern}\.\w+\.partial\.(?:jpg|json)", re.ASCII)
DELETED_FOR_ONE = 8
"""Maximum number of old images deleted for one new image on a full disk."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits of a folder; the oldest images are deleted first."""

    pictures: int = 1000
    max_bytes: int = 500 * 2**20
    max_age_s: float = 30 * 86400.0

    def __post_init__(self) -> None:
        for name in ("pictures", "max_bytes", "max_age_s"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"limit {name} of event images is {getattr(self, name)}; expected more than 0"
                )


@dataclass(frozen=True, slots=True)
class _Stored:
    stem: str
    size_bytes: int
    written_at: float
    """By this machine's clock, because a camera's clock may be years off."""


class EventFolder:
    """JPEGs with one JSON file each, in one folder, sorted by name from old to new.

    Deletes only its own files from this or an earlier run: JSON files with its marker, and images of the same name.
    """

    def __init__(self, folder: Path, retention: Retention, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._retention = retention
        self._clock = clock
        probe_folder(folder)
        for path in folder.iterdir():
            if PARTIAL.fullmatch(path.name):  # left by a killed run
                path.unlink(missing_ok=True)
        found = (_stored(path) for path in sorted(folder.glob("*.json")))
        self._stored = deque(each for each in found if each is not None)
        self._bytes = sum(each.size_bytes for each in self._stored)
        self.enforce()

    def __len__(self) -> int:
        return len(self._stored)

    def add(self, taken_at: float, name: str, jpeg: bytes, record: dict[str, Any]) -> Path:
        """Write an image and its record atomically, and return the image's path. Raises `SinkError`.

        On a full disk the oldest images are deleted, a few for each new one.
        """
        stem = f"{datetime.fromtimestamp(taken_at, timezone.utc):%Y%m%dT%H%M%S.%f}Z_{name}"
        picture = self.folder / f"{stem}.jpg"
        text = json_of({"writer": WRITER, "picture": picture.name, **record}) + b"\n"
        for _ in range(DELETED_FOR_ONE):
            try:
                self._write(picture, jpeg, text)
                break
            except OSError as error:
                if error.errno not in FULL or not self._stored:
                    raise SinkError(f"cannot write {picture}: {error.strerror}") from error
                self._delete_oldest()
        else:
            raise SinkError(
                f"cannot write {picture}: no space left on device, even after deleting {DELETED_FOR_ONE} older"
                " images"
            )
        self._stored.append(_Stored(stem, len(jpeg) + len(text), self._clock()))
        self._bytes += len(jpeg) + len(text)
        self.enforce()
        return picture

    def enforce(self) -> None:
        """Delete images over the limits; the newest image stays, unless it is too old."""
        limits = self._retention
        while self._stored:
            too_old = self._clock() - self._stored[0].written_at > limits.max_age_s
            too_many = len(self._stored) > 1 and (
                len(self._stored) > limits.pictures or self._bytes > limits.max_bytes
            )
            if not too_old and not too_many:
                return
            self._delete_oldest()

    def _write(self, picture: Path, jpeg: bytes, text: bytes) -> None:
        # The record is written first, because an image without one would never be deleted.
        record = picture.with_suffix(".json")
        atomic.write_file(record, text)
        try:
            atomic.write_file(picture, jpeg)
        except OSError:
            record.unlink(missing_ok=True)
            raise

    def _delete_oldest(self) -> None:
        oldest = self._stored.popleft()
        self._bytes -= oldest.size_bytes
        try:
            # The image first, for the same reason.
            (self.folder / f"{oldest.stem}.jpg").unlink(missing_ok=True)
            (self.folder / f"{oldest.stem}.json").unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot delete %s/%s: %s", self.folder, oldest.stem, error.strerror)


def _stored(record: Path) -> _Stored | None:
    """An image of an earlier run; None for any other file."""
    if not STEM.fullmatch(record.stem):
        return None
    try:
        content = json.loads(record.read_bytes())
        picture = record.with_suffix(".jpg")
        if content["writer"] != WRITER or content["picture"] != picture.name:
            return None
        state = record.stat()
        size = state.st_size + (picture.stat().st_size if picture.exists() else 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _Stored(record.stem, size, state.st_mtime)
