"""Runs graphs in the CPU engines, with and without the engine's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime as ort

from benchmarks.graph_parts import NETWORK, PARTS, NodeTimes, parts_of
from edgevision.engines.openvino import shared_core
from edgevision.engines.ort_settings import cpu_session, session_settings

ENGINES = ("onnxruntime", "openvino f32", "openvino bf16")
_NOT_RUN = ("Constant", "Parameter", "Result", "Input", "Output")
_KERNEL = "_kernel_time"

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
    # ONNX Runtime names nodes that it adds by those that they belong to, except a few in the network.
    return NodeTimes(samples, {name: _part(name, known) or NETWORK for name in samples})


def _openvino(model: onnx.ModelProto, engine: str, feed: Feed, threads: int, rounds: int) -> NodeTimes:
    known = parts_of(model)
    request = _request(model, engine, threads, PERF_COUNT=True)
    samples: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        request.infer(feed, share_inputs=True, share_outputs=True)
        for info in request.profiling_info:
            if str(info.status).endswith("EXECUTED") and info.node_type not in _NOT_RUN:
                samples[info.node_name].append(info.real_time.total_seconds() * 1000)
    # Outputs have the names of the contract instead of those of their nodes.
    known |= {name: known[node.name] for node in model.graph.node for name in node.output}
    return NodeTimes(samples, _openvino_parts(request, known))


def _request(model: onnx.ModelProto, engine: str, threads: int, **further: object) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": engine.split()[-1], "INFERENCE_NUM_THREADS": threads, **further}
    core = shared_core()
    return core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", settings
    ).create_infer_request()


def _openvino_parts(request: Any, known: Mapping[str, str]) -> dict[str, str]:
    """The part of each node that OpenVINO runs; nodes of its own belong to the part that they read from."""
    parts: dict[str, str] = {}
    for node in request.get_compiled_model().get_runtime_model().get_ordered_ops():
        name, facts = node.get_friendly_name(), node.get_rt_info()
        fused = facts["originalLayersNames"].astype(str).split(",") if "originalLayersNames" in facts else []
        before = [
            node.input_value(place).get_node().get_friendly_name() for place in range(node.get_input_size())
        ]
        read = [parts[one] for one in before if one in parts]
        found = _part(name, known, fused) or max(read, key=PARTS.index, default=None)
        if found is not None:
            parts[name] = found
    return parts


def _part(name: str, known: Mapping[str, str], fused: Sequence[str] = ()) -> str | None:
    """The part of an engine's node: of the nodes that it fuses, or of the longest name that is part of its own."""
    for one in (name, *reversed(fused)):
        if one in known:
            return known[one]
    inside = [one for one in known if one and one in name]
    return known[max(inside, key=len)] if inside else None
