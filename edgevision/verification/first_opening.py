"""Verifies the golden frames when a bundle is first opened on a new class of machine.

Kernels of lower precision differ between classes of machines, and so may their answers. The record is stored in the
bundle; if that is not writable, in the cache folder under the graph's hash.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from edgevision.bundle.folder import Bundle, GraphEntry, Verification
from edgevision.contract.session import Session
from edgevision.contract.spec import COMPUTED, Precision, graph_name
from edgevision.errors import BundleError
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_from_dataclass
from edgevision.verification.golden import verify_session

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of a file in the cache folder."""

    verifications: tuple[Verification, ...]


def with_cached_records(bundle: Bundle) -> Bundle:
    """The bundle with records from the cache folder; the bundle's folder is not changed."""
    for entry in (*bundle.manifest.graphs, *map(bundle.graph, COMPUTED)):
        for record in _cached(entry):
            bundle = bundle.with_record(entry.precision, record)
    return bundle


def verify_first_opening(session: Session, bundle: Bundle, precision: Precision) -> Verification:
    """Run the golden frames and store the record, passed or not.

    Raises `BundleError` if the golden frames cannot be read, `EngineError` if the engine fails on them.
    """
    began = time.perf_counter()
    record = verify_session(session, bundle.golden(), precision=precision)
    LOG.warning(
        "%s: no record of the %s in %s on %s: golden frames %s in %.1f s",
        bundle.spec.name,
        graph_name(precision),
        record.engine,
        record.machine_class,
        "passed" if record.passed else f"FAILED ({record.failures})",
        time.perf_counter() - began,
    )
    store_record(bundle, precision, record)
    return record


def store_record(bundle: Bundle, precision: Precision, record: Verification) -> None:
    """Store a record in the bundle, or in the cache folder if the bundle cannot be written."""
    try:
        # Another process may have written its own record in the meantime.
        Bundle.open(bundle.path).with_verification(precision, record)
    except (BundleError, OSError) as error:
        LOG.info("cannot write the record to %s (%s); using the cache folder", bundle.path, error)
        _cache(bundle.graph(precision), record)


def _file(entry: GraphEntry) -> Path:
    kind = f".{entry.precision}" if entry.precision in COMPUTED else ""
    return cache_folder() / "verifications" / f"{entry.file.sha256}{kind}.json"


def _cached(entry: GraphEntry) -> tuple[Verification, ...]:
    try:
        return dataclass_from_json(_Stored, json.loads(_file(entry).read_bytes())).verifications
    except (OSError, ValueError, DecodeError):  # absent or damaged: the golden frames run again
        return ()


def _cache(entry: GraphEntry, record: Verification) -> None:
    which = (record.engine, record.machine_class)
    others = tuple(v for v in _cached(entry) if (v.engine, v.machine_class) != which)
    content = json_from_dataclass(_Stored((*others, record)))
    try:
        _file(entry).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(_file(entry), (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        LOG.warning(
            "cannot write to the bundle or %s (%s): the golden frames run at each start; set EDGEVISION_CACHE to a"
            " writable folder",
            _file(entry).parent,
            error.strerror or error,
        )
