"""The bundle: a folder with graphs, spec, golden frames and verification records."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

import edgevision
from edgevision.bundle.golden import Golden as Golden
from edgevision.bundle.golden import arrays_from_golden, golden_from_arrays
from edgevision.bundle.operating_point import SCHEMA as POINT_SCHEMA
from edgevision.bundle.operating_point import OperatingPoint
from edgevision.bundle.packaged import MANIFEST, bundle_path, packaged_names
from edgevision.bundle.records import CheckRecord as CheckRecord
from edgevision.bundle.records import Verification as Verification
from edgevision.contract.spec import COMPUTED, FRAMES_SCHEMA, ModelSpec, Precision
from edgevision.errors import BundleError
from edgevision.storage import atomic
from edgevision.storage.codec import (
    DecodeError,
    dataclass_from_json,
    json_from_dataclass,
    json_text,
    newer_schema,
)
from edgevision.storage.sha256 import sha256_of_file

SCHEMA = 2
"""Version of the manifest; that of a model that takes frames is 1, as its spec's."""
GOLDEN = "golden.npz"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle with its hash and size when it was written."""

    name: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.name in ("", ".", ".."):
            raise ValueError(f"file name {self.name!r} leaves the bundle")


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured end-to-end speed of a graph in one engine on one machine, relative to the float graph."""

    engine: str
    library: str
    machine: str
    """Result of `device.machine_name`."""
    ratio: float
    """The float graph's time divided by this one's: the median of paired rounds."""
    created: str
    """UTC, ISO 8601."""


FormName = Literal["opset17"]
"""`opset17`: scales and the remainder in float32, for TensorRT 8.6, whose parser does not read FP16 scales."""


@dataclass(frozen=True, slots=True)
class GraphForm:
    """A graph with the same weights and scales, written for engines that cannot read the original."""

    name: FormName
    file: FileEntry
    verification: Verification


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """One graph; `verifications` is empty if verification was skipped on purpose."""

    precision: Precision
    file: FileEntry
    verifications: tuple[Verification, ...] = ()
    speeds: tuple[Speed, ...] = ()
    forms: tuple[GraphForm, ...] = ()

    def form(self, name: FormName) -> GraphForm | None:
        """The form of that name; None if the graph has none."""
        return next((form for form in self.forms if form.name == name), None)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of ``bundle.json``."""

    edgevision: str
    """The version that wrote the bundle."""
    spec: ModelSpec
    graphs: tuple[GraphEntry, ...]
    golden: FileEntry
    schema: int = FRAMES_SCHEMA
    operating_point: OperatingPoint | None = None
    """Confidence thresholds of the classes; None if they were not measured."""
    computed: tuple[GraphEntry, ...] = ()
    """Records of precisions that engines compute from another graph (`contract.spec.COMPUTED`)."""

    def __post_init__(self) -> None:
        if self.operating_point is not None:
            self.operating_point.check_classes(self.spec.classes)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose manifest has been read; each file is checked against its hash on access."""

    path: Path
    manifest: Manifest

    @property
    def spec(self) -> ModelSpec:
        """Inputs and outputs of the model."""
        return self.manifest.spec

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Read the manifest of a folder, or of a packaged bundle by its name.

        Raises `BundleError` for what is missing, malformed, or newer than this version.
        """
        path = bundle_path(Path(path))
        file = path / MANIFEST
        if not path.exists():
            names = ", ".join(packaged_names()) or "none"
            raise BundleError(
                f"no bundle at {path}; make one: edgevision export RECIPE -o {path}; packaged bundles: {names}"
            )
        if not file.is_file():
            raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}")
        try:
            data = json.loads(file.read_bytes())
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise BundleError(f"{file} is not JSON: {error}; export the bundle again") from error
        _check_schema(file, data)
        try:
            return cls(path, dataclass_from_json(Manifest, data))
        except DecodeError as error:
            raise BundleError(f"{file}: {error}; export the bundle again") from error

    def graph(self, precision: Precision) -> GraphEntry:
        """The entry of the graph of that precision; raises `BundleError` if there is none.

        A computed precision has the file of the graph that it is computed from.
        """
        if precision in COMPUTED:
            file = self.graph(COMPUTED[precision]).file
            kept = (e for e in self.manifest.computed if e.precision == precision and e.file == file)
            return next(kept, GraphEntry(precision, file))
        for entry in self.manifest.graphs:
            if entry.precision == precision:
                return entry
        held = ", ".join(entry.precision for entry in self.manifest.graphs)
        raise BundleError(f"{self.path} holds no {precision} graph; it holds: {held}")

    def graph_path(self, precision: Precision = "float") -> Path:
        """The graph's file, after a check of its hash."""
        return self._checked(self.graph(precision).file)

    def form_path(self, precision: Precision, name: FormName) -> Path | None:
        """The file of a form of the graph, after a check of its hash; None if there is none."""
        form = self.graph(precision).form(name)
        return None if form is None else self._checked(form.file)

    def golden(self) -> Golden:
        """The golden frames and answers, after a check of the file's hash."""
        path = self._checked(self.manifest.golden)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return golden_from_arrays(self.spec, arrays)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read: {error}; export the bundle again") from error

    def check_files(self) -> None:
        """CheckRecord every file against its hash; raises `BundleError` that names the first that differs."""
        for entry in self.manifest.graphs:
            for file in (entry.file, *(form.file for form in entry.forms)):
                self._checked(file)
        self._checked(self.manifest.golden)

    def with_verification(self, precision: Precision, verification: Verification) -> Bundle:
        """`with_record`, written to the manifest on disk."""
        bundle = self.with_record(precision, verification)
        bundle._write_manifest()
        return bundle

    def with_record(self, precision: Precision, verification: Verification) -> Bundle:
        """The bundle with a verification that replaces an earlier one of its stage, engine and class of machine.

        A record without a class is removed by the first one with a class. The folder is not changed.
        """
        old = self.graph(precision)
        which = (verification.stage, verification.engine)
        replaced = (verification.machine_class, None)
        kept = tuple(
            v for v in old.verifications if (v.stage, v.engine) != which or v.machine_class not in replaced
        )
        return self._with_entry(old, replace(old, verifications=(*kept, verification)))

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The measured operating point; None without one, or if its graph is not in the bundle any more."""
        return None if self.lost_operating_point else self.manifest.operating_point

    @property
    def lost_operating_point(self) -> bool:
        """True if an operating point is stored that was measured with a graph that is not in the bundle any more."""
        point = self.manifest.operating_point
        return point is not None and point.graph_sha256 not in {g.file.sha256 for g in self.manifest.graphs}

    def with_operating_point(self, point: OperatingPoint) -> Bundle:
        """Write an operating point to the manifest on disk, in place of an earlier one.

        Raises `BundleError` for classes that the model lacks, or if the bundle cannot be written.
        """
        try:
            bundle = Bundle(self.path, replace(self.manifest, operating_point=point))
            bundle._write_manifest()
        except ValueError as error:
            raise BundleError(f"{self.path}: {error}") from error
        except OSError as error:
            raise BundleError(f"cannot write {self.path / MANIFEST}: {error.strerror or error}") from error
        return bundle

    def with_speed(self, precision: Precision, speed: Speed) -> Bundle:
        """Write a measured speed to the manifest on disk, in place of an earlier one of its engine and machine."""
        old = self.graph(precision)
        which = (speed.engine, speed.machine)
        kept = tuple(s for s in old.speeds if (s.engine, s.machine) != which)
        bundle = self._with_entry(old, replace(old, speeds=(*kept, speed)))
        bundle._write_manifest()
        return bundle

    def add_graph(
        self, precision: Precision, graph: bytes, verifications: tuple[Verification, ...] = ()
    ) -> Bundle:
        """Write a graph of another precision beside the float one, or in place of an older one of its precision.

        The file is written before the manifest that names it, so a reader never finds one missing. Raises `BundleError`
        if the bundle cannot be written.
        """
        name = "model.onnx" if precision == "float" else f"model.{precision}.onnx"
        try:
            atomic.write_file(self.path / name, graph)
            entry = GraphEntry(precision, file_entry(self.path / name), verifications)
            kept = tuple(old for old in self.manifest.graphs if old.precision != precision)
            bundle = Bundle(self.path, replace(self.manifest, graphs=(*kept, entry)))
            atomic.write_file(self.path / MANIFEST, _manifest_bytes(bundle.manifest))
        except OSError as error:
            raise BundleError(f"cannot write {self.path / name}: {error.strerror or error}") from error
        return bundle

    def add_form(
        self, precision: Precision, name: FormName, graph: bytes, verification: Verification
    ) -> Bundle:
        """Write a form of a graph beside it, or in place of an older one; raises `BundleError` if that fails."""
        path = self.path / f"model.{precision}.{name}.onnx"
        old = self.graph(precision)
        try:
            atomic.write_file(path, graph)
            kept = tuple(form for form in old.forms if form.name != name)
            form = GraphForm(name, file_entry(path), verification)
            bundle = self._with_entry(old, replace(old, forms=(*kept, form)))
            bundle._write_manifest()
        except OSError as error:
            raise BundleError(f"cannot write {path}: {error.strerror or error}") from error
        return bundle

    def _with_entry(self, old: GraphEntry, new: GraphEntry) -> Bundle:
        if new.precision in COMPUTED:
            others = (entry for entry in self.manifest.computed if entry.precision != new.precision)
            return Bundle(self.path, replace(self.manifest, computed=(*others, new)))
        graphs = tuple(new if entry is old else entry for entry in self.manifest.graphs)
        return Bundle(self.path, replace(self.manifest, graphs=graphs))

    def _write_manifest(self) -> None:
        atomic.write_file(self.path / MANIFEST, _manifest_bytes(self.manifest))

    def _checked(self, entry: FileEntry) -> Path:
        path = self.path / entry.name
        if not path.is_file():
            raise BundleError(f"{path} is missing; export the bundle again")
        if sha256_of_file(path) != entry.sha256:
            raise BundleError(
                f"{path} was modified: its sha256 differs from the manifest's; export the bundle again"
            )
        return path


def write_bundle(
    path: Path, spec: ModelSpec, graph: bytes, golden: Golden, verifications: tuple[Verification, ...] = ()
) -> Bundle:
    """Write a new bundle with its float graph; replaces an older bundle at `path`, but nothing else.

    Raises `BundleError` if `path` exists and is not a bundle, or cannot be written.
    """
    try:
        with atomic.staged_folder(path, may_replace=_is_bundle) as folder:
            (folder / "model.onnx").write_bytes(graph)
            with (folder / GOLDEN).open("wb") as file:
                np.savez_compressed(file, **arrays_from_golden(spec, golden))  # type: ignore[arg-type]  # stub: bool
            entry = GraphEntry("float", file_entry(folder / "model.onnx"), verifications)
            golden_entry = file_entry(folder / GOLDEN)
            manifest = Manifest(edgevision.__version__, spec, (entry,), golden_entry, spec.schema)
            (folder / MANIFEST).write_bytes(_manifest_bytes(manifest))
    except (atomic.OccupiedError, OSError) as error:
        raise _not_written(path, error) from error
    return Bundle(path, manifest)


def check_destination(path: Path) -> None:
    """Raise `BundleError` if `write_bundle` cannot write at `path`, before the work of an export."""
    try:
        atomic.check_folder(path, may_replace=_is_bundle)
    except (atomic.OccupiedError, OSError) as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: atomic.OccupiedError | OSError) -> BundleError:
    if isinstance(error, atomic.OccupiedError):
        return BundleError(f"{path} exists and is not a bundle; choose another folder with -o")
    return BundleError(
        f"cannot write the bundle {path}: {error.strerror or error}; choose another folder with -o"
    )


def file_entry(path: Path) -> FileEntry:
    """Name, hash and size of a file."""
    return FileEntry(path.name, sha256_of_file(path), path.stat().st_size)


def _manifest_bytes(manifest: Manifest) -> bytes:
    content = json_from_dataclass(manifest)
    if manifest.operating_point is None:
        del content["operating_point"]  # earlier versions do not know it
    return json_text(content).encode()


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def _check_schema(file: Path, data: object) -> None:
    newer = newer_schema(data, SCHEMA)
    if newer is not None:
        raise BundleError(f"{file} has {newer}, or export the bundle again")
    point = data.get("operating_point") if isinstance(data, dict) else None
    newer = newer_schema(point, POINT_SCHEMA)
    if newer is not None:
        raise BundleError(f"{file} has an operating point of {newer}, or export the bundle again")
