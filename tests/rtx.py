"""TensorRT-RTX as a judge: it parses a graph and builds an engine on a machine without a GPU."""

from __future__ import annotations

import time
from collections.abc import Mapping

import tensorrt_rtx as trt

from edgevision.errors import GraphError

Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Smallest, usual and largest shape of an input."""


class _Log(trt.ILogger):  # type: ignore[misc]  # the library ships no types
    """Keeps errors: they say more than the parser and the builder return."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)


def build_rtx_engine(graph: bytes, profiles: Mapping[str, Profile] | None = None) -> tuple[bytes, float]:
    """An engine for compute capability 8.9 and the seconds it took; raises `GraphError` with reasons.

    `profiles` gives the shapes of every input that has a dynamic dimension.
    """
    log = _Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise GraphError(f"TensorRT-RTX cannot parse the graph: {'; '.join(reasons)}")
    config = builder.create_builder_config()
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
    return bytes(engine), time.perf_counter() - start
