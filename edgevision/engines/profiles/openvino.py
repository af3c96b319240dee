"""Layer times from OpenVINO's profile of the CPU plug-in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.contract.session import Frames
from edgevision.contract.spec import FRAMES, Precision
from edgevision.engines.openvino_parts import Parts
from edgevision.engines.profiles.assign import Operation, assign
from edgevision.engines.profiles.graph import Graph, read_graph
from edgevision.engines.profiles.turns import WARM_UP, Call, in_turns
from edgevision.errors import EngineError, first_line

COUNTED = {"PERF_COUNT": True}
"""The setting with which OpenVINO measures its layers."""
_NOT_RUN = ("Constant", "Const", "Parameter", "Result", "Input", "Output")
_TYPES: Mapping[str, Precision] = {"f32": "float", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_INT8_KINDS = ("Convolution", "Deconvolution", "MatMul", "FullyConnected")
"""Layers of which 8-bit inputs mean 8-bit products; others only convert."""


@dataclass(frozen=True, slots=True)
class RunNode:
    """A node of OpenVINO's runtime model."""

    name: str
    kind: str
    fused: tuple[str, ...]
    """Names of the operations that it computes."""
    before: tuple[str, ...]
    """Names of the nodes that it reads."""
    precision: Precision | None


def profile(
    graph: Path, compile_counted: Callable[[], Parts], plain: Call, batches: Iterable[Frames]
) -> EngineProfile:
    """Run every batch with the profile and without it. `compile_counted` compiles with `COUNTED`.

    Raises `EngineError`.
    """
    try:
        compiled = compile_counted()
        request = compiled.create_request()
        read: list[dict[str, float]] = []
        calls_ms, plain_ms = in_turns(
            lambda frames: request.infer({FRAMES: frames}),
            plain,
            batches,
            lambda: read.append(averages(request.profile())),
        )
        nodes = [node for model in compiled.runtime_models() for node in run_nodes(model)]
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot profile {graph}: {first_line(error)}") from error
    return EngineProfile(layers_of(read, nodes, read_graph(graph), WARM_UP), calls_ms, plain_ms)


def averages(infos: Iterable[Any]) -> dict[str, float]:
    """Milliseconds by name of the nodes that were run: OpenVINO reports the average of all calls so far."""
    return {
        info.node_name: info.real_time.total_seconds() * 1000
        for info in infos
        if str(info.status).endswith("EXECUTED") and info.node_type not in _NOT_RUN
    }


def run_nodes(model: Any) -> list[RunNode]:
    """The nodes of a runtime model, in their order."""
    found = []
    for node in model.get_ordered_ops():
        facts = node.get_rt_info()
        texts = {
            key: facts[key].astype(str) if key in facts else ""
            for key in ("originalLayersNames", "layerType", "runtimePrecision")
        }
        before = tuple(
            node.input_value(place).get_node().get_friendly_name() for place in range(node.get_input_size())
        )
        fused = tuple(name for name in texts["originalLayersNames"].split(",") if name)
        kind = texts["layerType"] or node.get_type_name()
        precision = _TYPES.get(texts["runtimePrecision"])
        if precision == "int8" and kind not in _INT8_KINDS:
            precision = None
        found.append(RunNode(node.get_friendly_name(), kind, fused, before, precision))
    return found


def layers_of(
    read: Sequence[Mapping[str, float]], nodes: Sequence[RunNode], graph: Graph, skip: int = 0
) -> tuple[EngineLayer, ...]:
    """The layers of a profile, without its first `skip` calls. `read`: the averages after each call, in ms."""
    folded = _folded(nodes)
    ran = [node for node in nodes if node.name in read[-1] and node.name not in folded]
    moving = ("Reorder", "Convert")
    found = assign(
        graph,
        [Operation((*node.fused, node.name), moves=node.kind in moving and not node.fused) for node in ran],
    )
    return tuple(
        EngineLayer(
            node.name, node.kind, one.nodes, one.near, node.precision, _samples(read, node.name)[skip:]
        )
        for node, one in zip(ran, found, strict=True)
    )


def _samples(read: Sequence[Mapping[str, float]], name: str) -> tuple[float, ...]:
    """The time of each call: the average of n calls times n, less that of n - 1 calls times n - 1.

    OpenVINO rounds averages down to microseconds, so a call's time is off by up to n microseconds, and may be below 0.
    Their sum is off by less than n microseconds.
    """
    totals = [0.0, *(count * averages.get(name, 0.0) for count, averages in enumerate(read, 1))]
    return tuple(after - before for before, after in pairwise(totals))


def _folded(nodes: Sequence[RunNode]) -> set[str]:
    """Names of nodes that depend on no input; OpenVINO runs them once, when it compiles."""
    known: set[str] = set()
    for node in nodes:
        if node.kind in ("Const", "Constant") or (node.before and known.issuperset(node.before)):
            known.add(node.name)
    return known
