"""Profiles a build: the engine's layer times, joined with costs and the machine's roofline."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import edgevision
from edgevision.benchmark.bench import Subject, prepared_batches
from edgevision.benchmark.builds import Build, FrameOpener, build_record
from edgevision.benchmark.layers.costs import layer_cost, main_node
from edgevision.benchmark.layers.parts import NETWORK, parts_of
from edgevision.benchmark.layers.record import LayerRecord, ProfileRecord
from edgevision.benchmark.layers.roofline import Roofline
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.source_state import git_state
from edgevision.benchmark.timing import Samples
from edgevision.bundle.folder import Bundle
from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.contract.session import Frames
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.facts import device_facts
from edgevision.engines.profiles.graph import Graph, Tensor, read_graph
from edgevision.errors import EngineError

LEAST_CALLS, MOST_CALLS = 12, 400
"""Calls of each kind, warm-up included, whatever the time."""


def profile_build(
    build: Build, frames: FrameOpener, seconds: float, roofline: Roofline | None
) -> ProfileRecord:
    """Profile a build for at least `seconds`.

    Raises the errors of `open_session`, and `EngineError` if the engine has no profile.
    """
    with build.open() as session:
        open_frames = frames(session.spec.frames)
        batches, _ = prepared_batches(Subject(session, None, build.options, open_frames))
        with open_frames() as source:
            name = Path(source.name).name
        found = session.profile_layers(_for_seconds(batches, seconds))
        described = build_record(build, session)
    path = graph_path(build.path, described.precision)
    values, notes = _values(path, batches[0])
    layers = layer_records(read_graph(path), found, values, roofline)
    return ProfileRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        build=described,
        device=device_facts(),
        source=name,
        threads=build.options.threads,
        spin=build.options.spin,
        layers=layers,
        layers_ms=round(sum(layer.mean_ms for layer in layers), 4),
        engine_ms=round(sum(found.calls_ms) / len(found.calls_ms), 4),
        calls=PackedSamples.of(_ns(found.calls_ms)),
        inference_alone=StageRecord.of("inference alone", Samples(_ns(found.plain_ms))),
        roofline=roofline,
        notes=notes,
        git=git_state(),
    )


def graph_path(path: Path, precision: Precision | None) -> Path:
    """The graph's file: of a bundle, or an ``.onnx`` file itself."""
    return path if path.suffix == ".onnx" else Bundle.open(path).graph_path(precision or "float")


def layer_records(
    graph: Graph, profile: EngineProfile, values: dict[str, Tensor], roofline: Roofline | None
) -> tuple[LayerRecord, ...]:
    """The layers of a profile with part, cost and limit. `values`: those of the graph; empty if unknown."""
    parts = parts_of(graph.nodes)
    total = sum(layer.ms for layer in profile.layers) or 1.0
    records: list[LayerRecord] = []
    for layer in profile.layers:
        name = main_node(graph, layer.nodes, values) if layer.nodes else layer.name
        before = records[-1].part if records else NETWORK
        part = parts.get(name) or parts.get(layer.near) or before
        records.append(_layer_record(graph, layer, name, part, total, values, roofline))
    return tuple(records)


def _layer_record(
    graph: Graph,
    layer: EngineLayer,
    name: str,
    part: str,
    total: float,
    values: dict[str, Tensor],
    roofline: Roofline | None,
) -> LayerRecord:
    cost = layer_cost(graph, layer.nodes, values, layer.precision)
    limited = roofline is not None and cost is not None
    limit = roofline.limit_ms(cost.flops, cost.bytes, layer.precision) if roofline and cost else None
    return LayerRecord(
        name=name,
        kind=layer.kind,
        nodes=layer.nodes,
        part=part,
        precision=layer.precision,
        ms=round(layer.ms, 6),
        mean_ms=round(layer.mean_ms, 6),
        share=round(layer.ms / total, 6),
        flops=None if cost is None else cost.flops,
        bytes=None if cost is None else cost.bytes,
        limit_ms=round(limit, 6) if limited and limit is not None else None,
        samples=PackedSamples.of(_ns(layer.samples_ms)),
    )


def _for_seconds(batches: tuple[Frames, ...], seconds: float) -> Iterator[Frames]:
    """The batches again and again, until time and minimum count are reached."""
    began = time.perf_counter()
    for count, frames in enumerate(itertools.cycle(batches)):
        if count >= MOST_CALLS or (count >= LEAST_CALLS and time.perf_counter() - began >= seconds):
            return
        yield frames


def _values(path: Path, frames: Frames) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Shapes of the graph's values, and a note if they cannot be known."""
    try:
        from edgevision.engines.profiles.onnxruntime import measured_values

        found = measured_values(path, frames)
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        return {}, ("no operations and bytes: their shapes need ONNX Runtime: pip install 'edgevision[cpu]'",)
    except EngineError as error:
        return {}, (f"no operations and bytes: {error}",)
    return {**found, "frames": Tensor(frames.shape, 1)}, ()


def _ns(times_ms: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(round(value * 1e6) for value in times_ms)
