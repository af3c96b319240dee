"""Layer times from ONNX Runtime's profile, a JSON file of events."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.contract.session import Frames
from edgevision.contract.spec import Precision
from edgevision.engines.ort_settings import CPU, open_inference, session_settings
from edgevision.engines.profiles.assign import Operation, assign
from edgevision.engines.profiles.graph import Graph, Node, Tensor, read_graph
from edgevision.engines.profiles.turns import WARM_UP, Call, in_turns
from edgevision.errors import EngineError, first_line

_KERNEL = "_kernel_time"
_CALL = "model_run"
_OPTIMIZED = "optimized.onnx"
_TYPES: Mapping[str, Precision] = {"float": "float", "float16": "fp16", "bfloat16": "bf16"}
_INT8 = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "QAttention")
_ELEMENT_BYTES = {"float": 4, "int32": 4, "uint32": 4, "double": 8, "int64": 8, "uint64": 8}
_ELEMENT_BYTES |= {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}

Event = dict[str, Any]
Opener = Callable[[ort.SessionOptions], ort.InferenceSession]


def profile(
    graph: Path, settings: ort.SessionOptions, open_with: Opener, plain: Call, batches: Iterable[Frames]
) -> EngineProfile:
    """Run every batch with the profile and without it. `open_with` opens the graph with the settings.

    Raises `EngineError`.
    """
    with tempfile.TemporaryDirectory(prefix="edgevision-profile-") as folder:
        settings.enable_profiling = True
        settings.profile_file_prefix = f"{folder}/events"
        settings.optimized_model_filepath = f"{folder}/{_OPTIMIZED}"
        try:
            inference = open_with(settings)
            calls_ms, plain_ms = in_turns(
                lambda frames: inference.run(None, {"frames": np.ascontiguousarray(frames)}), plain, batches
            )
            events = json.loads(Path(inference.end_profiling()).read_text())
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(f"ONNX Runtime cannot profile {graph}: {first_line(error)}") from error
        optimized = read_graph(Path(folder) / _OPTIMIZED)
    return EngineProfile(layers_of(events, read_graph(graph), optimized, WARM_UP), calls_ms, plain_ms)


def layers_of(
    events: Sequence[Event], graph: Graph, optimized: Graph, skip: int = 0
) -> tuple[EngineLayer, ...]:
    """The layers of a profile, without its first `skip` calls; `optimized` is the graph that ONNX Runtime ran."""
    calls = _calls(events)[skip:]
    samples: dict[str, list[float]] = defaultdict(list)
    facts: dict[str, Event] = {}
    for call in calls:
        for name in {event["name"] for event in call}:
            samples[name].append(sum(event["dur"] for event in call if event["name"] == name) / 1000)
        facts |= {event["name"]: event for event in call}
    ran = {node.name: node for node in optimized.nodes}
    kernels = list(facts)
    found = assign(graph, [_operation(name.removesuffix(_KERNEL), facts[name], ran) for name in kernels])
    return tuple(
        EngineLayer(
            name=kernel.removesuffix(_KERNEL),
            kind=facts[kernel]["args"]["op_name"],
            nodes=one.nodes,
            near=one.near,
            precision=_precision(facts[kernel]["args"]),
            samples_ms=tuple(samples[kernel]),
        )
        for kernel, one in zip(kernels, found, strict=True)
    )


def measured_values(graph: Path, frames: Frames) -> dict[str, Tensor]:
    """Shape and element size of the outputs of every node, from one call in ONNX Runtime without fusions."""
    settings = session_settings(1)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgevision-shapes-") as folder:
        settings.profile_file_prefix = f"{folder}/events"
        try:
            inference = open_inference(str(graph), settings, [CPU], rewrite=False)
            inference.run(None, {"frames": np.ascontiguousarray(frames)})
            events = json.loads(Path(inference.end_profiling()).read_text())
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise EngineError(f"ONNX Runtime cannot run {graph}: {first_line(error)}") from error
    return values_of(events, read_graph(graph))


def values_of(events: Sequence[Event], graph: Graph) -> dict[str, Tensor]:
    """Shape and element size of the outputs of every node in a profile."""
    found: dict[str, Tensor] = {}
    nodes = {node.name: node for node in graph.nodes}
    for event in events:
        node = nodes.get(str(event["name"]).removesuffix(_KERNEL))
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL) and node is not None:
            types = [item for entry in event["args"].get("output_type_shape", ()) for item in entry.items()]
            made = [value for value in node.output if value]
            for value, (kind, shape) in zip(made, types, strict=False):
                found[value] = Tensor(tuple(shape), _ELEMENT_BYTES.get(kind, 0))
    return found


def _calls(events: Sequence[Event]) -> list[list[Event]]:
    """The kernels of each call, without those inside another kernel, such as the body of a loop."""
    calls: list[list[Event]] = []
    current: list[Event] = []
    for event in events:
        if event["name"] == _CALL:
            calls.append(_outermost(current))
            current = []
        elif event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            current.append(event)
    return calls


def _outermost(kernels: Sequence[Event]) -> list[Event]:
    found: list[Event] = []
    end = -1
    for event in sorted(kernels, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] + event["dur"] > end or not found:
            found.append(event)
            end = event["ts"] + event["dur"]
    return found


def _operation(name: str, event: Event, ran: Mapping[str, Node]) -> Operation:
    node, kind = ran.get(name), event["args"]["op_name"]
    if node is None:
        return Operation((name,), moves=kind.startswith("Reorder"))
    sums = kind in ("Conv", "FusedConv") and len([value for value in node.input if value]) > 3
    return Operation(
        names=(name,),
        returns=tuple(value for value in node.output if value),
        adds=sums,
        activates="activation" in node.attributes,
        moves=kind.startswith("Reorder"),
    )


def _precision(arguments: Event) -> Precision | None:
    if str(arguments["op_name"]).startswith(_INT8):
        return "int8"
    kinds = [kind for entry in arguments.get("input_type_shape", ()) for kind in entry]
    return next((_TYPES[kind] for kind in kinds if kind in _TYPES), None)
