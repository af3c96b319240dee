"""Which of a bundle's graphs an engine is to run: the fastest one that was verified, by its records."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.bundle.folder import Bundle, GraphEntry, Speed, Verification
from edgevision.contract.spec import Precision
from edgevision.errors import VerificationError

LEAST_GAIN = 1.05
"""A graph of lower precision must have been measured to be so many times as fast as the float one, on this machine."""


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """Where a graph is to run: records of another class and speeds of another machine say nothing of it."""

    name: str
    """As `device.machine_name` has it."""
    machine_class: str
    """As `machine_class.machine_class` has it."""


@dataclass(frozen=True, slots=True)
class GraphChoice:
    """A graph and why it was taken."""

    precision: Precision
    reason: str
    verified: bool = True
    """False: no record is of this class of machine, so the golden frames have to pass first."""


def choose_graph(
    bundle: Bundle,
    engine: str,
    machine: MachineIdentity,
    *,
    precision: Precision | None = None,
    force: bool = False,
) -> GraphChoice:
    """The graph of `precision`, else the fastest that `engine` may run on `machine`.

    A graph of lower precision is taken unasked only if the engine's verification of it passed, and it was measured
    there to be at least `LEAST_GAIN` times as fast as the float graph. Raises `VerificationError` for a graph that the
    engine was found to answer wrongly, unless `force` says that it is to run all the same, and `BundleError` for a
    `precision` that the bundle does not hold.
    """
    if precision is not None:
        entry = bundle.graph(precision)
        record = _record_here(entry, engine, machine)
        _refuse_disproved(bundle, entry, record, force=force)
        verified = precision == "float" or record is not None or force
        return GraphChoice(precision, "asked for" + _warning(record), verified)
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
    _refuse_disproved(bundle, entry, record, force=force)
    return GraphChoice("float", _why_float(bundle, engine, machine) + _warning(record))


def latest_verification(entry: GraphEntry, engine: str, machine_class: str) -> Verification | None:
    """What was last found of the graph in that engine: on that class of machine, else on any; None if nothing was."""
    records = [record for record in entry.verifications if record.engine == engine]
    return max(records, key=lambda r: (r.machine_class == machine_class, r.created), default=None)


def _record_here(entry: GraphEntry, engine: str, machine: MachineIdentity) -> Verification | None:
    """The record that speaks for this machine: in float, whose kernels all round alike, one of any class."""
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
        return "the only one"
    wrong = [
        f"{engine} answers the {entry.precision} graph wrongly on this machine ({record.failures})"
        for entry in others
        if (record := _record_here(entry, engine, machine)) is not None and not record.passed
    ]
    slower = [entry.precision for entry in others if not _disproved(entry, engine, machine)]
    if slower:
        wrong.append(f"no other is verified and measured to be 5 % faster here: {', '.join(slower)}")
    return "; ".join(wrong)


def _disproved(entry: GraphEntry, engine: str, machine: MachineIdentity) -> bool:
    record = _record_here(entry, engine, machine)
    return record is not None and not record.passed


def _refuse_disproved(bundle: Bundle, entry: GraphEntry, record: Verification | None, *, force: bool) -> None:
    if record is None or record.passed or force:
        return
    other = "" if entry.precision == "float" else ": --precision float runs"
    raise VerificationError(
        f"{record.engine} was found to answer the {entry.precision} graph of {bundle.path} wrongly ({record.library},"
        f" {record.machine_class or 'class of machine unknown'}, {record.created}): {record.failures}; take another"
        f" engine or graph{other}, verify again after an update: edgevision verify {bundle.path}, or run it all the"
        " same with --force"
    )


def _warning(record: Verification | None) -> str:
    return "" if record is None or record.passed else f"; FORCED: it answers wrongly: {record.failures}"
