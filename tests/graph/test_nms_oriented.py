"""NMS of oriented boxes in the graph equals greedy NMS by ProbIoU, in every installed engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.contract.nms import steps_needed
from edgevision.contract.overrides import IOU_THRESHOLD
from edgevision.contract.rotated import bhattacharyya, prob_iou_matrix
from edgevision.contract.spec import NmsSpec
from tests.graph.test_nms import Case, expected, feeds, kept, nms_graph, padded
from tests.rtx import build_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]
THRESHOLD = 0.45


def crowd(rng: np.random.Generator, count: int) -> Case:
    """Up to `count` boxes around a few objects of one to four classes: long, square, turned by half, without area."""
    live = int(rng.integers(1, count + 1))
    objects = int(rng.integers(1, 30))
    which = rng.integers(0, objects, live)
    sides = np.exp(rng.uniform(1, 6, (objects, 2)))[which] * np.exp(rng.normal(0, 0.2, (live, 2)))
    angle = rng.uniform(-np.pi / 4, 3 * np.pi / 4, objects)[which] + rng.normal(0, 0.2, live)
    centre = rng.uniform(-50, 1900, (objects, 2))[which]
    centre += rng.normal(0, 0.2, (live, 2)) * sides.min(axis=1, keepdims=True)
    boxes = np.concatenate([centre, sides, angle[:, None]], 1)
    boxes[rng.random(live) < 0.02, 2] = 0.0
    boxes[rng.random(live) < 0.05] = boxes[0]
    boxes[rng.random(live) < 0.05, 4] += np.pi
    labels = rng.integers(0, int(rng.integers(1, 5)), live)
    return padded(boxes, rng.permutation(np.linspace(0.01, 0.99, live)), labels, count)


def row_of_chains(rng: np.random.Generator, count: int, longest: int) -> Case:
    """Rows of parallel boxes in which each overlaps just its neighbours, with scores that fall along the row."""
    boxes: list[tuple[float, ...]] = []
    scores: list[float] = []
    top = 0.0
    angle = float(rng.uniform(-1, 2))
    while len(boxes) < count - longest - 1:
        for place in range(int(rng.integers(1, longest + 1)) + 1):
            left = 25.0 * place + rng.uniform(0, 0.5)
            x, y = left * np.cos(angle) - top * np.sin(angle), left * np.sin(angle) + top * np.cos(angle)
            boxes.append((x, y, 60, 30, angle))
            scores.append(0.9 - 0.03 * place + rng.uniform(0, 0.01))
        top += 90.0
    distinct = np.linspace(0.1, 0.9, len(scores))[np.argsort(np.argsort(scores, kind="stable"))]
    return padded(np.array(boxes), distinct, np.zeros(len(boxes)), count)


def near_threshold(case: Case) -> bool:
    """True if some pair of one class is so close to the threshold that float32 may decide it either way."""
    boxes, labels = case[0][case[1] > 0], case[2][case[1] > 0]
    limit = -np.log(THRESHOLD * (2 - THRESHOLD))
    close = np.abs(bhattacharyya(boxes, boxes) - limit) < 1e-5
    return bool((close & (labels[:, None] == labels)).any())


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Cases that no rounding can decide otherwise; every tenth is made of chains of up to 12 links."""
    rng = np.random.default_rng(0)
    found: list[Case] = []
    while len(found) < 2000:
        case = row_of_chains(rng, 150, 12) if len(found) % 10 == 9 else crowd(rng, 150)
        if not near_threshold(case):
            found.append(case)
    return found


@pytest.fixture(scope="module")
def answers(cases: list[Case]) -> list[list[tuple[float, ...]]]:
    return [expected(case, THRESHOLD, 150) for case in cases]


def test_the_cases_suppress_along_chains(cases: list[Case], answers: list[list[tuple[float, ...]]]) -> None:
    assert max(steps_needed(*case, THRESHOLD, block=150) for case in cases[9::10]) >= 8
    alive = sum(int((case[1] > 0).sum()) for case in cases)
    assert 0.1 < sum(map(len, answers)) / alive < 0.7


@pytest.mark.parametrize("block", [150, 64])
@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_2000_random_cases_equal_greedy_suppression(
    engine: str,
    block: int,
    cases: list[Case],
    answers: list[list[tuple[float, ...]]],
    request: pytest.FixtureRequest,
) -> None:
    run: Run = request.getfixturevalue(engine)
    nms = NmsSpec(candidates=150, max_detections=150, iou_threshold=THRESHOLD, block=block)
    outputs = run(nms_graph(150, nms, oriented=True), feeds(cases))
    for row, answer in enumerate(answers):
        assert kept(outputs, row) == answer, f"case {row}"


@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_the_threshold_can_be_replaced_when_a_graph_is_loaded(
    engine: str, cases: list[Case], request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(engine)
    made = NmsSpec(candidates=150, max_detections=150, iou_threshold=THRESHOLD)
    wanted = NmsSpec(candidates=150, max_detections=150, iou_threshold=0.7)
    plain = run(nms_graph(150, made, oriented=True), feeds(cases[:20]))
    replaced = run(nms_graph(150, made, oriented=True), feeds(cases[:20]), {IOU_THRESHOLD: 0.7})
    reference = run(nms_graph(150, wanted, oriented=True), feeds(cases[:20]))
    assert all(np.array_equal(a, b) for a, b in zip(replaced, reference, strict=True))
    assert not np.array_equal(replaced[1], plain[1])


@pytest.mark.parametrize("threshold", [0.05, 0.45, 0.9, 0.99])
def test_pairs_at_any_distance_are_decided_alike(run_ort: Run, threshold: float) -> None:
    """Long thin boxes far from the origin: the digits of float32 suffice."""
    rng = np.random.default_rng(1)
    graph = nms_graph(2, NmsSpec(candidates=2, max_detections=2, iou_threshold=threshold), oriented=True)
    cases, over = [], []
    for _ in range(1000):
        one = np.array([*rng.uniform(3000, 4000, 2), *np.exp(rng.uniform(0, 7, 2)), rng.uniform(-1, 3)])
        # From nearly equal to apart, so that every threshold is passed in both directions.
        step = np.exp(rng.uniform(-4, 2.5))
        shift = rng.normal(0, 0.3, 2) * step * one[2:4].min()
        turn = rng.normal(0, 0.3) * step * one[2:4].min() / one[2:4].max()
        other = one + np.array([*shift, *(one[2:4] * rng.normal(0, 0.2, 2) * min(step, 1)), turn])
        boxes = np.stack([one, other]).astype(np.float32)
        value = prob_iou_matrix(boxes, boxes)[0, 1]
        if abs(value - threshold) > 1e-3 * (1 - threshold):
            cases.append((boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32)))
            over.append(bool(value > threshold))
    outputs = run_ort(graph, feeds(cases))
    assert (outputs[1][:, 1] == 0).tolist() == over
    assert 50 < sum(over) < 950


def test_shapes_are_static_and_nothing_depends_on_data() -> None:
    graph = nms_graph(1000, NmsSpec(), batch=1, oriented=True)
    model = onnx.shape_inference.infer_shapes(graph, strict_mode=True)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"NonMaxSuppression", "Loop", "If", "Scan", "NonZero", "Unique", "Compress"}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    assert all(dim.HasField("dim_value") for dims in shapes.values() for dim in dims)


@pytest.mark.parametrize("count", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_tensorrt_rtx_builds_it(count: int) -> None:
    graph = nms_graph(count, NmsSpec(candidates=count), 1, oriented=True)
    engine, _ = build_rtx_engine(graph.SerializeToString(), None)
    assert len(engine) > 1000
