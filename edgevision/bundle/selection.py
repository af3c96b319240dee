"""Selects the fastest verified graph of a bundle for an engine, by the bundle's records."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.bundle.folder import Bundle, GraphEntry, Speed, Verification
from edgevision.contract.spec import Precision, graph_name
from edgevision.errors import VerificationError

LEAST_GAIN = 1.05
"""Minimum measured speed-up over the float graph, on this machine, for a graph of lower precision."""


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """The machine that should run a graph; records of another class and speeds of another machine do not count."""

    name: str
    """Result of `device.machine_name`."""
    machine_class: str
    """Result of `machine_class.machine_class`."""


@dataclass(frozen=True, slots=True)
class GraphChoice:
    """A graph and the reason for its selection."""

    precision: Precision
    reason: str
    verified: bool = True
    """False: there is no record of this class of machine, so the golden frames must pass first."""


def choose_graph(
    bundle: Bundle,
    engine: str,
    machine: MachineIdentity,
    *,
    precision: Precision | None = None,
    asked: str = "requested",
    force: bool = False,
) -> GraphChoice:
    """The graph of `precision`, for the reason `asked`, else the fastest that `engine` may run on `machine`.

    A graph of lower precision is selected by default only if it passed the engine's verification and was measured there
    to be at least `LEAST_GAIN` times as fast as the float graph. Raises `VerificationError` for a graph that failed the
    engine's verification, unless `force` is set, and `BundleError` for a `precision` that the bundle does not hold.
    """
    if precision is not None:
        entry = bundle.graph(precision)
        record = _record_here(entry, engine, machine)
        _refuse_failed(bundle, entry, record, force=force)
        verified = precision == "float" or record is not None or force
        return GraphChoice(precision, asked + _warning(record), verified)
    candidates = [
        (speed, entry, record)
        for entry in bundle.manifest.graphs
        if (speed := _speed(entry, engine, machine)) is not None
        and (record := latest_verification(entry, engine, machine.machine_class)) is not None
        and entry.precision != "float"
        and record.passed
        and speed.ratio >= LEAST_GAIN
    ]
    if candidates:
        speed, entry, record = max(candidates, key=lambda candidate: candidate[0].ratio)
        gain = f"{speed.ratio:.2f} times as fast as float here, measured {speed.created}"
        return GraphChoice(
            entry.precision,
            f"{gain}, verified {record.created}",
            record.machine_class == machine.machine_class,
        )
    entry = bundle.graph("float")
    record = _record_here(entry, engine, machine)
    _refuse_failed(bundle, entry, record, force=force)
    return GraphChoice("float", _why_float(bundle, engine, machine) + _warning(record))


def latest_verification(entry: GraphEntry, engine: str, machine_class: str) -> Verification | None:
    """The newest record of the graph in that engine: on that class of machine, else on any; None if there is none."""
    records = [record for record in entry.verifications if record.engine == engine]
    return max(records, key=lambda r: (r.machine_class == machine_class, r.created), default=None)


def _record_here(entry: GraphEntry, engine: str, machine: MachineIdentity) -> Verification | None:
    """The record that is valid for this machine; a float record of any class counts, as float kernels round alike."""
    record = latest_verification(entry, engine, machine.machine_class)
    if record is None or entry.precision == "float" or record.machine_class == machine.machine_class:
        return record
    return None


def _speed(entry: GraphEntry, engine: str, machine: MachineIdentity) -> Speed | None:
    found = [speed for speed in entry.speeds if (speed.engine, speed.machine) == (engine, machine.name)]
    return found[0] if found else None


def _why_float(bundle: Bundle, engine: str, machine: MachineIdentity) -> str:
    others = [entry for entry in bundle.manifest.graphs if entry.precision != "float"]
    if not others:
        return "the only graph"
    reasons = [
        f"the {entry.precision} graph failed verification in {engine} on this machine ({record.failures})"
        for entry in others
        if (record := _record_here(entry, engine, machine)) is not None and not record.passed
    ]
    slower = [entry.precision for entry in others if not _has_failed(entry, engine, machine)]
    if slower:
        reasons.append(f"no other graph is verified and measured to be 5 % faster here: {', '.join(slower)}")
    return "; ".join(reasons)


def _has_failed(entry: GraphEntry, engine: str, machine: MachineIdentity) -> bool:
    record = _record_here(entry, engine, machine)
    return record is not None and not record.passed


def _refuse_failed(bundle: Bundle, entry: GraphEntry, record: Verification | None, *, force: bool) -> None:
    if record is None or record.passed or force:
        return
    other = "" if entry.precision == "float" else " (--precision float)"
    raise VerificationError(
        f"the {graph_name(entry.precision)} of {bundle.path} failed verification in {record.engine} ({record.library},"
        f" {record.machine_class or 'class of machine unknown'}, {record.created}): {record.failures}; use another"
        f" engine or graph{other}, verify again after an update: edgevision verify {bundle.path}, or run it anyway"
        " with --force"
    )


def _warning(record: Verification | None) -> str:
    return "" if record is None or record.passed else f"; FORCED: it failed verification: {record.failures}"
