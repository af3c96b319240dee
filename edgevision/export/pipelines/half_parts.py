"""Adds FP16 graphs to a bundle of several graphs, each by its own value ranges."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from edgevision.bundle.entries import data_name, graph_file_name
from edgevision.bundle.folder import Bundle, Golden, Verification
from edgevision.bundle.program import Program
from edgevision.engines.opening import open_session
from edgevision.engines.programs.session import PartOpener
from edgevision.errors import GraphError
from edgevision.export.half import EMULATED, batches_of, with_fp16
from edgevision.export.pipelines.activations import activation_bytes
from edgevision.export.pipelines.parts import program_graph
from edgevision.export.pipelines.several import part_openers, planned, verified_run
from edgevision.export.pipelines.weights import (
    Arrays,
    external_weights,
    half_weights,
    with_references,
    with_weights,
    without_weights,
)
from edgevision.export.verify import Progress
from edgevision.graph.contract import load_model
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.magnitudes import Magnitudes, probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph, values_to_probe
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.storage.codec import json_text
from edgevision.verification.golden import verify_session

_MODEL = graph_file_name("float")
_HALF = graph_file_name("fp16")


def with_fp16_parts(bundle: Bundle, progress: Progress, tensorrt: tuple[str, ...] = ()) -> Bundle:
    """Add an FP16 program: the FP16 graph of each part that passes, and the float graph of the others.

    The run of all parts must answer the golden inputs within FP16's limits, in ONNX Runtime and with every rounding
    written out. If it does not, `progress` reports it, and the bundle is unchanged.
    """
    program = bundle.program()
    with tempfile.TemporaryDirectory(prefix=f".{bundle.path.name}.partial-", dir=bundle.path.parent) as name:
        folder = Path(name)
        emulated: dict[str, Path] = {}
        for graph in program.graphs:
            part = bundle.part(graph.name)
            say = functools.partial(_said, progress, graph.name)
            (folder / graph.name).mkdir()
            if part.graph("float").data:
                with_external_fp16(part, folder / graph.name, say, tensorrt)
            else:
                part = with_fp16(part, say, tensorrt)
                if _held(part):
                    half = onnx.load(part.graph_path("fp16"))
                    onnx.save(emulated_half(half), folder / graph.name / _MODEL)
            if (folder / graph.name / _MODEL).exists():
                emulated[graph.name] = folder / graph.name / _MODEL
        if not emulated:
            progress("no FP16 program: no graph passes in FP16")
            return bundle
        return _added(bundle, program, emulated, progress)


def _said(progress: Progress, name: str, text: str) -> None:
    progress(f"{name}: {text}")


def _held(part: Bundle) -> bool:
    return any(entry.precision == "fp16" for entry in part.manifest.graphs)


def _added(bundle: Bundle, program: Program, emulated: Mapping[str, Path], progress: Progress) -> Bundle:
    graphs = {graph.name: graph for graph in program.graphs}
    for name in emulated:
        part = bundle.part(name)
        half = load_model(part.path / _HALF, external=False)
        graphs[name] = program_graph(part, activation_bytes(half, bundle.spec.batch.max), "fp16")
    lower = replace(
        program,
        encoders=tuple(graphs[graph.name] for graph in program.encoders),
        denoiser=graphs[program.denoiser.name],
        decoder=graphs[program.decoder.name],
    )
    golden = bundle.golden()
    openers = part_openers(bundle.path, lower)
    records = (
        verified_run(bundle.spec, lower, openers, golden, "fp16"),
        replace(
            verified_run(bundle.spec, lower, {**openers, **_emulated_openers(emulated)}, golden, "fp16"),
            engine=EMULATED,
        ),
    )
    failed = [record for record in records if not record.passed]
    if failed:
        for name in emulated:
            bundle.part(name).without_graph("fp16")
        progress(f"no FP16 program: {failed[0].finding}; keeping only the float graphs")
        return bundle
    progress(f"FP16 program verified: {len(emulated)} of {len(program.graphs)} graphs in FP16")
    progress(f"FP16 graphs: {planned(lower)}")
    return bundle.add_graph("fp16", json_text(lower).encode(), records)


def _emulated_openers(files: Mapping[str, Path]) -> dict[str, PartOpener]:
    return {name: functools.partial(open_session, file, engine="onnxruntime") for name, file in files.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A graph with external weights: as it is in its file, with the weights as inputs, and the weights."""

    model: onnx.ModelProto
    network: onnx.ModelProto
    weights: Arrays


def with_external_fp16(
    part: Bundle, folder: Path, progress: Progress, tensorrt: tuple[str, ...] = ()
) -> Bundle:
    """`export.half.with_fp16` for a graph with external weights, which are never in memory all at once.

    If it passes, `folder` receives the graph with every rounding written out, ``model.onnx``. It must be on the file
    system of the bundle.
    """
    model = with_named_nodes(load_model(part.graph_path("float"), external=False))
    weights = external_weights(model, part.path)
    loaded = _Loaded(model, without_weights(model, weights), weights)
    golden = part.golden()
    os.link(part.path / data_name(_MODEL), folder / data_name(_MODEL))
    finding = ""
    try:
        half = _half(loaded, part, golden)
        require_named(half.model, tensorrt, "it")
        records = _written(half, loaded, folder, golden)
        failed = [record for record in records if not record.passed]
        if not failed:
            content, data = (folder / _HALF).read_bytes(), folder / data_name(_HALF)
            progress(
                f"FP16 graph verified: {half.half_nodes} nodes in FP16, {half.float_nodes} in FP32,"
                f" {data.stat().st_size / 2**20:.1f} MiB"
            )
            return part.add_graph("fp16", content, records, data)
        finding = failed[0].finding
    except GraphError as error:
        finding = str(error)
    (folder / _MODEL).unlink(missing_ok=True)
    progress(f"no FP16 graph: {finding}; keeping only the float graph")
    return part


def _half(loaded: _Loaded, part: Bundle, golden: Golden) -> HalfGraph:
    batches = batches_of(golden.inputs, part.spec.batch.opt)
    values = values_to_probe(loaded.model)
    probed = probe_magnitudes(loaded.model, batches, values, folder=part.path)
    largest = {**probed.largest, **{name: _largest(array) for name, array in loaded.weights.items()}}
    return half_graph(loaded.network, Magnitudes(probed.frames, largest), HalfRules(decode_in_float=False))


def _largest(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    return float(max(array.max(), -array.min()))


def _written(half: HalfGraph, loaded: _Loaded, folder: Path, golden: Golden) -> tuple[Verification, ...]:
    """Write the FP16 graph and the one with its roundings into the folder; their records."""
    emulated = with_references(emulated_half(half.model), loaded.model, loaded.weights)
    (folder / _MODEL).write_bytes(emulated.SerializeToString())
    network, weights = half_weights(half.model, loaded.weights)
    lower = with_weights(network, weights, folder / data_name(_HALF))
    (folder / _HALF).write_bytes(lower.SerializeToString())
    return tuple(_records(folder, golden))


def _records(folder: Path, golden: Golden) -> Iterator[Verification]:
    for name, engine in ((_HALF, None), (_MODEL, EMULATED)):
        with open_session(folder / name, engine="onnxruntime") as session:
            record = verify_session(session, golden, precision="fp16")
        yield replace(record, stage="export", engine=engine or record.engine)
