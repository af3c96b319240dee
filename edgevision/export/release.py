"""Obtains a published checkpoint from a folder, the cache or its authors, and always checks its hash."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from edgevision.errors import CheckpointError
from edgevision.models.recipe import Release
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder
from edgevision.storage.sha256 import sha256_of_file

_PIECE = 1 << 18
_TIMEOUT_S = 20


def obtain(release: Release, progress: Callable[[str], None], *, data: Path | None = None) -> Path:
    """The release's file: in ``data/weights``, in the cache, or downloaded into the cache.

    A file with another sha256 than the release's is never used. Raises `CheckpointError` with the fix.
    """
    places = [cache_folder() / release.file]
    if data is not None:
        places.insert(0, data / "weights" / release.file)
    for place in places:
        if place.is_file():
            _check(place, release)
            return place
    progress(f"downloading {release.url} ({release.licence})")
    _download(release, places[-1])
    return places[-1]


def _download(release: Release, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic.staged_file(target) as temporary,
            urllib.request.urlopen(release.url, timeout=_TIMEOUT_S) as response,
        ):
            with temporary.open("wb") as file:
                while piece := response.read(_PIECE):
                    file.write(piece)
            _check(temporary, release)
    except urllib.error.URLError as error:
        raise CheckpointError(
            f"{release.url} cannot be reached ({error.reason}); on a machine without a network put {release.file} into"
            f" {target.parent}, or set EDGEVISION_DATA to a folder that holds weights/{release.file}"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot store {target}: {error.strerror or error}; set EDGEVISION_CACHE"
        ) from error


def _check(path: Path, release: Release) -> None:
    found = sha256_of_file(path)
    if found != release.sha256:
        raise CheckpointError(
            f"{path} is not {release.file}: sha256 {found}, expected {release.sha256}; remove it"
        )
