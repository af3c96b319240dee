"""Raw outputs of other families become correct boxes, in numpy and in the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgevision.contract.spec import NmsSpec
from edgevision.graph.heads import DetectionHead
from edgevision.graph.heads.cells.distances import DistanceHead, cell_counts
from edgevision.graph.heads.cells.ssd import SsdHead
from edgevision.graph.heads.cells.two_outputs import TwoOutputsHead
from edgevision.graph.heads.cells.yolov6 import YoloV6Head
from edgevision.graph.heads.finished.efficientnms import EfficientNmsHead
from edgevision.graph.heads.pairs import Pair
from edgevision.graph.heads.prototypes.end2end_seg import End2EndSegHead
from edgevision.graph.heads.prototypes.yolov8_seg import YoloV8SegHead
from edgevision.graph.heads.queries.detr import DetrHead
from edgevision.graph.heads.queries.detr_softmax import DetrSoftmaxHead
from edgevision.graph.heads.queries.rows import QueryRowsHead
from tests.graph.test_heads import assert_equal, feeds, head_graph, logistic

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

SIZE_WH = (64, 32)
ROWS = 42
ALL_PAIRS = NmsSpec(
    candidates=600, max_detections=30, iou_threshold=0.5, score_floor=0.01, depth=10, block=600
)


def raw_outputs(
    kind: str, classes: int, batch: int, rng: np.random.Generator
) -> tuple[DetectionHead, list[Array]]:
    """A head and random outputs of a network of 64x32 pixels."""

    def normal(*shape: int) -> Array:
        return rng.normal(0, 2, (batch, *shape)).astype(np.float32)

    def joined(*parts: Array) -> Array:
        return np.concatenate(parts, 2).astype(np.float32)

    low = rng.uniform(0, 0.8, (batch, ROWS, 2))
    fractions = joined(low, low + rng.uniform(0.02, 0.6, (batch, ROWS, 2)))
    xyxy = (fractions * np.array([*SIZE_WH] * 2)).astype(np.float32)
    scores = logistic(normal(ROWS, classes)).astype(np.float32)
    one, label = scores[..., 0], rng.integers(0, classes, (batch, ROWS))
    pair = Pair(0, 1, ROWS, classes)
    wider = replace(pair, columns=classes + 1)
    if kind == "detr":
        return DetrHead(SIZE_WH, pair, classes), [fractions, normal(ROWS, classes)]
    if kind == "detr-unused":
        return DetrHead(SIZE_WH, wider, classes), [fractions, normal(ROWS, classes + 1)]
    if kind == "detr-softmax":
        return DetrSoftmaxHead(SIZE_WH, wider, classes), [fractions, normal(ROWS, classes + 1)]
    if kind == "rows":
        return QueryRowsHead(SIZE_WH, ROWS, classes), [joined(fractions, scores)]
    if kind == "yolov6":
        return YoloV6Head(ROWS, classes), [joined(xyxy, np.ones((batch, ROWS, 1)), scores)]
    if kind == "two-outputs":
        return TwoOutputsHead(Pair(1, 0, ROWS, classes)), [scores, xyxy]
    if kind == "classes-first":
        first = np.ascontiguousarray(scores.transpose(0, 2, 1))
        return TwoOutputsHead(pair, classes_first=True), [xyxy, first]
    if kind.startswith("ssd"):
        odds = np.exp(normal(ROWS, classes + 1))
        found = [fractions, odds / odds.sum(axis=2, keepdims=True)]
        return SsdHead(SIZE_WH, wider, kind == "ssd-named"), found
    if kind in ("nanodet", "picodet"):
        return distances(kind, classes, normal)
    if kind == "efficient-nms":
        count = np.full((batch, 1), 20, np.int32)
        return EfficientNmsHead(classes, 0, 1, 2, 3, ROWS), [count, xyxy, one, label.astype(np.int32)]
    masks = [normal(ROWS, 4), normal(4, 8, 16)]
    if kind == "yolov8-seg":
        columns = joined(xyxy, scores, masks[0]).transpose(0, 2, 1)
        return YoloV8SegHead(ROWS, classes, 4), [np.ascontiguousarray(columns), masks[1]]
    rows = joined(xyxy, one[..., None], label[..., None], masks[0])
    return End2EndSegHead(ROWS, classes, 4), [rows, masks[1]]


def distances(kind: str, classes: int, normal: Callable[..., Array]) -> tuple[DetectionHead, list[Array]]:
    """`raw_outputs` of NanoDet and PicoDet."""
    if kind == "nanodet":
        scores = logistic(normal(ROWS, classes))
        head = DistanceHead(SIZE_WH, (8, 16, 32), classes, 8, 0.0)
        return head, [np.concatenate([scores, normal(ROWS, 32)], 2).astype(np.float32)]
    counts = cell_counts(SIZE_WH, (8, 16, 32))
    head = DistanceHead(SIZE_WH, (8, 16, 32), classes, 8, 0.5, (0, 2, 4), (5, 3, 1))
    level = [logistic(normal(n, classes)).astype(np.float32) for n in counts]
    sides = [normal(n, 32) for n in counts[::-1]]
    return head, [array for two in zip(level, sides, strict=True) for array in two]


KINDS = (
    *("detr", "detr-unused", "detr-softmax", "rows", "yolov6", "two-outputs", "classes-first", "ssd"),
    *("ssd-named", "nanodet", "picodet", "efficient-nms", "yolov8-seg", "end2end-seg"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("batch", [1, "batch"])
def test_the_graph_decodes_as_numpy_does(run_ort: Run, kind: str, classes: int, batch: int | str) -> None:
    head, arrays = raw_outputs(kind, classes, 1 if batch == 1 else 3, np.random.default_rng(0))
    graph = head_graph(head, arrays, ALL_PAIRS, batch)
    assert_equal(run_ort(graph, feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [18, 20])
def test_newer_opsets_decode_alike(run_ort: Run, kind: str, opset: int) -> None:
    head, arrays = raw_outputs(kind, 3, 2, np.random.default_rng(1))
    graph = head_graph(head, arrays, ALL_PAIRS, "batch", opset)
    assert_equal(run_ort(graph, feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("-seg")])
def test_openvino_decodes_alike(run_openvino: Run, kind: str) -> None:
    head, arrays = raw_outputs(kind, 3, 2, np.random.default_rng(1))
    graph = head_graph(head, arrays, ALL_PAIRS, "batch")
    assert_equal(run_openvino(graph, feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("efficient-nms", "end2end-seg")])
def test_few_candidates_are_the_best_pairs(run_ort: Run, kind: str) -> None:
    """Boxes are first chosen by their best class: none of the best pairs is lost by that."""
    head, arrays = raw_outputs(kind, 4, 2, np.random.default_rng(2))
    nms = NmsSpec(candidates=20, max_detections=20, iou_threshold=0.5, score_floor=0.0)
    assert_equal(run_ort(head_graph(head, arrays, nms, "batch"), feeds(arrays)), head, arrays, nms)


def test_detr_by_hand() -> None:
    """Boxes are fractions of the image, and each class has its own logistic score."""
    head = DetrHead((200, 100), Pair(0, 1, 1, 2), 2)
    boxes, scores = head.plain([np.array([[0.5, 0.5, 0.2, 0.4]]), np.array([[0.0, np.log(3)]])])
    assert np.allclose(boxes, [[80, 30, 120, 70]])
    assert np.allclose(scores, [[0.5, 0.75]])


def test_no_object_takes_its_part_of_the_softmax() -> None:
    head = DetrSoftmaxHead((100, 100), Pair(0, 1, 1, 3), 2)
    _, scores = head.plain([np.zeros((1, 4)), np.log([[1.0, 2.0, 5.0]])])
    assert np.allclose(scores, [[0, 0.25]])


@pytest.mark.parametrize(("named", "expected"), [(False, [0.3, 0.1]), (True, [0, 0.3, 0.1])])
def test_the_background_of_ssd_is_no_detection(named: bool, expected: list[float]) -> None:
    head = SsdHead((100, 50), Pair(0, 1, 1, 3), named)
    boxes, scores = head.plain([np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([[0.6, 0.3, 0.1]])])
    assert np.allclose(boxes, [[10, 10, 30, 20]])
    assert np.allclose(scores, [expected])


@pytest.mark.parametrize(("centre", "x"), [(0.0, 16.0), (0.5, 20.0)])
def test_distances_by_hand(centre: float, x: float) -> None:
    """Cell 2 of the first row of stride 8: all weight on bins 1, 0, 3, 2 of left, top, right, bottom."""
    head = DistanceHead((32, 8), (8,), 1, 8, centre)
    raw = np.full((4, 1, 32), 0.0)
    for side, chosen in enumerate((1, 0, 3, 2)):
        raw[2, 0, side * 8 + chosen] = 50
    boxes, _ = head.plain([np.concatenate([np.full((4, 1), 0.5), raw[:, 0]], axis=1)])
    y = 8 * centre
    assert np.allclose(boxes[2], [x - 8, y, x + 24, y + 16])
