"""Computes a graph's network in a type below float32 with OpenVINO, and its post-processing in float32.

OpenVINO computes a whole graph in the type of ``INFERENCE_PRECISION_HINT``, except for the operators after the last
products. NMS contains products, so overlaps would be computed in that type too. In bfloat16, which has 8 bits of
mantissa, IoU is off by up to 1 %. In float16, areas above 65504 overflow, and NMS removes nothing. The graph is
therefore cut before post-processing and compiled in two parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13

POST = "post/"
"""Prefix of the names of our post-processing nodes."""


class Parts:
    """A compiled graph, or two of which the second continues with the outputs of the first."""

    def __init__(self, compiled: tuple[ov.CompiledModel, ...]) -> None:
        self._compiled = compiled

    def output(self, name: str) -> Any:
        """The port of an output, for the results of a request."""
        return self._compiled[-1].output(name)

    def create_request(self) -> Request:
        """A request, for one thread at a time."""
        return Request(self._compiled)

    def runtime_models(self) -> list[ov.Model]:
        """The layers of each part, as OpenVINO runs them."""
        return [part.get_runtime_model() for part in self._compiled]


class Request:
    """Runs all parts of a graph."""

    def __init__(self, compiled: tuple[ov.CompiledModel, ...]) -> None:
        self._requests = [part.create_infer_request() for part in compiled]
        self._counts = [len(part.outputs) for part in compiled]

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Mapping[Any, Any]:
        """Results of the last part for inputs by name, valid until the next call."""
        # Inputs are read and results are returned in place; an array is copied only if it has gaps.
        given: dict[Any, Any] = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = self._requests[0].infer(given, share_inputs=True, share_outputs=True)
        pairs = zip(self._requests, self._counts, strict=True)
        for (before, count), request in zip(pairs, self._requests[1:], strict=False):
            given = {index: before.get_output_tensor(index) for index in range(count)}
            results = request.infer(given, share_outputs=True)
        return results  # type: ignore[no-any-return]  # openvino ships no types

    def profile(self) -> list[Any]:
        """``ProfilingInfo`` of the layers of all parts, if they were compiled with ``PERF_COUNT``."""
        return [info for request in self._requests for info in request.profiling_info]


def compile_parts(core: ov.Core, model: ov.Model, settings: Mapping[str, Any], computed_in: str) -> Parts:
    """Compile the graph for the CPU; with another type than "f32", its post-processing separately in float32."""
    exact = {**settings, "INFERENCE_PRECISION_HINT": "f32"}
    if computed_in == "f32":
        return Parts((core.compile_model(model, "CPU", exact),))
    network, post = split(model)
    lower = {**settings, "INFERENCE_PRECISION_HINT": computed_in}
    return Parts((core.compile_model(network, "CPU", lower), core.compile_model(post, "CPU", exact)))


def split(model: ov.Model) -> tuple[ov.Model, ov.Model]:
    """Cut a model before its post-processing; the outputs of the first part are the inputs of the second, in order.

    `model` is modified and cannot be used afterwards. Values that do not depend on the frames stay where they are used.
    """
    varying, behind = _places(model)
    inputs: dict[tuple[str, int], ov.Node] = {}
    cut = []
    for node in model.get_ordered_ops():
        if node.get_friendly_name() not in behind:
            continue
        for target in node.inputs():
            source = target.get_source_output()
            name = source.get_node().get_friendly_name()
            if name in behind or name not in varying:
                continue
            key = name, source.get_index()
            if key not in inputs:
                inputs[key] = opset13.parameter(source.get_partial_shape(), source.get_element_type())
                cut.append(source)
            target.replace_source_output(inputs[key].output(0))
    network = ov.Model([opset13.result(source) for source in cut], model.get_parameters(), "network")
    return network, ov.Model(model.get_results(), list(inputs.values()), "post-processing")


def _places(model: ov.Model) -> tuple[set[str], set[str]]:
    """Names of the nodes that depend on the frames, and of those in or after post-processing."""
    varying: set[str] = set()
    behind: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        before = {target.get_source_output().get_node().get_friendly_name() for target in node.inputs()}
        if kind == "Parameter" or before & varying:
            varying.add(name)
        if kind == "Result" or name.startswith(POST) or before & behind:
            behind.add(name)
    return varying, behind
