"""TensorRT-RTX as a judge: it parses a graph and builds an engine on a machine without a GPU."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tensorrt_rtx as trt

from edgevision.builder.inspect import type_in
from edgevision.errors import GraphError

Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Smallest, usual and largest shape of an input."""


_LAYER = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: "
)
_TYPE = re.compile(r"Datatype: (\w+)")
_SOURCE = re.compile(r"\[ONNX Layer: (.*?)\]")


_GRAFTED = "Metadata: [ONNX Layer: post/"

CONVOLUTION = "convolution"


@dataclass(frozen=True, slots=True)
class RtxEngine:
    """An engine, and its own layers by kind and by the type of their first input."""

    plan: bytes
    seconds: float
    layers: Counter[tuple[str, str]]
    types: Mapping[str, str]
    """The type of the first output of each layer of the strongly typed network, by the name of its node."""
    sources: tuple[tuple[str, ...], ...] = ()
    """For each layer that computes something, the nodes of the graph that it holds."""

    def types_of(self, nodes: Iterable[str]) -> Counter[str]:
        """How many of these nodes' layers compute in each type: Float, Half."""
        wanted = set(nodes)
        return Counter(kind for name, kind in self.types.items() if name in wanted)

    def convolutions(self) -> dict[str, int]:
        """How many convolutions compute in each type: Float, Half, Int8."""
        return {kind: count for (layer, kind), count in sorted(self.layers.items()) if layer == CONVOLUTION}

    def shares(self) -> dict[str, float]:
        """The share of the engine's layers by the type that they read, largest first."""
        counts: Counter[str] = Counter()
        for (_, kind), count in self.layers.items():
            counts[type_in(kind)] += count
        return {kind: count / max(counts.total(), 1) for kind, count in counts.most_common()}


class _Log(trt.ILogger):  # type: ignore[misc]  # the library ships no types
    """Keeps errors, which say more than the parser and the builder return, and the list of the engine's layers."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        self.layers: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        # Without a GPU no engine and no inspector can be opened; the builder reports the same facts.
        self.layers += [line for line in message.splitlines() if _LAYER.match(line)]
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)


def build_rtx_engine(graph: bytes, profiles: Mapping[str, Profile] | None = None) -> tuple[bytes, float]:
    """An engine for compute capability 8.9 and the seconds it took; raises `GraphError` with reasons.

    `profiles` gives the shapes of every input that has a dynamic dimension.
    """
    built = inspected_rtx_engine(graph, profiles)
    return built.plan, built.seconds


def inspected_rtx_engine(graph: bytes, profiles: Mapping[str, Profile] | None = None) -> RtxEngine:
    """The same with the engine's own layers."""
    log = _Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise GraphError(f"TensorRT-RTX cannot parse the graph: {'; '.join(reasons)}")
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = {layer.name: layer.get_output(0).dtype.name.capitalize() for layer in layers if layer.num_outputs}
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    if profiles:
        profile = builder.create_optimization_profile()
        for name, shapes in profiles.items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    start = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise GraphError(f"TensorRT-RTX cannot build the graph: {'; '.join(log.errors[-3:])}")
    computing = [line for line in log.layers if _type_of(line)]
    sources = tuple(tuple(_SOURCE.findall(line)) for line in computing)
    return RtxEngine(bytes(engine), time.perf_counter() - start, _counted(log.layers), types, sources)


def _type_of(line: str) -> str | None:
    """The type of a layer's first input; None for layers without one, which synchronize streams."""
    layer = _LAYER.match(line)
    kind = _TYPE.search(layer["inputs"]) if layer else None
    return kind[1] if kind else None


def _counted(lines: list[str]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in lines:
        layer, kind = _LAYER.match(line), _type_of(line)
        if layer and kind:
            # Fused with what follows it a convolution is a "runtime_fusion" whose name tells: __myl_CorrSilu_..., and
            # __myl_FcAddSilu_... where it is one of 1x1 that is computed as a matrix product. Products of decoding and
            # suppression are no convolutions, and float32 on purpose.
            fused = re.match(r"__myl_(Corr|Fc)", layer["name"]) is not None and _GRAFTED not in line
            convolution = layer["kind"] == "correlation" or fused
            counts[CONVOLUTION if convolution else layer["kind"], kind] += 1
    return counts
