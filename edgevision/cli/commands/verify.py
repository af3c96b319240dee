"""`edgevision verify`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgevision.bundle.folder import Bundle, Verification
from edgevision.cli.comparing import compare_shown
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import verification_lines
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import COMPUTED, Precision, graph_name
from edgevision.errors import EngineError, MissingExtraError, VerificationError
from edgevision.storage.codec import json_from_dataclass, json_text

if TYPE_CHECKING:
    from edgevision.bundle.folder import Golden, GraphEntry

REFERENCE = "onnxruntime"
"""The engine whose record includes the check of the layers, because it computes them."""


@dataclass(frozen=True)
class Found:
    """Record of one graph in one engine, with the faulty layer if one was identified."""

    precision: Precision
    record: Verification
    layer: str | None = None
    part: str = ""
    """Folder of the part, of a bundle with several graphs; empty for the whole."""

    @property
    def title(self) -> str:
        """The graph's name in the output."""
        return f"{self.part}{': ' if self.part else ''}{graph_name(self.precision)}"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=FiniteRange(min=0),
    default=5.0,
    show_default=True,
    help="Time to compare the speed of all engines that pass; 0: do not compare.",
)
@option_of(SessionOptions, "device")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def command(bundle: Path, seconds: float, device: str | None, as_json: bool) -> None:
    """Verify a bundle's files and its results against the source model's.

    Every file is compared with its hash. Then the golden frames run through every installed CPU engine, with every
    graph of the bundle. On a CPU that computes bfloat16, OpenVINO also runs the float graph in bf16. If onnx is
    installed, each layer of a lower-precision graph is also compared with its float weights. The records are stored in
    the bundle; `run` rejects a graph that failed in an engine. Exit code 2 if any graph fails, except for bf16: it
    is then not used. TensorRT engines are verified when they are built or first opened.

    All engines and graphs that pass are then timed in turns. The fastest is stored for this machine; `run`, `live` and
    `deploy` use it. --device compares only the engines of one device.
    """
    from edgevision.benchmark.comparison import ComparisonOptions
    from edgevision.engines.devices import find_device

    compared = ComparisonOptions("edgevision verify", seconds, device=find_device(device))
    opened = Bundle.open(bundle)
    opened.check_files()
    found = _verify_all(opened)
    if as_json:
        records = [
            {
                **({"part": f.part} if f.part else {}),
                "graph": f.precision,
                **json_from_dataclass(f.record),
                "passed": f.record.passed,
            }
            for f in found
        ]
        click.echo(json_text(records), nl=False)
    else:
        for one in found:
            click.echo("\n".join([one.title, *verification_lines(one.record)]))
    if seconds and any(one.record.passed for one in found):
        compare_shown(Bundle.open(bundle), compared, err=as_json)
    # A computed precision is no part of the bundle: where it fails, it is not used.
    failed = [one for one in found if not one.record.passed and one.precision not in COMPUTED]
    if failed:
        raise VerificationError("\n".join(f"{bundle}: {_complaint(one)}" for one in failed))


def _complaint(found: Found) -> str:
    layer = f"; the first layer that differs is {found.layer}" if found.layer else ""
    record = found.record
    return (
        f"{record.engine} failed verification of {'the ' if not found.part else ''}{found.title}:"
        f" {record.finding}{layer}"
    )


def _verify_all(bundle: Bundle) -> list[Found]:
    """The records of every graph of a bundle, the parts of several before the whole, an autoencoder's coders too."""
    inner = (*bundle.parts, *bundle.coders)
    found = [replace(one, part=part.path.name) for part in inner for one in _verify_graphs(part)]
    return [*found, *_verify_graphs(bundle)]


def _verify_graphs(bundle: Bundle) -> list[Found]:
    from edgevision.engines.opening import CPU_ENGINES
    from edgevision.engines.precisions import precisions_of
    from edgevision.verification.first_opening import store_record

    golden = bundle.golden()
    found = []
    held = [entry.precision for entry in bundle.manifest.graphs]
    for precision in (*held, *COMPUTED):
        for engine in CPU_ENGINES:
            if precision not in precisions_of(bundle, engine):
                continue
            one = _verify(bundle, bundle.graph(precision), engine, golden)
            if one is not None:
                found.append(one)
                store_record(bundle, precision, one.record)
    if not found:
        raise MissingExtraError("onnxruntime", "cpu", "edgevision verify")
    return found


def _verify(bundle: Bundle, entry: GraphEntry, engine: str, golden: Golden) -> Found | None:
    """The record of one graph in one engine; None if the engine is not installed."""
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
        return Found(entry.precision, unanswered(engine, len(golden.inputs), error))
    checked = engine == REFERENCE and entry.precision != "float" and not entry.data
    if not checked or bundle.manifest.parts or importlib.util.find_spec("onnx") is None:
        return Found(entry.precision, record)
    from edgevision.quantize.search.layers import check_layers

    paths = bundle.graph_path(), bundle.graph_path(entry.precision)
    batch = bundle.spec.batch.opt
    check, broken = check_layers(*paths, entry.precision, golden.inputs, batch)
    layer = None if broken is None else f"{broken.layer}, in channel {broken.channel}"
    return Found(entry.precision, replace(record, checks=(*record.checks, check)), layer)
