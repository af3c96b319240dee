"""A copy of a bundle for trying graphs; the user's bundle changes only once, at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import onnx

from edgevision.bundle.folder import Bundle, Speed, Verification
from edgevision.bundle.packaged import MANIFEST
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.facts import machine_name
from edgevision.engines.opening import open_session
from edgevision.errors import BundleError, EngineError, GraphError, MissingExtraError, VerificationError
from edgevision.evaluation.bootstrap import Scores
from edgevision.quantize.search.latency import ENGINES, PairedSpeed
from edgevision.quantize.search.trials import Trial, run_trials, trial_options
from edgevision.storage import atomic
from edgevision.verification.golden import unanswered, verify_session


class Workbench:
    """Context manager that deletes the copy on exit."""

    def __init__(self, bundle: Bundle, trials: Sequence[Trial], threads: int | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgevision-quantize-")
        self.path = Path(self._folder.name) / bundle.path.name
        shutil.copytree(bundle.path, self.path)
        self.bundle = Bundle.open(self.path)
        self._trials = trials
        self._threads = threads

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def place(self, precision: Precision, model: onnx.ModelProto) -> None:
        """Add a graph to the copy."""
        self.bundle = self.bundle.add_graph(precision, model.SerializeToString())

    def scores(self, precision: Precision, engine: str = "onnxruntime") -> list[Scores]:
        """Run all trials on a graph of the copy."""
        options = trial_options(self.bundle.spec, self.bundle.graph_path(precision), self._threads)
        options = replace(options, precision=precision, force=True)
        with open_session(self.path, engine=engine, options=options) as session:
            return run_trials(self._trials, session)

    def verification(self, precision: Precision) -> Verification:
        """The comparison of a graph of the copy with the golden answers in ONNX Runtime."""
        options = SessionOptions(threads=self._threads, precision=precision, force=True)
        with open_session(self.path, engine="onnxruntime", options=options) as session:
            return verify_session(session, self.bundle.golden(), precision=precision)

    def check(self, precision: Precision) -> None:
        """Compare a graph of the copy with the golden answers in ONNX Runtime; raises `VerificationError`."""
        record = self.verification(precision)
        if not record.passed:
            raise VerificationError(
                f"the {precision} graph of {self.bundle.spec.name} was not written: it does not match the source"
                f" model: {record.finding}. If its golden frames do not show its training domain, export it with"
                " --images from its use"
            )


def deliver(bundle: Bundle, output: Path | None, precision: Precision, graph: bytes) -> Bundle:
    """Add the graph to the bundle, or to a copy of it at `output`; raises `BundleError` if `output` is taken."""
    if output is None or output.resolve() == bundle.path.resolve():
        return bundle.add_graph(precision, graph)
    try:
        with atomic.staged_folder(output, may_replace=lambda path: (path / MANIFEST).is_file()) as folder:
            shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
            Bundle.open(folder).add_graph(precision, graph)
    except atomic.OccupiedError as error:
        raise BundleError(f"{output} exists and is not a bundle; choose another folder with -o") from error
    except OSError as error:
        raise BundleError(f"cannot write the bundle {output}: {error.strerror or error}") from error
    return Bundle.open(output)


def verified_everywhere(bundle: Bundle, precision: Precision) -> tuple[Bundle, list[Verification]]:
    """Run the golden frames in every installed engine of `ENGINES`, and store the records in the bundle."""
    records = []
    golden = bundle.golden()
    options = SessionOptions(precision=precision, force=True)
    for engine in ENGINES:
        try:
            with open_session(bundle.path, engine=engine, options=options) as session:
                records.append(verify_session(session, golden, precision=precision))
        except MissingExtraError:
            continue
        except (EngineError, GraphError) as error:
            records.append(unanswered(engine, len(golden.inputs), error))
        bundle = bundle.with_verification(precision, records[-1])
    return bundle, records


def with_speeds(bundle: Bundle, precision: Precision, speeds: Sequence[PairedSpeed]) -> Bundle:
    """Record the graph's speed on this machine, which `open_session` uses for its choice."""
    for speed in speeds:
        record = Speed(speed.engine, speed.library, machine_name(), speed.ratio, utc_now())
        bundle = bundle.with_speed(precision, record)
    return bundle
