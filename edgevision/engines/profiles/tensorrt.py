"""Layer times from TensorRT's profiler, and the nodes of each layer from its inspector."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.contract.session import Frames
from edgevision.contract.spec import Precision
from edgevision.engines.profiles.assign import Operation, assign
from edgevision.engines.profiles.graph import Graph, read_graph
from edgevision.engines.profiles.turns import WARM_UP, Call, in_turns
from edgevision.engines.tensorrt.execution_context import ExecutionContext
from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt

_SOURCE = re.compile(r"\[ONNX Layer: (.*?)\]")
_SEPARATORS = re.compile(r" \+ |, |\(|\)|\{|\}|\.\.\.")
"""Between the names of fused nodes, such as ``PWN(/act/Sigmoid, /act/Mul)`` or ``/conv/Conv + /act/Relu``."""
_MOVES = ("reformat", "copy", "shuffle", "cast")
_PRECISIONS: Sequence[tuple[str, Precision]] = (
    ("fp8", "fp8"),
    ("int8", "int8"),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("half", "fp16"),
    ("fp16", "fp16"),
    ("float16", "fp16"),
    ("fp32", "float"),
    ("float32", "float"),
    ("float", "float"),
)

LayerTimes = list[tuple[str, float]]
"""Names and milliseconds of the layers of one call."""


@dataclass(frozen=True, slots=True)
class InspectedLayer:
    """A layer as the inspector describes it."""

    kind: str
    sources: tuple[str, ...]
    """Nodes of the graph that it names; empty if the engine was built without detail."""
    precision: Precision | None


def profiler(library: Library, times: LayerTimes) -> trt.IProfiler:
    """A profiler of the library's own class that appends the time of every layer."""
    base: Any = library.module.IProfiler

    class Profiler(base):  # type: ignore[misc]  # the base class belongs to the loaded library
        def __init__(self) -> None:
            base.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.append((layer_name, float(ms)))

    made: trt.IProfiler = Profiler()
    return made


def profile(
    graph: Path,
    library: Library,
    lane: ExecutionContext,
    inspector_json: str,
    plain: Call,
    batches: Iterable[Frames],
) -> EngineProfile:
    """Run every batch in `lane` with the profiler, and without it in another. Raises `EngineError`."""
    times: LayerTimes = []
    calls: list[LayerTimes] = []
    device_ms: list[float] = []
    observer = profiler(library, times)

    def keep() -> None:
        calls.append(times.copy())
        times.clear()
        device_ms.append(lane.device_ms)

    _, plain_ms = in_turns(lambda frames: lane.run_profiled((frames,), observer), plain, batches, keep)
    layers = layers_of(calls[WARM_UP:], inspected(inspector_json), read_graph(graph))
    return EngineProfile(layers, tuple(device_ms[WARM_UP:]), plain_ms)


def layers_of(
    calls: Sequence[LayerTimes], known: Mapping[str, InspectedLayer], graph: Graph
) -> tuple[EngineLayer, ...]:
    """The layers of a profile; a layer that is reported several times in a call counts once, with the sum."""
    samples: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        sums: dict[str, float] = defaultdict(float)
        for name, ms in call:
            sums[name] += ms
        for name, ms in sums.items():
            samples[name].append(ms)
    layers = {name: known.get(name) or InspectedLayer("layer", (), None) for name in samples}
    operations = [
        Operation(
            layer.sources or _names(name), moves=layer.kind.lower().startswith(_MOVES) and not layer.sources
        )
        for name, layer in layers.items()
    ]
    return tuple(
        EngineLayer(
            name, layers[name].kind, one.nodes, one.near, layers[name].precision, tuple(samples[name])
        )
        for name, one in zip(layers, assign(graph, operations), strict=True)
    )


def inspected(text: str) -> dict[str, InspectedLayer]:
    """The layers in the inspector's JSON by name; empty if it lists none."""
    data = json.loads(text)
    layers = data.get("Layers") if isinstance(data, dict) else None
    found: dict[str, InspectedLayer] = {}
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and "Name" in layer:
            kind = str(layer.get("LayerType") or layer.get("Type") or "layer")
            sources = tuple(_SOURCE.findall(str(layer.get("Metadata", ""))))
            found[str(layer["Name"])] = InspectedLayer(kind, sources, _precision(layer))
        elif isinstance(layer, str):  # of an engine that was built without detail
            found[layer] = InspectedLayer("layer", (), None)
    return found


def _names(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _SEPARATORS.split(name) if part.strip())


def _precision(layer: Mapping[str, Any]) -> Precision | None:
    """The type of the first input, which determines that of the products."""
    ports = layer.get("Inputs")
    first = ports[0] if isinstance(ports, list) and ports else None
    if not isinstance(first, dict):
        return None
    # The key is "Format/Datatype" until 10, "DataType" or "Format" since 11.
    text = " ".join(str(value) for key, value in first.items() if key not in ("Name", "Dimensions")).lower()
    return next((precision for name, precision in _PRECISIONS if name in text), None)
