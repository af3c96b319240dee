"""Operations that must stay FP32 in an FP16 graph: by rule, by overflow, and by the noise that they cause."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.quantize.calibration.magnitudes import Magnitudes, float_values, probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.groups import Group, groups_of, work_share
from edgevision.quantize.half.noise import NoiseMeter, noise_of_groups
from edgevision.quantize.half.overflow import first_overflow
from edgevision.quantize.half.search import HalfMaterial
from tests.quantize.pixel_networks import factor, frames, network, values
from tests.quantize.query_networks import query_network

BATCHES = [frames(seed=seed) for seed in range(3)]
INVERSE = ("inside", "left", "rest", "right", "odds", "inverse")
NORMALIZATION = ("mean", "centred", "squared", "variance", "guarded", "deviation", "tokens")


def silent(_: str) -> None:
    """Progress that is discarded."""


def converted(model: onnx.ModelProto, **rules: Any) -> HalfGraph:
    return half_graph(model, probe_magnitudes(model, BATCHES), HalfRules(decode_in_float=False, **rules))


def reasons(half: HalfGraph) -> dict[str, str]:
    return {kept.node: kept.reason for kept in half.kept}


def names(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if not node.name.startswith("pre/")]


def test_operations_of_one_kind_that_are_connected_are_a_group() -> None:
    model = query_network()
    groups = {(group.kind, group.nodes) for group in groups_of(model, names(model))}
    assert ("inverse sigmoid", INVERSE) in groups
    assert ("normalization", NORMALIZATION) in groups
    assert ("boxes", ("refined", "boxes")) in groups
    kinds = Counter(kind for kind, _ in groups)
    assert kinds["layer"] == 5
    nodes = [node for _, group in groups for node in group]
    assert len(nodes) == len(set(nodes))


def test_the_share_of_the_work_counts_products_and_elements() -> None:
    model = network(("Relu", {}))
    # 6x6 outputs of 4 channels: 27 products for each, 1 Relu, then 5 classes of 4 products, and their mean over 36.
    whole = 144 * 27 + 144 + 180 * 4 + 5
    assert work_share(model, ["relu0"]) == pytest.approx(144 / whole)
    assert work_share(model, ["first", "relu0", "last", "pooled"]) == pytest.approx(1)


def test_a_quotient_by_a_clipped_value_stays_float_although_no_frame_shows_it() -> None:
    kept = reasons(converted(query_network(epsilon=1e-5)))
    assert set(INVERSE) <= kept.keys()
    assert kept["odds"] == "its divisors are clipped at 1e-05, so a quotient can reach 1e+05"
    assert "odds" not in reasons(converted(query_network(epsilon=1e-3)))


def test_a_constant_that_fp16_rounds_away_keeps_its_chain() -> None:
    kept = reasons(converted(query_network(normal_epsilon=1e-12)))
    assert kept["guarded"] == kept["deviation"] == kept["tokens"] == "FP16 rounds its constant 1e-12 to 0"
    assert {"squared", "variance"} <= kept.keys()
    assert "guarded" not in reasons(converted(query_network()))


@pytest.mark.parametrize(("factor_to_pixels", "kept"), [(2.0, False), (1000.0, True)])
def test_whole_numbers_above_2048_stay_float(factor_to_pixels: float, kept: bool) -> None:
    model = network(
        ("Clip", {"low": np.array(0, np.float32), "high": np.array(4, np.float32)}),
        ("Mul", factor(factor_to_pixels)),
        ("Floor", {}),
    )
    found = reasons(converted(model))
    assert ("floor2" in found) == ("mul1" in found) == kept
    if kept:
        assert found["floor2"] == "it rounds values up to 4000; FP16 represents all integers only up to 2048"


def test_whole_constants_above_2048_that_fp16_rounds_stay_float() -> None:
    assert "holds integers up to 4097" in reasons(converted(network(("Add", factor(4097.0)))))["add0"]
    assert converted(network(("Add", factor(4096.0)))).kept == ()


def test_an_infinite_mask_does_not_stop_the_conversion() -> None:
    model = query_network(mask=math.inf)
    kept = reasons(converted(model))
    assert kept["all_boxes"] == "it answers all_boxes, which reaches inf"
    assert "raw" in kept
    assert "delta" not in kept
    assert np.isfinite(values(emulated_half(converted(model).model), "boxes", BATCHES[0])).all()


def test_a_normalization_of_large_features_overflows_and_is_kept() -> None:
    """A square of 300 exceeds FP16; features of detectors with transformers reach that."""
    model = query_network(scale=400.0)
    kept = reasons(converted(model, cautious=False))
    assert {"squared", "variance", "guarded", "deviation"} <= kept.keys()
    assert "all_boxes" not in kept


def test_an_overflow_that_only_fp16_has_is_found_with_its_cause() -> None:
    """1 - sigmoid(9.3) is 9e-5, and 0 in FP16; its reciprocal is infinite."""
    limits = {"low": np.array(-9.3, np.float32), "high": np.array(9.3, np.float32)}
    model = network(
        ("Clip", limits), ("Sigmoid", {}), ("Sub", factor(1.0)), ("Reciprocal", {}), ("Mul", factor(0.001))
    )
    plain = converted(model, cautious=False)
    assert plain.kept == ()
    overflow = first_overflow(plain.model, BATCHES, ())
    assert overflow is not None
    assert (overflow.node, overflow.rounded) == ("reciprocal3", False)
    material = HalfMaterial.prepared(model, BATCHES, decode_in_float=False, progress=silent)
    assert {"sigmoid1", "sub2", "reciprocal3"} <= material.required.keys()
    assert first_overflow(material.graph().model, BATCHES, ()) is None


def test_the_noise_names_the_group_that_causes_it() -> None:
    """Squares of about 1e-6, of which FP16 keeps four bits."""
    model = query_network(scale=1e-4, normal_epsilon=1e-9)
    material = HalfMaterial.prepared(model, BATCHES, decode_in_float=False, progress=silent)
    noise = material.noise(BATCHES, 1)
    whole = NoiseMeter(model, BATCHES, 1).noise(material.graph().model)
    worst = max(noise, key=lambda name: noise[name])
    group = next(group for group in material.groups if group.name == worst)
    assert (group.kind, group.nodes) == ("normalization", NORMALIZATION)
    assert noise[worst] > 0.9 * whole
    assert set(reasons(material.graph([worst]))) == set(NORMALIZATION)


def test_another_order_of_equal_scores_is_no_noise() -> None:
    """All scores equal: FP16 may select any tokens, and the noise is that of the arithmetic."""
    model = query_network()
    (weights,) = [tensor for tensor in model.graph.initializer if tensor.name == "score.weight"]
    tiny = 1e-6 * onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(tiny, weights.name))
    half = half_graph(
        model, Magnitudes(1, dict.fromkeys(float_values(model), 1.0)), HalfRules(decode_in_float=False)
    )
    assert NoiseMeter(model, BATCHES, 1).noise(half.model) < 0.2


def test_blocks_without_noise_are_not_divided() -> None:
    damage = {"a3": 1.0, "b7": 0.5}
    groups = [Group(kind, (f"{kind}{number}",), 1) for kind in "abcd" for number in range(16)]
    measured: list[int] = []

    def noise_of(block: Sequence[Group]) -> float:
        measured.append(len(block))
        return sum(damage.get(group.name, 0.0) for group in block)

    noise = noise_of_groups(groups, noise_of)
    assert sorted(noise, key=lambda name: -noise[name])[:2] == ["a3", "b7"]
    assert (noise["a3"], noise["b7"], noise["c0"]) == (1.0, 0.5, 0.0)
    assert len(measured) == 4 + 2 * 2 * 4
