"""Runs graphs in the CPU engines, with and without the engine's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx

from benchmarks.graph_parts import NETWORK, PRE, NodeTimes, parts_of
from edgevision.engines.openvino import shared_core
from edgevision.engines.ort_settings import cpu_session, session_settings

ENGINES = ("onnxruntime", "openvino f32", "openvino bf16")
_NOT_RUN = ("Constant", "Parameter", "Result", "Input", "Output")
_KERNEL = "_kernel_time"

Feed = Mapping[str, npt.NDArray[Any]]


def opened(model: onnx.ModelProto, engine: str, feed: Feed, threads: int) -> Callable[[], object]:
    """A function that runs the graph once."""
    if engine == "onnxruntime":
        session = cpu_session(model.SerializeToString(), session_settings(threads))
        return lambda: session.run(None, feed)
    request = _request(model, engine, threads)
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def profiled(model: onnx.ModelProto, engine: str, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    """Times of every node that the engine runs."""
    if engine == "onnxruntime":
        return _onnxruntime(model, feed, threads, rounds)
    return _openvino(model, engine, feed, threads, rounds)


def _onnxruntime(model: onnx.ModelProto, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    known = parts_of(model)
    settings = session_settings(threads)
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = f"{folder}/profile"
        session = cpu_session(model.SerializeToString(), settings)
        for _ in range(rounds):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    samples: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            samples[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1000)
    return NodeTimes(samples, {name: _part(name, known) for name in samples})


def _openvino(model: onnx.ModelProto, engine: str, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    known = parts_of(model)
    request = _request(model, engine, threads, PERF_COUNT=True)
    samples: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        request.infer(feed, share_inputs=True, share_outputs=True)
        for info in request.profiling_info:
            if str(info.status).endswith("EXECUTED") and info.node_type not in _NOT_RUN:
                samples[info.node_name].append(info.real_time.total_seconds() * 1000)
    fused = _fused_names(request)
    # Outputs have the names of the contract instead of those of their nodes.
    known |= {name: known[node.name] for node in model.graph.node for name in node.output}
    return NodeTimes(samples, {name: _part(name, known, fused.get(name, ())) for name in samples})


def _request(model: onnx.ModelProto, engine: str, threads: int, **further: object) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": engine.split()[-1], "INFERENCE_NUM_THREADS": threads, **further}
    core = shared_core()
    return core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", settings
    ).create_infer_request()


def _fused_names(request: Any) -> dict[str, tuple[str, ...]]:
    """Names of the graph's nodes that each of OpenVINO's nodes computes."""
    names = {}
    for node in request.get_compiled_model().get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if "originalLayersNames" in facts:
            names[node.get_friendly_name()] = tuple(facts["originalLayersNames"].astype(str).split(","))
    return names


def _part(name: str, known: Mapping[str, str], fused: tuple[str, ...] = ()) -> str:
    """The part of an engine's node: of the nodes that it fuses, or of the longest name that is part of its own."""
    for one in (name, *reversed(fused)):
        if one in known:
            return known[one]
    inside = [one for one in known if one and one in name]
    if inside:
        return known[max(inside, key=len)]
    return PRE if "pre/" in name else NETWORK
