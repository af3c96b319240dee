"""The noise measurement on a network whose worst layer is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.spec import FrameInput
from edgevision.quantize.calibration.calibrate import CalibrationFrames
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.placement import Edge, QdqPlacement
from edgevision.quantize.search.sensitivity import (
    last_layers,
    measured_noise,
    network_outputs,
    nodes_by_weights,
    order_of_return,
    relative_noise,
)
from tests.quantize.pixel_networks import SIDE, network

PLACEMENT = QdqPlacement(
    activations=(Edge("first", 0, "image"), Edge("last", 0, "first")),
    weights=(Edge("first", 1, "first.weight"), Edge("last", 1, "last.weight")),
)


def test_the_layer_that_reads_a_saturated_tensor_is_the_worst(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
    frames = CalibrationFrames(tmp_path, FrameInput((SIDE, SIDE)))
    cut = Ranges("max", 4, {"image": 255.0, "first": 0.5})
    noise = measured_noise(network(), PLACEMENT, cut, frames)
    assert noise["last"] > 10 * abs(noise["first"])
    assert order_of_return(noise, {"first": 100, "last": 100})[0] == "last"


def test_calls_of_one_layer_return_together() -> None:
    weights = [
        ("step1/a", "a.weight"),
        ("step1/b", "b.weight"),
        ("step2/a", "a.weight"),
        ("step2/b", "b.weight"),
    ]
    edges = tuple(Edge(node, 1, tensor) for node, tensor in weights)
    assert nodes_by_weights(QdqPlacement((), edges)) == [("step1/a", "step2/a"), ("step1/b", "step2/b")]
    assert nodes_by_weights(PLACEMENT) == [("first",), ("last",)]


def test_the_network_ends_where_the_graft_begins() -> None:
    assert network_outputs(network()) == ("logits",)


def test_the_last_layer_is_the_one_that_no_other_follows() -> None:
    assert last_layers(network(), PLACEMENT) == {"last"}
    noise = {"first": 9.0, "last": 0.1}
    assert order_of_return(noise, {"first": 1, "last": 1}, {"last"}) == ("last", "first")


def test_noise_is_relative_to_the_signal() -> None:
    reference = [[np.array([[1.0, -1.0]], np.float32)], [np.array([[3.0, -3.0]], np.float32)]]
    other = [[array + 1 for array in arrays] for arrays in reference]
    assert relative_noise(reference, other) == pytest.approx(4 / 20)
    far = [[np.array([[-50.0, 5.0]], np.float32)]]
    moved = [[np.array([[-40.0, 5.0]], np.float32)]]
    assert relative_noise(far, moved, squashed=True) == pytest.approx(0, abs=1e-12)


def test_cheap_layers_of_much_noise_return_first() -> None:
    noise = {"dear": 4.0, "cheap": 2.0, "good": -1.0}
    assert order_of_return(noise, {"dear": 100, "cheap": 10, "good": 1}) == ("cheap", "dear", "good")
