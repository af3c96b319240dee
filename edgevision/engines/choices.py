"""Stores comparisons of engines on this machine, and finds the one that is valid now.

A bundle travels to other machines, so the file is in the cache folder, under the hash of the bundle's graphs. This also
serves read-only bundles. A comparison is valid only for the facts that it was made with; otherwise it is ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import edgevision
from edgevision.bundle.fastest import Excluded, Timing
from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import COMPUTED
from edgevision.device.cpu_class import cpu_class, cpu_computes
from edgevision.device.facts import library_versions, machine_name
from edgevision.engines.tensorrt.store import stored_engines
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_text

LOG = logging.getLogger(__name__)

LIBRARIES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
    "libcudart",
)
"""Libraries whose versions a comparison depends on."""


@dataclass(frozen=True, slots=True)
class ComparedOn:
    """Facts that the speeds of engines depend on, besides the graphs."""

    machine: str
    """Result of `device.machine_name`: board, processor, usable cores, GPUs, power mode."""
    cpu_class: str
    """The class, and the types below float32 that the CPU computes."""
    threads: str
    """CPU threads per call, or "all"."""
    device: str
    """The device that was compared, or "any"."""
    libraries: str
    """Installed engines with versions."""
    built_engines: str
    """Hashes of the engines in the bundle that were built for a GPU."""
    edgevision: str

    @property
    def key(self) -> tuple[str, str, str]:
        """A newer comparison of the same key replaces an older one."""
        return self.machine, self.threads, self.device

    def difference(self, now: ComparedOn) -> str | None:
        """The first fact that differs, as text; None if all are equal."""
        for field in fields(self):
            before, current = getattr(self, field.name), getattr(now, field.name)
            if before != current:
                what = field.name.replace("_", " ")
                return f"{what}: {before or 'none'} then, {current or 'none'} now"
        return None


@dataclass(frozen=True, slots=True)
class EngineComparison:
    """Timings of all engines and graphs that passed verification on this machine."""

    created: str
    """UTC, ISO 8601."""
    command: str
    """The command that measured."""
    facts: ComparedOn
    timings: tuple[Timing, ...]
    """In the order of preference."""
    excluded: tuple[Excluded, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of a file in the cache folder."""

    comparisons: tuple[EngineComparison, ...]


def facts_here(bundle: Bundle, threads: int | None, device: str | None) -> ComparedOn:
    """The facts of this machine now. This calls system tools, which is slow."""
    plans = sorted(engine.manifest.plan.sha256[:16] for engine in stored_engines(bundle.path).engines)
    return ComparedOn(
        machine=machine_name(),
        cpu_class=" ".join((cpu_class(), *cpu_computes())),
        threads=str(threads or "all"),
        device=device or "any",
        libraries=", ".join(f"{fact.name} {fact.value}" for fact in library_versions(LIBRARIES)),
        built_engines=", ".join(plans),
        edgevision=edgevision.__version__,
    )


def stored_comparison(bundle: Bundle, threads: int | None, device: str | None) -> EngineComparison | None:
    """The comparison that is valid here and now; None if there is none.

    For one device, a comparison of all devices also serves. The reason for ignoring one is logged.
    """
    stored = _read(bundle)
    if not stored:
        return None
    now = facts_here(bundle, threads, device)
    wanted = [now] if device is None else [now, facts_here(bundle, threads, None)]
    for facts in wanted:
        for comparison in stored:
            if comparison.facts == facts:
                return comparison
    newest = max(stored, key=lambda comparison: (comparison.facts.key == now.key, comparison.created))
    LOG.info(
        "the comparison of engines of %s is ignored: %s", newest.created[:10], newest.facts.difference(now)
    )
    return None


def store_comparison(bundle: Bundle, comparison: EngineComparison) -> Path | None:
    """Store the comparison in place of an older one of its machine, threads and device.

    Returns its file; None, with a warning, if the cache folder cannot be written.
    """
    kept = [other for other in _read(bundle) if other.facts.key != comparison.facts.key]
    path = _file(bundle)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, json_text(_Stored((*kept, comparison))).encode())
    except OSError as error:
        LOG.warning(
            "cannot store the choice of an engine in %s (%s); set EDGEVISION_CACHE to a writable folder",
            path.parent,
            error.strerror or error,
        )
        return None
    return path


def _file(bundle: Bundle) -> Path:
    hashes = "\n".join(sorted(f"{graph.precision} {graph.file.sha256}" for graph in bundle.manifest.graphs))
    return cache_folder() / "choices" / f"{hashlib.sha256(hashes.encode()).hexdigest()[:32]}.json"


def _read(bundle: Bundle) -> Sequence[EngineComparison]:
    try:
        stored = dataclass_from_json(_Stored, json.loads(_file(bundle).read_bytes())).comparisons
    except (OSError, ValueError, DecodeError, RecursionError):  # absent, damaged, or of another version
        return ()
    precisions = {*(graph.precision for graph in bundle.manifest.graphs), *COMPUTED}
    return [one for one in stored if all(timing.precision in precisions for timing in one.timings)]
