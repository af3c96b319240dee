"""Runs graphs in the CPU engines, with and without the engine's own profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime as ort

from benchmarks.graph_parts import NodeTimes
from edgevision.benchmark.layers.run import layer_records
from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.engines.openvino import shared_core
from edgevision.engines.ort_settings import cpu_session, session_settings
from edgevision.engines.profiles import onnxruntime as in_onnxruntime
from edgevision.engines.profiles import openvino as in_openvino
from edgevision.engines.profiles.graph import Graph, read_graph

ENGINES = ("onnxruntime", "openvino f32", "openvino bf16")

Feed = Mapping[str, npt.NDArray[Any]]


def opened(model: onnx.ModelProto, engine: str, feed: Feed, threads: int) -> Callable[[], object]:
    """A function that runs the graph once."""
    if engine == "onnxruntime":
        return _bound(cpu_session(model.SerializeToString(), session_settings(threads)), feed)
    request = _request(model, engine, threads)
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def _bound(session: Any, feed: Feed) -> Callable[[], object]:
    """A function that runs a session into the same output arrays each time.

    New arrays for large raw outputs would cost page faults, which the whole graph does not have.
    """
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for value, array in zip(session.get_outputs(), session.run(None, feed), strict=True):
        binding.bind_ortvalue_output(value.name, ort.OrtValue.ortvalue_from_numpy(array))
    return lambda: session.run_with_iobinding(binding)


def profiled(model: onnx.ModelProto, engine: str, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    """Times of every node that the engine runs."""
    if engine == "onnxruntime":
        return _onnxruntime(model, feed, threads, rounds)
    return _openvino(model, engine, feed, threads, rounds)


def _onnxruntime(model: onnx.ModelProto, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    settings = session_settings(threads)
    settings.enable_profiling = True
    serialized = model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = f"{folder}/profile"
        settings.optimized_model_filepath = f"{folder}/optimized.onnx"
        session = cpu_session(serialized, settings)
        for _ in range(rounds):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
        optimized = read_graph(Path(folder) / "optimized.onnx")
    return _times(read_graph(serialized), in_onnxruntime.layers_of(events, read_graph(serialized), optimized))


def _openvino(model: onnx.ModelProto, engine: str, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    request = _request(model, engine, threads, **in_openvino.COUNTED)
    read = []
    for _ in range(rounds):
        request.infer(feed, share_inputs=True, share_outputs=True)
        read.append(in_openvino.averages(request.profiling_info))
    nodes = in_openvino.run_nodes(request.get_compiled_model().get_runtime_model())
    graph = read_graph(model.SerializeToString())
    return _times(graph, in_openvino.layers_of(read, nodes, graph))


def _times(graph: Graph, layers: Sequence[EngineLayer]) -> NodeTimes:
    profile = EngineProfile(tuple(layers), (), ())
    records = layer_records(graph, profile, {}, None)
    return NodeTimes(
        {layer.name: list(layer.samples_ms) for layer in layers},
        {layer.name: record.part for layer, record in zip(layers, records, strict=True)},
    )


def _request(model: onnx.ModelProto, engine: str, threads: int, **further: object) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": engine.split()[-1], "INFERENCE_NUM_THREADS": threads, **further}
    core = shared_core()
    return core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", settings
    ).create_infer_request()
