"""NMS in the graph equals greedy NMS, in every installed engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision.contract.nms import greedy_nms, steps_needed
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.nms import CANDIDATES, Candidates, cluster_nms
from tests.rtx import Profile, build_rtx_engine

Array = np.ndarray[Any, Any]
Case = tuple[Array, Array, Array]
"""Boxes ``[K,4]``, scores ``[K]`` descending, labels ``[K]``; score 0 where there is no candidate."""
Run = Callable[..., list[Array]]

INPUTS = ("boxes_in", "scores_in", "labels_in")


def nms_graph(
    count: int, nms: NmsSpec, batch: int | str = "batch", opset: int = 17, *, oriented: bool = False
) -> onnx.ModelProto:
    graph = onnx.GraphProto(name="nms")
    b = GraphBuilder(graph, "post/")
    found = cluster_nms(b, Candidates(*INPUTS, count, oriented=oriented), nms)
    rows = nms.max_detections
    for value, name in zip(
        (found.boxes, found.scores, found.labels), ("boxes", "scores", "labels"), strict=True
    ):
        b.alias(value, name)
    b.flush()
    types = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT32)
    for values, names, length in (
        (graph.input, INPUTS, count),
        (graph.output, ("boxes", "scores", "labels"), rows),
    ):
        for name, kind, rest in zip(names, types, ([5 if oriented else 4], [], []), strict=True):
            values.append(helper.make_tensor_value_info(name, kind, [batch, length, *rest]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def feeds(cases: list[Case]) -> dict[str, Array]:
    return {name: np.stack([case[i] for case in cases]) for i, name in enumerate(INPUTS)}


def kept(outputs: list[Array], row: int) -> list[tuple[float, ...]]:
    """Box, score and label of every answer of a row that is one, in the order of the answers."""
    boxes, scores, labels = (array[row] for array in outputs)
    count = int((scores > 0).sum())
    assert (scores[count:] == 0).all()
    assert not boxes[count:].any()
    assert not labels[count:].any()
    return [(*map(float, boxes[i]), float(scores[i]), float(labels[i])) for i in range(count)]


def expected(case: Case, iou_threshold: float, rows: int) -> list[tuple[float, ...]]:
    boxes, scores, labels = case
    live = int((scores > 0).sum())
    index = greedy_nms(boxes[:live], scores[:live], labels[:live], iou_threshold)[:rows]
    return [(*map(float, boxes[i]), float(scores[i]), float(labels[i])) for i in index]


def near_threshold(case: Case, iou_threshold: float) -> bool:
    """True if some pair's IoU is so close to the threshold that float32 may decide it either way."""
    boxes = case[0][case[1] > 0].astype(np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    intersection = np.maximum(high - low, 0).prod(axis=2)
    area = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    union = np.maximum(area[:, None] + area - intersection, 1e-12)
    return bool((np.abs(intersection / union - iou_threshold) < 2e-6).any())


def padded(boxes: Array, scores: Array, labels: Array, count: int) -> Case:
    order = np.argsort(-scores, kind="stable")
    missing = count - len(scores)
    return (
        np.concatenate([boxes[order], np.zeros((missing, boxes.shape[1]))]).astype(np.float32),
        np.concatenate([scores[order], np.zeros(missing)]).astype(np.float32),
        np.concatenate([labels[order], np.zeros(missing)]).astype(np.int32),
    )


def crowd(rng: np.random.Generator, count: int) -> Case:
    """Up to `count` boxes around a few objects of one to six classes, some equal, some without area."""
    live = int(rng.integers(1, count + 1))
    objects = int(rng.integers(1, 30))
    which = rng.integers(0, objects, live)
    size = rng.uniform(4, 300, (objects, 2))[which] * np.exp(rng.normal(0, 0.2, (live, 2)))
    centre = rng.uniform(-50, 1900, (objects, 2))[which] + rng.normal(0, 0.2, (live, 2)) * size
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    boxes[rng.random(live) < 0.02, 2] = 0.0
    equal = rng.random(live) < 0.05
    boxes[equal] = boxes[0]
    labels = rng.integers(0, int(rng.integers(1, 7)), live)
    scores = rng.permutation(np.linspace(0.01, 0.99, live))
    return padded(boxes, scores, labels, count)


def rows_of_chains(rng: np.random.Generator, count: int, longest: int) -> Case:
    """Rows of boxes in which each overlaps just its neighbours, with scores that fall along the row."""
    boxes: list[tuple[float, ...]] = []
    scores: list[float] = []
    top = 0.0
    while len(boxes) < count - longest - 1:
        links = int(rng.integers(1, longest + 1))
        for place in range(links + 1):
            left = 25.0 * place + rng.uniform(0, 0.5)
            boxes.append((left, top, left + 100, top + 50))
            scores.append(0.9 - 0.05 * place + rng.uniform(0, 0.01))
        top += 60.0
    # No two scores are equal: engines differ in the order in which they answer those.
    distinct = np.linspace(0.1, 0.9, len(scores))[np.argsort(np.argsort(scores, kind="stable"))]
    return padded(np.array(boxes), distinct, np.zeros(len(boxes)), count)


def random_cases(number: int, count: int, iou_threshold: float, seed: int = 0) -> list[Case]:
    """Cases that no rounding can decide otherwise; every tenth is made of chains of up to 16 links."""
    rng = np.random.default_rng(seed)
    cases: list[Case] = []
    while len(cases) < number:
        case = rows_of_chains(rng, count, 16) if len(cases) % 10 == 9 else crowd(rng, count)
        if not near_threshold(case, iou_threshold):
            cases.append(case)
    return cases


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return random_cases(2000, 300, 0.5)


@pytest.fixture(scope="module")
def answers(cases: list[Case]) -> list[list[tuple[float, ...]]]:
    return [expected(case, 0.5, 300) for case in cases]


def test_the_cases_hold_the_deepest_chain_that_is_promised(cases: list[Case]) -> None:
    needed = [steps_needed(*case, 0.5, block=300) for case in cases[9::10]]
    assert max(needed) == NmsSpec().depth


@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_2000_random_cases_equal_greedy_suppression(
    engine: str,
    cases: list[Case],
    answers: list[list[tuple[float, ...]]],
    request: pytest.FixtureRequest,
) -> None:
    run: Run = request.getfixturevalue(engine)
    outputs = run(nms_graph(300, NmsSpec(candidates=300, iou_threshold=0.5)), feeds(cases))
    for row, answer in enumerate(answers):
        assert kept(outputs, row) == answer, f"case {row}"


@pytest.mark.parametrize("block", [300, 150, 64, 37])
@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_blocks_are_exact_up_to_their_depth_and_never_lose_a_box_beyond(
    engine: str, block: int, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(engine)
    rng = np.random.default_rng(block)
    cases = [rows_of_chains(rng, 300, longest) for longest in (3, 8, 20, 40) for _ in range(20)]
    nms = NmsSpec(candidates=300, iou_threshold=0.5, depth=4, block=block)
    outputs = run(nms_graph(300, nms), feeds(cases))
    exact = 0
    for row, case in enumerate(cases):
        answer, wanted = kept(outputs, row), expected(case, 0.5, 300)
        assert set(wanted) <= set(answer), f"case {row} lost a box"
        if steps_needed(*case, 0.5, block=block) <= nms.depth:
            assert answer == wanted, f"case {row}"
            exact += 1
    assert 0 < exact < len(cases)


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_a_chain_longer_than_the_depth_leaves_a_duplicate_and_loses_nothing(run_ort: Run, depth: int) -> None:
    left = 25.0 * np.arange(40)
    boxes = np.stack([left, 0 * left, left + 100, 0 * left + 50], 1)
    graph = nms_graph(40, NmsSpec(candidates=40, max_detections=40, iou_threshold=0.5, depth=depth))

    def answer(links: int) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
        scores = np.linspace(0.9, 0.1, links + 1)
        case = padded(boxes[: links + 1], scores, np.zeros(links + 1), 40)
        return kept(run_ort(graph, feeds([case])), 0), expected(case, 0.5, 40)

    found, wanted = answer(depth)
    assert found == wanted
    found, wanted = answer(depth + 1)
    assert set(wanted) < set(found)


def test_rows_of_a_batch_do_not_depend_on_each_other(run_ort: Run, cases: list[Case]) -> None:
    graph = nms_graph(300, NmsSpec(candidates=300, block=100))
    alone = run_ort(graph, feeds(cases[:1]))
    together = run_ort(graph, feeds([cases[0], cases[1], cases[0], cases[2]]))
    for single, batch in zip(alone, together, strict=True):
        assert np.array_equal(single[0], batch[0])
        assert np.array_equal(single[0], batch[2])


@pytest.mark.parametrize("batch", [1, 3])
def test_static_and_dynamic_batches_have_equal_results(run_ort: Run, cases: list[Case], batch: int) -> None:
    nms = NmsSpec(candidates=300)
    static = run_ort(nms_graph(300, nms, batch), feeds(cases[:batch]))
    dynamic = run_ort(nms_graph(300, nms), feeds(cases[:batch]))
    assert all(np.array_equal(a, b) for a, b in zip(static, dynamic, strict=True))


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
def test_every_opset_of_the_contract_has_equal_results(run_ort: Run, cases: list[Case], opset: int) -> None:
    nms = NmsSpec(candidates=300, max_detections=300, block=100)
    outputs = run_ort(nms_graph(300, nms, opset=opset), feeds(cases[:5]))
    reference = run_ort(nms_graph(300, nms), feeds(cases[:5]))
    assert all(np.array_equal(a, b) for a, b in zip(outputs, reference, strict=True))


@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_threshold_and_floor_can_be_replaced_when_a_graph_is_loaded(
    engine: str, cases: list[Case], request: pytest.FixtureRequest
) -> None:
    """Optimizers fold what depends on constants only; nothing of these two may be folded."""
    run: Run = request.getfixturevalue(engine)
    made = NmsSpec(candidates=300, iou_threshold=0.45, score_floor=0.001)
    wanted = NmsSpec(candidates=300, iou_threshold=0.7, score_floor=0.25)
    overrides = {IOU_THRESHOLD: 0.7, SCORE_FLOOR: 0.25}
    plain = run(nms_graph(300, made), feeds(cases[:20]))
    replaced = run(nms_graph(300, made), feeds(cases[:20]), overrides)
    reference = run(nms_graph(300, wanted), feeds(cases[:20]))
    assert all(np.array_equal(a, b) for a, b in zip(replaced, reference, strict=True))
    assert not np.array_equal(replaced[1], plain[1])


def test_scores_under_the_floor_become_zero_and_the_floor_itself_stays(run_ort: Run) -> None:
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], np.float32)
    scores = np.array([0.5, 0.25, 0.2499], np.float32)
    case = (boxes, scores, np.array([3, 4, 5], np.int32))
    nms = NmsSpec(candidates=3, max_detections=3, score_floor=0.25)
    answer = kept(run_ort(nms_graph(3, nms), feeds([case])), 0)
    assert [row[4:] for row in answer] == [(0.5, 3.0), (0.25, 4.0)]


def test_missing_candidates_are_padded_with_zeros(run_ort: Run) -> None:
    case = (np.array([[0, 0, 9, 9]] * 2, np.float32), np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32))
    nms = NmsSpec(candidates=10, max_detections=8)
    outputs = run_ort(nms_graph(2, nms), feeds([case, case]))
    assert [array.shape for array in outputs] == [(2, 8, 4), (2, 8), (2, 8)]
    assert kept(outputs, 1) == [(0.0, 0.0, 9.0, 9.0, float(np.float32(0.9)), 0.0)]


def test_only_the_best_detections_are_kept(run_ort: Run, cases: list[Case]) -> None:
    nms = NmsSpec(candidates=300, max_detections=7, iou_threshold=0.5)
    outputs = run_ort(nms_graph(300, nms), feeds(cases[:50]))
    assert max(len(kept(outputs, row)) for row in range(50)) == 7
    assert all(kept(outputs, row) == expected(cases[row], 0.5, 7) for row in range(50))


def test_a_score_that_is_not_a_number_is_not_hidden(run_ort: Run, cases: list[Case]) -> None:
    boxes, scores, labels = cases[0]
    scores = scores.copy()
    scores[0] = np.nan
    outputs = run_ort(nms_graph(300, NmsSpec(candidates=300)), feeds([(boxes, scores, labels)]))
    assert np.isnan(outputs[1]).any()


def test_shapes_are_static_and_nothing_depends_on_data() -> None:
    model = onnx.shape_inference.infer_shapes(nms_graph(1000, NmsSpec(), batch=1), strict_mode=True)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"NonMaxSuppression", "Loop", "If", "Scan", "NonZero", "Unique", "Compress"}
    made = {name for node in model.graph.node for name in node.output}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    assert made - {"boxes", "scores", "labels"} == set(shapes)
    assert all(dim.HasField("dim_value") for dims in shapes.values() for dim in dims)


def test_candidates_have_names_that_verification_can_ask_for() -> None:
    made = {name for node in nms_graph(10, NmsSpec(max_detections=5)).graph.node for name in node.output}
    assert set(CANDIDATES) <= made


@pytest.mark.parametrize(
    ("count", "batch"),
    [
        (300, 1),
        pytest.param(1000, 1, marks=pytest.mark.slow),
        pytest.param(1000, "batch", marks=pytest.mark.slow),
        pytest.param(3000, 1, marks=pytest.mark.slow),
    ],
)
def test_tensorrt_rtx_builds_it(count: int, batch: int | str) -> None:
    graph = nms_graph(count, NmsSpec(candidates=count), batch)
    shapes: dict[str, tuple[int, ...]] = {
        "boxes_in": (count, 4),
        "scores_in": (count,),
        "labels_in": (count,),
    }
    profiles: dict[str, Profile] = {
        name: ((1, *rest), (2, *rest), (4, *rest)) for name, rest in shapes.items()
    }
    engine, _ = build_rtx_engine(graph.SerializeToString(), profiles if batch == "batch" else None)
    assert len(engine) > 1000
