"""Running graphs in the engines, for every test of `edgevision.graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest

from edgevision.engines.openvino import shared_core

Arrays = list[np.ndarray[Any, Any]]
Run = Callable[..., Arrays]

LARGEST_BATCH = 50


@pytest.fixture(scope="session")
def run_ort() -> Run:
    """``run(model, feeds, overrides={})``: all outputs of a graph in ONNX Runtime, all optimizations on."""

    def run(
        model: onnx.ModelProto,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        overrides: Mapping[str, float] | None = None,
    ) -> Arrays:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # the graphs are tiny: more threads would only wait for each other
        options.log_severity_level = 3
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(np.asarray(value, np.float32))
            for name, value in (overrides or {}).items()
        }
        for name, value in values.items():
            options.add_initializer(name, value)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return joined(session.run(None, part) for part in parts(feeds))

    return run


@pytest.fixture(scope="session")
def run_openvino() -> Run:
    """``run(model, feeds, overrides={})``: all outputs of a graph in OpenVINO on the CPU in float32."""

    def run(
        model: onnx.ModelProto,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        overrides: Mapping[str, float] | None = None,
    ) -> Arrays:
        core = shared_core()
        graph = core.read_model(model.SerializeToString())
        for name, value in (overrides or {}).items():
            replace_constant(graph, name, value)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = core.compile_model(graph, "CPU", settings)
        results = (compiled(part) for part in parts(feeds))
        return joined([np.array(result[output]) for output in compiled.outputs] for result in results)

    return run


def parts(feeds: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """A large batch in smaller ones: thousands of cases at once would take gigabytes."""
    rows = len(next(iter(feeds.values())))
    for start in range(0, rows, LARGEST_BATCH):
        yield {name: array[start : start + LARGEST_BATCH] for name, array in feeds.items()}


def joined(answers: Iterable[Arrays]) -> Arrays:
    return [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]


def replace_constant(graph: Any, name: str, value: float) -> None:
    """Give an OpenVINO model another value for the initializer of this name, before it is compiled."""
    found = [op for op in graph.get_ops() if op.get_friendly_name() == name]
    assert len(found) == 1, f"{name}: {len(found)} constants of that name"
    replacement = ov.op.Constant(np.asarray(value, np.float32))
    for target in found[0].output(0).get_target_inputs():
        target.replace_source_output(replacement.output(0))
