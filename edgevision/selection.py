"""Which of a bundle's graphs an engine is to run: the fastest one that was verified, by its records."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.bundle import Bundle, GraphEntry, Speed, Verification
from edgevision.errors import VerificationError
from edgevision.spec import Precision

LEAST_GAIN = 1.05
"""A graph of lower precision must have been measured to be so many times as fast as the float one, on this machine."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A graph and why it was taken."""

    precision: Precision
    reason: str


def choose_graph(
    bundle: Bundle, engine: str, machine: str, *, precision: Precision | None = None, force: bool = False
) -> Choice:
    """The graph of `precision`, else the fastest that `engine` may run on `machine`.

    A graph of lower precision is taken unasked only if the engine's verification of it passed, and it was measured
    there to be at least `LEAST_GAIN` times as fast as the float graph. Raises `VerificationError` for a graph that the
    engine was found to answer wrongly, unless `force` says that it is to run all the same, and `BundleError` for a
    `precision` that the bundle does not hold.
    """
    if precision is not None:
        entry = bundle.graph(precision)
        _refuse_disproved(bundle, entry, engine, force=force)
        return Choice(precision, "asked for" + _warning(entry, engine))
    best: Choice | None = None
    fastest = LEAST_GAIN
    for entry in bundle.manifest.graphs:
        record, speed = latest_verification(entry, engine), _speed(entry, engine, machine)
        if entry.precision == "float" or record is None or not record.passed or speed is None:
            continue
        if speed.ratio >= fastest:
            fastest = speed.ratio
            gain = f"{speed.ratio:.2f} times as fast as float here, measured {speed.created}"
            best = Choice(entry.precision, f"{gain}, verified {record.created}")
    if best is not None:
        return best
    entry = bundle.graph("float")
    _refuse_disproved(bundle, entry, engine, force=force)
    others = [other.precision for other in bundle.manifest.graphs if other.precision != "float"]
    unproved = (
        f"no other is verified and measured to be 5 % faster here: {', '.join(others)}" if others else ""
    )
    return Choice("float", (unproved or "the only one") + _warning(entry, engine))


def latest_verification(entry: GraphEntry, engine: str) -> Verification | None:
    """What was last found of the graph in that engine; None if nothing was."""
    records = [record for record in entry.verifications if record.engine == engine]
    return max(records, key=lambda record: record.created, default=None)


def _speed(entry: GraphEntry, engine: str, machine: str) -> Speed | None:
    found = [speed for speed in entry.speeds if (speed.engine, speed.machine) == (engine, machine)]
    return found[0] if found else None


def _refuse_disproved(bundle: Bundle, entry: GraphEntry, engine: str, *, force: bool) -> None:
    record = latest_verification(entry, engine)
    if record is None or record.passed or force:
        return
    raise VerificationError(
        f"{engine} was found to answer the {entry.precision} graph of {bundle.path} wrongly ({record.library},"
        f" {record.created}): {record.failures}; take another engine or graph, verify again after an update:"
        f" edgevision verify {bundle.path}, or run it all the same with --force"
    )


def _warning(entry: GraphEntry, engine: str) -> str:
    record = latest_verification(entry, engine)
    return "" if record is None or record.passed else f"; FORCED: it answers wrongly: {record.failures}"
