"""A bundle as one block of bytes with a hash, which each device keeps."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.bundle.manifest import manifest_bytes
from edgevision.bundle.packaged import MANIFEST
from edgevision.errors import BundleError
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that equal bundles have equal bytes."""


@dataclass(frozen=True, slots=True)
class BundlePackage:
    """The files of a bundle without its built engines."""

    name: str
    """Name of the model."""
    digest: str
    """Hash of `data` in hexadecimal, sha256."""
    data: bytes
    """A ZIP archive without folders."""
    graphs: frozenset[str]
    """Hashes of the graphs."""


def package(bundle: Bundle) -> BundlePackage:
    """Pack a bundle, without an autoencoder's coders; raises `BundleError` if a file differs from its hash."""
    if bundle.manifest.parts:
        raise BundleError(f"{bundle.path} has several graphs; the fleet sends bundles of one graph only")
    bundle.check_files()
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(bundle.path.iterdir()):
            if path.is_file():
                data = path.read_bytes()
                if path.name == MANIFEST and bundle.manifest.coders:  # in folders, which are not sent
                    data = manifest_bytes(replace(bundle.manifest, coders=(), schema=bundle.spec.schema))
                archive.writestr(zipfile.ZipInfo(path.name, _DATE), data)
    data = memory.getvalue()
    graphs = frozenset(entry.file.sha256 for entry in bundle.manifest.graphs)
    return BundlePackage(bundle.spec.name, hashlib.sha256(data).hexdigest(), data, graphs)


def kept(digest: str) -> Path | None:
    """The folder of a package that this machine has; None if it has none, or if a file of it is damaged."""
    path = _folder(digest)
    try:
        Bundle.open(path).check_files()
    except BundleError:
        return None
    return path


def keep(digest: str, data: bytes) -> Path:
    """Unpack a package into the cache folder; raises `BundleError` for other bytes than those of the hash."""
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BundleError(f"the bundle arrived with sha256 {found}; expected {digest}; run the command again")
    path = _folder(digest)
    try:
        # Other nodes of this machine may have written it meanwhile, and use it.
        with atomic.staged_folder(path, may_replace=lambda _: kept(digest) is None) as folder:
            _unpack(data, folder)
    except atomic.OccupiedError:
        return path
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}; set EDGEVISION_CACHE to another folder"
        ) from error
    return path


def _unpack(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if Path(entry.filename).name != entry.filename or entry.filename in (".", ".."):
                raise BundleError(
                    f"the bundle has a file {json.dumps(entry.filename)}; expected names without a path"
                )
            (folder / entry.filename).write_bytes(archive.read(entry))


def _folder(digest: str) -> Path:
    return cache_folder() / "fleet" / digest
