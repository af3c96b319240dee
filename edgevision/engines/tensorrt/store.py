"""The engine store of a bundle: ``engines/FINGERPRINT/model.plan`` and ``engine.json``, written atomically."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevision.bundle.folder import Bundle, FileEntry
from edgevision.contract.spec import Precision
from edgevision.device.names import DeviceName
from edgevision.engines.tensorrt.manifest import (
    MANIFEST,
    PLAN,
    Decision,
    EngineManifest,
    Rebuild,
    Refuse,
    Run,
    Running,
    decide,
    read_manifest,
)
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.errors import BundleError
from edgevision.storage import atomic

ENGINES = "engines"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """An engine on disk whose manifest has been read; the plan is read on demand."""

    folder: Path
    manifest: EngineManifest

    @property
    def plan_path(self) -> Path:
        """The plan's file, unchecked."""
        return self.folder / PLAN

    def plan(self) -> bytes:
        """The plan, checked against the manifest first: TensorRT may crash on a damaged one."""
        again = f"rebuild: edgevision build {self.folder.parent.parent} --rebuild"
        try:
            data = self.plan_path.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {self.plan_path}: {error.strerror}; {again}") from error
        entry = self.manifest.plan
        if len(data) != entry.size_bytes:
            raise BundleError(
                f"{self.plan_path} has {len(data)} bytes; the manifest expects {entry.size_bytes}; {again}"
            )
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(
                f"{self.plan_path} was modified: its sha256 differs from the manifest's; {again}"
            )
        return data


@dataclass(frozen=True, slots=True)
class StoredEngines:
    """All engines of a bundle, and the errors of unreadable ones."""

    engines: tuple[StoredEngine, ...]
    problems: tuple[BundleError, ...]


def stored_engines(bundle: Path) -> StoredEngines:
    """Read every manifest under ``engines/``; unfinished folders (their names begin with a dot) are ignored."""
    engines, problems = [], []
    root = bundle / ENGINES
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith("."):
            try:
                engines.append(open_engine(folder))
            except BundleError as error:
                problems.append(error)
    return StoredEngines(tuple(engines), tuple(problems))


def open_engine(folder: Path) -> StoredEngine:
    """Read one engine's manifest; raises `BundleError`."""
    return StoredEngine(folder, read_manifest(folder / MANIFEST))


def choose_engine(
    bundle: Bundle, running: Running, precision: Precision | None = None, device: DeviceName | None = None
) -> StoredEngine | Rebuild | Refuse:
    """The fastest engine that `running` can run; else the decision on the newest one that it cannot.

    `device` selects engines for one DLA core, or engines without one; by default both count.

    Engines built in the current power mode come first, then the fastest by manifest, then the newest of those without a
    measurement. Engines of another flavour are ignored. Raises `BundleError` if the only candidates cannot be read.
    """
    found = stored_engines(bundle.path)
    wanted = [
        engine
        for engine in found.engines
        if engine.manifest.flavour == running.flavour
        and precision in (None, engine.manifest.precision)
        and (device is None or engine.manifest.dla_core == device.dla_core)
    ]
    wanted.sort(key=lambda engine: engine.manifest.created, reverse=True)
    wanted.sort(key=lambda engine: _rank(engine.manifest, running))
    decisions = [(engine, decide_engine(bundle, engine, running)) for engine in wanted]
    for engine, decision in decisions:
        if isinstance(decision, Run):
            return engine
    for kind in (Rebuild, Refuse):
        for _, decision in decisions:
            if isinstance(decision, kind):
                return decision
    if found.problems:
        raise found.problems[0]
    which = f" of precision {precision}" if precision else ""
    which += f" for {device}" if device else ""
    return Rebuild(
        f"{bundle.path} holds no {running.flavour} engine{which}",
        str(bundle.path),
        running.flavour,
        EngineRequest(precision or "auto", dla_core=device.dla_core if device else None),
    )


def _rank(manifest: EngineManifest, running: Running) -> tuple[bool, float]:
    """Sort key; the lowest is preferred."""
    built, here = manifest.built_on.power_mode, running.platform.power_mode
    other_mode = built is not None and here is not None and built != here
    return other_mode, -manifest.speed.frames_per_s if manifest.speed else 0.0


def decide_engine(bundle: Bundle, engine: StoredEngine, running: Running) -> Decision:
    """Decide if `running` can run this engine of this bundle; the plan is not read."""
    held = {entry.precision: entry.file.sha256 for entry in bundle.manifest.graphs}
    return decide(
        engine.manifest, running, bundle=str(bundle.path), graph_sha256=held.get(engine.manifest.precision)
    )


@contextlib.contextmanager
def building(bundle: Path, waiting: Callable[[str], None]) -> Iterator[Path]:
    """Lock the bundle's engines for one build; yields their folder, cleared of leftovers of killed builds.

    If another process builds here, `waiting` is called and this one waits: concurrent builds would falsify each other's
    timings. The system releases the lock when its holder dies. Raises `BundleError` if the folder cannot be written.
    """
    root = bundle / ENGINES
    try:
        root.mkdir(exist_ok=True)
        lock = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise unwritable(root, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waiting(f"waiting for another process that builds engines in {root}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(root)
        yield root
    finally:
        os.close(lock)


def write_engine(
    root: Path,
    name: str,
    plan: bytes,
    manifest: Callable[[FileEntry], EngineManifest],
    check: Callable[[StoredEngine], EngineManifest],
) -> StoredEngine:
    """Add an engine to the store, replacing one of the same name.

    `manifest` is called once the plan's hash is known. `check` receives the engine under a temporary name, may run it,
    and returns the manifest to store. If it raises, the store is unchanged.
    """
    folder = root / name
    try:
        with atomic.staged_folder(folder, may_replace=lambda path: (path / MANIFEST).is_file()) as staged:
            (staged / PLAN).write_bytes(plan)
            facts = manifest(FileEntry(PLAN, hashlib.sha256(plan).hexdigest(), len(plan)))
            facts = check(StoredEngine(staged, facts))
            (staged / MANIFEST).write_bytes(facts.to_json())
    except atomic.OccupiedError as error:
        raise BundleError(f"{folder} exists and is not an engine of edgevision; move it away") from error
    except OSError as error:
        raise unwritable(folder, error) from error
    return StoredEngine(folder, facts)


def unwritable(path: Path, error: OSError) -> BundleError:
    """The error for a folder that engines cannot be written to."""
    return BundleError(
        f"cannot write {path}: {error.strerror or error}; give it to this user (chown -R $USER {path.parent}),"
        " free disk space, or copy the bundle to a writable folder and build there"
    )


def _sweep(root: Path) -> None:
    """Remove folders of killed builds; only names that `atomic` creates next to engines."""
    for pattern in (".tensorrt*.partial-*", ".tensorrt*.replaced-*", ".timing*.partial*"):
        for leftover in root.glob(pattern):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
