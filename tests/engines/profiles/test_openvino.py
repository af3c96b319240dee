"""Profiles of OpenVINO, which reports averages of all calls so far."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from edgevision.engines.profiles.openvino import RunNode, averages, layers_of
from tests.engines.profiles.graphs import residual

NODES = [
    RunNode("frames", "Input", (), (), "float"),
    RunNode("weights", "Const", (), (), "float"),
    RunNode("weights_reorder", "Reorder", (), ("weights",), "float"),
    RunNode(
        "Conv a/WithoutBiases", "Convolution", ("Conv a", "Relu b"), ("frames", "weights_reorder"), "float"
    ),
    RunNode("Conv c", "Convolution", ("Conv c", "d", "e"), ("Conv a/WithoutBiases",), "int8"),
    RunNode("out", "Eltwise", ("Multiply_12", "out"), ("Conv c",), None),
]


def test_the_time_of_a_call_is_what_it_adds_to_the_sum() -> None:
    read = [
        {"weights_reorder": 90.0, "Conv a/WithoutBiases": 4.0, "Conv c": 1.0, "out": 0.0},
        {"weights_reorder": 90.0, "Conv a/WithoutBiases": 3.0, "Conv c": 2.0, "out": 0.0},
        {"weights_reorder": 90.0, "Conv a/WithoutBiases": 2.0, "Conv c": 2.0, "out": 1.0},
    ]
    layers = layers_of(read, NODES, residual(), skip=1)
    assert [layer.name for layer in layers] == ["Conv a/WithoutBiases", "Conv c", "out"]
    assert [layer.samples_ms for layer in layers] == [(2.0, 0.0), (3.0, 2.0), (0.0, 3.0)]
    assert [layer.nodes for layer in layers] == [
        ("Conv a", "Relu b"),
        ("Conv c", "Add d", "Relu e"),
        ("Sigmoid f", "Mul g", "Identity out"),
    ]
    assert [layer.precision for layer in layers] == ["float", "int8", None]


def info(name: str, kind: str, status: str, us: int) -> SimpleNamespace:
    return SimpleNamespace(
        node_name=name, node_type=kind, status=f"Status.{status}", real_time=timedelta(microseconds=us)
    )


def test_only_nodes_that_were_run_are_read() -> None:
    infos = [
        info("a", "Convolution", "EXECUTED", 1500),
        info("b", "Reshape", "NOT_RUN", 0),
        info("c", "Const", "EXECUTED", 7),
    ]
    assert averages(infos) == {"a": pytest.approx(1.5)}
