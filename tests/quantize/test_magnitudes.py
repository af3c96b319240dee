from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgevision.errors import GraphError, UsageError
from edgevision.quantize.calibration.magnitudes import float_values, probe_magnitudes
from tests.quantize.pixel_networks import factor, frames, network


def test_each_value_has_its_largest_magnitude_over_all_frames() -> None:
    batches = [np.full_like(frames(), 3), np.full_like(frames(), 200), np.full_like(frames(), 7)]
    found = probe_magnitudes(network(("Mul", factor(-2.0))), iter(batches))
    assert found.frames == 3
    assert found.largest["pixels"] == found.largest["image"] == 200.0
    assert found.largest["mul0"] == 2 * found.largest["first"] > 0
    assert set(found.largest) == set(float_values(network(("Mul", factor(-2.0)))))


def test_a_negative_value_counts_by_its_magnitude() -> None:
    weights = np.full((4, 3, 3, 3), -1.0, np.float32)
    found = probe_magnitudes(network(weights=weights), [np.full_like(frames(), 10)])
    assert found.largest["first"] == pytest.approx(270.0)


@pytest.mark.parametrize("kind", ["Log", "Sqrt", "Reciprocal"])
def test_what_is_not_finite_is_named(kind: str) -> None:
    # Each answers finite values on white frames, and not on black ones.
    model = network((kind, {}), weights=np.full((4, 3, 3, 3), 1.0, np.float32))
    if kind == "Sqrt":
        bias = onnx.numpy_helper.from_array(np.full(4, -1.0, np.float32), "bias")
        model.graph.initializer.append(bias)
        model.graph.node[2].input.append("bias")
    white, black = np.full_like(frames(), 255), np.zeros_like(frames())
    with pytest.raises(GraphError, match=f"{kind} {kind.lower()}0 returns NaN or infinity on frame 2"):
        probe_magnitudes(model, [white, white, black])


def test_no_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one image"):
        probe_magnitudes(network(), [])


def test_a_graph_that_does_not_open_is_refused() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(network())
    model.graph.node[2].op_type = "NoSuchOperator"
    with pytest.raises(GraphError, match="cannot open the graph"):
        probe_magnitudes(model, [frames()])
