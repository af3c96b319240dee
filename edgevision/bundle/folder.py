"""The bundle: a folder with graphs, spec, golden frames and verification records."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import edgevision
from edgevision.bundle.entries import FileEntry as FileEntry
from edgevision.bundle.entries import FormName, coder_entry, data_name, graph_file_name
from edgevision.bundle.entries import GraphEntry as GraphEntry
from edgevision.bundle.entries import GraphForm as GraphForm
from edgevision.bundle.entries import Speed as Speed
from edgevision.bundle.entries import file_entry as file_entry
from edgevision.bundle.golden import Golden as Golden
from edgevision.bundle.golden import arrays_from_golden, golden_from_arrays
from edgevision.bundle.manifest import PARTS_SCHEMA, SCHEMA, check_schema, manifest_bytes
from edgevision.bundle.manifest import Manifest as Manifest
from edgevision.bundle.operating_point import OperatingPoint
from edgevision.bundle.packaged import MANIFEST, bundle_path, packaged_names
from edgevision.bundle.program import Program, read_program
from edgevision.bundle.records import CheckRecord as CheckRecord
from edgevision.bundle.records import Verification as Verification
from edgevision.contract.spec import COMPUTED, ModelSpec, Precision
from edgevision.errors import BundleError
from edgevision.storage import atomic
from edgevision.storage.codec import (
    DecodeError,
    dataclass_from_json,
)
from edgevision.storage.sha256 import sha256_of_unchanged

GOLDEN = "golden.npz"


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
        check_schema(file, data)
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
        """The graph's file, after a check of its hash; raises `BundleError` for a bundle of several graphs."""
        if self.manifest.parts:
            paths = ", ".join(str(self.path / name) for name in self.manifest.parts)
            raise BundleError(
                f"{self.path} has several graphs; expected a bundle of one graph, such as its parts: {paths}"
            )
        entry = self.graph(precision)
        for file in entry.data:
            self._checked(file)
        return self._checked(entry.file)

    def program(self, precision: Precision = "float") -> Program:
        """The program of a bundle of several graphs, after a check of its hash and of its graphs' hashes."""
        program = read_program(self._checked(self.graph(precision).file))
        for graph in program.graphs:
            if self.part(graph.name).graph(graph.precision).file.sha256 != graph.sha256:
                raise BundleError(
                    f"{self.path / graph.name} belongs to another export: its {graph.precision} graph differs from the"
                    " program's; export the bundle again"
                )
        return program

    def part(self, name: str) -> Bundle:
        """The bundle of one of a program's graphs."""
        return Bundle.open(self.path / name)

    @property
    def parts(self) -> tuple[Bundle, ...]:
        """The bundles of all graphs of a program; empty for a bundle with one graph."""
        return tuple(self.part(name) for name in self.manifest.parts)

    def coder(self, name: str) -> Bundle:
        """The bundle of an autoencoder's ``encoder`` or ``decoder``, after a check that it belongs to this one.

        Raises `BundleError` for a bundle without it.
        """
        entry = next((one for one in self.manifest.coders if one.name == name), None)
        if entry is None:
            raise BundleError(
                f"{self.path} holds no {name}; bundles of the recipe vae hold one: edgevision export vae"
                " --checkpoint RUN -o BUNDLE"
            )
        found = self.part(name)
        if found.graph("float").file.sha256 != entry.sha256:
            raise BundleError(f"{found.path} belongs to another export; export the bundle again")
        return found

    @property
    def coders(self) -> tuple[Bundle, ...]:
        """The bundles of an autoencoder's encoder and decoder; empty for other models."""
        return tuple(self.coder(entry.name) for entry in self.manifest.coders)

    def form_path(self, precision: Precision, name: FormName) -> Path | None:
        """The file of a form of the graph, after a check of its hash; None if there is none."""
        form = self.graph(precision).form(name)
        return None if form is None else self._checked(form.file)

    def tokenizer_files(self) -> tuple[Path, ...]:
        """The tokenizers of a model that takes texts; raises `BundleError` if one was changed."""
        return tuple(self._checked(entry) for entry in self.manifest.tokenizers)

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
            for file in (entry.file, *entry.data, *(form.file for form in entry.forms)):
                self._checked(file)
        self._checked(self.manifest.golden)
        for part in (*self.parts, *self.coders):
            part.check_files()

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
        self,
        precision: Precision,
        graph: bytes,
        verifications: tuple[Verification, ...] = (),
        data: Path | None = None,
    ) -> Bundle:
        """Write a graph of another precision beside the float one, or in place of an older one of its precision.

        `data` is a file with the graph's external weights on the same file system; it is moved. `graph` is a program if
        the bundle has several graphs. The files are written before the manifest that names them, so a reader never
        finds one missing. Raises `BundleError` if the bundle cannot be written.
        """
        name = graph_file_name(precision, program=bool(self.manifest.parts))
        try:
            weights = () if data is None else (_moved(data, self.path / data_name(name)),)
            atomic.write_file(self.path / name, graph)
            entry = GraphEntry(precision, file_entry(self.path / name), verifications, data=weights)
            kept = tuple(old for old in self.manifest.graphs if old.precision != precision)
            bundle = Bundle(self.path, replace(self.manifest, graphs=(*kept, entry)))
            atomic.write_file(self.path / MANIFEST, manifest_bytes(bundle.manifest))
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

    def without_graph(self, precision: Precision) -> Bundle:
        """Remove the graph of that precision, first from the manifest, then its files."""
        entry = self.graph(precision)
        kept = tuple(old for old in self.manifest.graphs if old is not entry)
        bundle = Bundle(self.path, replace(self.manifest, graphs=kept))
        bundle._write_manifest()
        for file in (entry.file, *entry.data):
            (self.path / file.name).unlink(missing_ok=True)
        return bundle

    def _with_entry(self, old: GraphEntry, new: GraphEntry) -> Bundle:
        if new.precision in COMPUTED:
            others = (entry for entry in self.manifest.computed if entry.precision != new.precision)
            return Bundle(self.path, replace(self.manifest, computed=(*others, new)))
        graphs = tuple(new if entry is old else entry for entry in self.manifest.graphs)
        return Bundle(self.path, replace(self.manifest, graphs=graphs))

    def _write_manifest(self) -> None:
        atomic.write_file(self.path / MANIFEST, manifest_bytes(self.manifest))

    def _checked(self, entry: FileEntry) -> Path:
        path = self.path / entry.name
        if not path.is_file():
            raise BundleError(f"{path} is missing; export the bundle again")
        if sha256_of_unchanged(path) != entry.sha256:
            raise BundleError(
                f"{path} was modified: its sha256 differs from the manifest's; export the bundle again"
            )
        return path


def write_bundle(
    path: Path,
    spec: ModelSpec,
    graph: bytes,
    golden: Golden,
    verifications: tuple[Verification, ...] = (),
    tokenizers: tuple[bytes, ...] = (),
    *,
    data: Path | None = None,
    parts: tuple[Path, ...] = (),
    coders: tuple[Path, ...] = (),
) -> Bundle:
    """Write a new bundle with its float graph and tokenizers; replaces an older bundle at `path`, but nothing else.

    `data` is a file with the graph's external weights. With `parts`, the bundles of several graphs, `graph` is their
    program. `coders` are the bundles of an autoencoder's encoder and decoder. All of these are moved, and must be on
    the same file system. Raises `BundleError` if `path` exists and is not a bundle, or cannot be written.
    """
    try:
        with atomic.staged_folder(path, may_replace=_is_bundle) as folder:
            name = graph_file_name("float", program=bool(parts))
            (folder / name).write_bytes(graph)
            weights = () if data is None else (_moved(data, folder / data_name(name)),)
            for part in (*parts, *coders):
                part.rename(folder / part.name)
            apart = tuple(
                coder_entry(coder, Bundle.open(folder / coder.name).graph("float").file.sha256)
                for coder in coders
            )
            with (folder / GOLDEN).open("wb") as file:
                np.savez_compressed(file, **arrays_from_golden(spec, golden))  # type: ignore[arg-type]  # stub: bool
            entry = GraphEntry("float", file_entry(folder / name), verifications, data=weights)
            golden_entry = file_entry(folder / GOLDEN)
            for place, content in enumerate(tokenizers, 1):
                (folder / f"tokenizer{place}.json").write_bytes(content)
            manifest = Manifest(
                edgevision.__version__,
                spec,
                (entry,),
                golden_entry,
                SCHEMA if coders else PARTS_SCHEMA if parts or weights else spec.schema,
                parts=tuple(part.name for part in parts),
                tokenizers=tuple(
                    file_entry(folder / f"tokenizer{place}.json") for place in range(1, len(tokenizers) + 1)
                ),
                coders=apart,
            )
            (folder / MANIFEST).write_bytes(manifest_bytes(manifest))
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


def _moved(file: Path, target: Path) -> FileEntry:
    atomic.publish(file, target)
    return file_entry(target)


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()
