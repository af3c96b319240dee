"""`edgevision verify`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgevision.bundle.folder import Bundle, Verification
from edgevision.cli.present import verification_lines
from edgevision.contract.spec import Precision
from edgevision.errors import EngineError, MissingExtraError, VerificationError
from edgevision.storage.codec import json_from_dataclass, json_text

if TYPE_CHECKING:
    from edgevision.bundle.folder import Golden, GraphEntry

REFERENCE = "onnxruntime"
"""The engine beside whose record that of the layers stands: it computes them."""


@dataclass(frozen=True)
class Found:
    """What was found of one graph in one engine, and the layer at fault where one could be named."""

    precision: Precision
    record: Verification
    layer: str | None = None


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def command(bundle: Path, as_json: bool) -> None:
    """Check a bundle's files and its answers against the source model's.

    Every file is held against its hash, then the golden frames run through every CPU engine that is installed here,
    with every graph of the bundle. Of graphs of lower precision each layer is held against its float weights as well,
    where onnx is installed. The records are kept in the bundle: a graph that an engine answers wrongly is not run with
    it any more. Exit code 2 if there is one. (Engines of TensorRT are verified when they are built or first opened.)
    """
    opened = Bundle.open(bundle)
    opened.check_files()
    found = _verify_all(opened)
    if as_json:
        records = [
            {"graph": f.precision, **json_from_dataclass(f.record), "passed": f.record.passed} for f in found
        ]
        click.echo(json_text(records), nl=False)
    else:
        for one in found:
            click.echo("\n".join([f"{one.precision} graph", *verification_lines(one.record)]))
    failed = [one for one in found if not one.record.passed]
    if failed:
        raise VerificationError("\n".join(f"{bundle}: {_complaint(one)}" for one in failed))


def _complaint(found: Found) -> str:
    layer = f"; the first layer that differs is {found.layer}" if found.layer else ""
    record = found.record
    return f"{record.engine} answers the {found.precision} graph wrongly: {record.failures}{layer}"


def _verify_all(bundle: Bundle) -> list[Found]:
    from edgevision.engines.opening import CPU_ENGINES

    golden = bundle.golden()
    found = []
    for entry in bundle.manifest.graphs:
        for engine in CPU_ENGINES:
            one = _verify(bundle, entry, engine, golden)
            if one is not None:
                found.append(one)
                bundle = bundle.with_verification(entry.precision, one.record)
    if not found:
        raise MissingExtraError("onnxruntime", "cpu", "edgevision verify")
    return found


def _verify(bundle: Bundle, entry: GraphEntry, engine: str, golden: Golden) -> Found | None:
    """The record of one graph in one engine; None if that is not installed."""
    from edgevision.contract.session import SessionOptions
    from edgevision.engines.opening import open_session
    from edgevision.verification.golden import unanswered, verify_session

    options = SessionOptions(precision=entry.precision, force=True)
    try:
        with open_session(bundle.path, engine=engine, options=options) as session:
            record = verify_session(session, golden, precision=entry.precision)
    except MissingExtraError:
        return None
    except EngineError as error:
        if entry.precision == "float":
            raise
        return Found(entry.precision, unanswered(engine, len(golden.frames), error))
    if entry.precision == "float" or engine != REFERENCE or importlib.util.find_spec("onnx") is None:
        return Found(entry.precision, record)
    from edgevision.quantize.search.layers import check_layers

    paths = bundle.graph_path(), bundle.graph_path(entry.precision)
    batch = bundle.spec.frames.batch.opt
    check, broken = check_layers(*paths, entry.precision, golden.frames, batch)
    layer = None if broken is None else f"{broken.layer}, in channel {broken.channel}"
    return Found(entry.precision, replace(record, checks=(*record.checks, check)), layer)
