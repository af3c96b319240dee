"""Raw outputs become correct boxes, in numpy and in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import (
    AnchorFreeHead,
    AnchorFreeObbHead,
    AnchorFreePoseHead,
    DetectionHead,
    NetworkOutput,
    PoseHead,
    YoloV5RawHead,
    end2end,
    yolov5,
    yolov8,
    yolox,
)
from edgevision.graph.heads.cells import fastestdet
from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.keypoints import final_keypoints
from edgevision.graph.nms import cluster_nms, without_suppression
from edgevision.graph.reference import detections_from_raw
from tests.rtx import Profile, build_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

ANCHORS = (((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)), ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)))
TRIPLE = ("boxes_raw", "scores_raw", "labels_raw")


def raw_head(classes: int) -> DetectionHead:
    return YoloV5RawHead(ANCHORS, (8, 16), classes)


def anchor_free_head(kind: str, classes: int) -> AnchorFreeHead:
    common = (8, 16), classes, 1 if "one-bin" in kind else 16, "one-to-one" in kind
    if "pose" in kind:
        centred = kind.endswith("centred")
        return AnchorFreePoseHead(*common, keypoint_shape=(4, 2) if centred else (5, 3), centred=centred)
    return AnchorFreeObbHead(*common, logit="logit" in kind) if "obb" in kind else AnchorFreeHead(*common)


def logistic(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


def raw_outputs(
    kind: str, classes: int, batch: int, rng: np.random.Generator
) -> tuple[DetectionHead, list[Array]]:
    """A head and random outputs of a network of 64x32 pixels with 4x8 + 2x4 + 1x2 cells."""

    def normal(*shape: int) -> Array:
        return rng.normal(0, 2, (batch, *shape)).astype(np.float32)

    def places(count: int) -> Array:
        xy = rng.uniform(0, 64, (batch, count, 2))
        return np.concatenate([xy, rng.uniform(2, 40, (batch, count, 2))], 2).astype(np.float32)

    size_wh = (64, 32)
    if kind == "yolov5-raw":
        return raw_head(classes), [normal(3 * (5 + classes), 4, 8), normal(3 * (5 + classes), 2, 4)]
    if kind.startswith("anchor-free"):
        free = anchor_free_head(kind, classes)
        return free, [normal(count, *hw) for count in free.values for hw in ((4, 8), (2, 4))]
    if kind == "yolov5":
        rows = np.concatenate([places(42), logistic(normal(42, 1 + classes))], 2)
        return yolov5.YoloV5Head(42, classes), [rows.astype(np.float32)]
    if kind == "yolov8":
        rows = np.concatenate([places(42), logistic(normal(42, classes))], 2).transpose(0, 2, 1)
        return yolov8.YoloV8Head(42, classes), [np.ascontiguousarray(rows, np.float32)]
    if kind in ("yolox", "yolox-decoded"):
        first = places(42) if kind == "yolox-decoded" else normal(42, 4) * np.float32(0.5)
        rows = np.concatenate([first, logistic(normal(42, 1 + classes))], 2)
        return yolox.YoloXHead(size_wh, classes, kind == "yolox-decoded"), [rows.astype(np.float32)]
    if kind == "fastestdet":
        value = normal(5 + classes, 4, 8)
        value[:, 0], value[:, 5:] = logistic(value[:, 0]), logistic(value[:, 5:])
        return fastestdet.FastestDetHead(size_wh, (8, 4), classes), [value]
    boxes, scores = places(42), logistic(normal(42))
    labels = rng.integers(0, classes, (batch, 42))
    if kind == "end2end":
        value = np.concatenate([boxes, scores[..., None], labels[..., None]], 2)
        return end2end.End2EndHead(classes, (0,)), [value.astype(np.float32)]
    return end2end.End2EndHead(classes, (0, 1, 2)), [boxes, scores.astype(np.float32), labels]


ALL_PAIRS = NmsSpec(
    candidates=600, max_detections=30, iou_threshold=0.5, score_floor=0.01, depth=10, block=600
)
"""Enough candidates for every pair: choosing boxes first and then pairs cannot leave one out."""

KINDS = (
    *("yolov5-raw", "yolov5", "yolov8", "yolox", "yolox-decoded", "fastestdet", "end2end", "end2end-apart"),
    *("anchor-free", "anchor-free-one-bin", "anchor-free-one-to-one"),
    *("anchor-free-pose", "anchor-free-pose-one-bin-one-to-one-centred"),
    *("anchor-free-obb-logit", "anchor-free-obb-one-bin-one-to-one"),
)


def head_graph(
    head: DetectionHead, arrays: Sequence[Array], nms: NmsSpec, batch: int | str, opset: int = 17
) -> onnx.ModelProto:
    """Raw outputs in, the contract's outputs out."""
    graph = onnx.GraphProto(name="head")
    names = TRIPLE[: len(arrays)] if len(arrays) == 3 else [f"raw{i}" for i in range(len(arrays))]
    b = GraphBuilder(graph, "post/", opset)
    outputs = []
    for name, array in zip(names, arrays, strict=True):
        outputs.append(NetworkOutput(name, array.dtype.name, (None, *array.shape[1:])))
        elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, elem_type, [batch, *array.shape[1:]]))
    finish = without_suppression if head.suppressed else cluster_nms
    found = finish(b, head.candidates(b, outputs, nms), nms)
    rows = nms.max_detections
    values = [
        (found.boxes, "boxes", 1, [5 if found.oriented else 4]),
        (found.scores, "scores", 1, []),
        (found.labels, "labels", 6, []),
    ]
    if isinstance(head, PoseHead):
        points = final_keypoints(b, found, head.keypoint_shape, None)
        values.append((points, "keypoints", 1, [head.keypoint_shape[0], 3]))
    for value, name, kind, rest in values:
        b.alias(value, name)
        graph.output.append(helper.make_tensor_value_info(name, kind, [batch, rows, *rest]))
    b.flush()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def feeds(arrays: Sequence[Array]) -> dict[str, Array]:
    names = TRIPLE if len(arrays) == 3 else [f"raw{i}" for i in range(len(arrays))]
    return dict(zip(names, arrays, strict=False))


def assert_equal(actual: list[Array], head: DetectionHead, arrays: list[Array], nms: NmsSpec) -> None:
    for row in range(len(arrays[0])):
        raw = [array[row] for array in arrays]
        boxes, scores, labels, *points = detections_from_raw(raw, head, nms, None)
        assert (scores > 0).sum() >= 3
        assert np.abs(actual[1][row] - scores).max() < 1e-5
        assert np.array_equal(actual[2][row], labels)
        assert len(actual) == 3 + len(points)
        for found, expected in zip([actual[0], *actual[3:]], [boxes, *points], strict=True):
            assert np.abs(found[row] - expected).max() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_the_graph_decodes_as_numpy_does(run_ort: Run, kind: str, classes: int, batch: int | str) -> None:
    rows = 2 if batch == "batch" else int(batch)
    head, arrays = raw_outputs(kind, classes, rows, np.random.default_rng(0))
    assert_equal(run_ort(head_graph(head, arrays, ALL_PAIRS, batch), feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [18, 20])
def test_newer_opsets_decode_alike(run_ort: Run, kind: str, opset: int) -> None:
    head, arrays = raw_outputs(kind, 3, 2, np.random.default_rng(1))
    graph = head_graph(head, arrays, ALL_PAIRS, "batch", opset)
    assert_equal(run_ort(graph, feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize("kind", KINDS)
def test_openvino_decodes_alike(run_openvino: Run, kind: str) -> None:
    head, arrays = raw_outputs(kind, 3, 2, np.random.default_rng(1))
    graph = head_graph(head, arrays, ALL_PAIRS, "batch")
    assert_equal(run_openvino(graph, feeds(arrays)), head, arrays, ALL_PAIRS)


@pytest.mark.parametrize(
    "kind", ["yolov8", "end2end", "end2end-apart", *(kind for kind in KINDS if kind.startswith("anchor"))]
)
def test_few_candidates_are_the_best_pairs(run_ort: Run, kind: str) -> None:
    """YOLOv8's boxes are first chosen by their best class: none of the best pairs is lost by that."""
    head, arrays = raw_outputs(kind, 4, 2, np.random.default_rng(2))
    nms = NmsSpec(candidates=20, max_detections=20, iou_threshold=0.5, score_floor=0.0)
    assert_equal(run_ort(head_graph(head, arrays, nms, "batch"), feeds(arrays)), head, arrays, nms)


@pytest.mark.parametrize("kind", ["yolov5-raw", "yolov5", "yolox"])
def test_few_candidates_are_pairs_of_the_boxes_of_highest_objectness(run_ort: Run, kind: str) -> None:
    head, arrays = raw_outputs(kind, 2, 1, np.random.default_rng(3))
    nms = NmsSpec(candidates=10, max_detections=10, iou_threshold=0.99, score_floor=0.0)
    found = run_ort(head_graph(head, arrays, nms, 1), feeds(arrays))
    boxes, scores = head.plain([array[0] for array in arrays])
    if kind == "yolov5-raw":
        objectness = np.concatenate([a[0].reshape(3, 7, -1)[:, 4].ravel() for a in arrays])
    else:
        objectness = arrays[0][0, :, 4]
    best = np.argsort(-objectness)[:10]
    pairs = np.sort(scores[best].ravel())[::-1][:10]
    assert np.abs(found[1][0] - pairs).max() < 1e-6
    nearest = np.abs(found[0][0][:, None] - boxes[best][None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-3


def test_yolov5_raw_by_hand() -> None:
    """One cell of the second map: the formulas of YOLOv5 v6, (2s - 0.5 + cell) * stride and (2s)^2 * anchor."""
    head = raw_head(2)
    maps = [np.full((21, 4, 8), -20.0), np.full((21, 2, 4), -20.0)]
    values = np.array([0.75, 0.25, 0.5, 0.25, 0.8, 0.5, 0.25])
    maps[1][7:14, 1, 3] = np.log(values / (1 - values))  # anchor 1 of stride 16: 62 x 45, row 1, column 3
    boxes, scores = head.plain(maps)
    best = int(scores[:, 0].argmax())
    assert np.allclose(scores[best], [0.4, 0.2])
    # x: (1.5 - 0.5 + 3) * 16 = 64, y: (0.5 - 0.5 + 1) * 16 = 16, w: 1 * 62, h: 0.25 * 45
    assert np.allclose(boxes[best], [64 - 31, 16 - 5.625, 64 + 31, 16 + 5.625])


@pytest.mark.parametrize(
    ("head", "raw", "box", "scores"),
    [
        (yolov5.YoloV5Head(1, 2), [[10, 20, 4, 8, 0.5, 0.2, 0.8]], (8, 16, 12, 24), (0.1, 0.4)),
        (yolov8.YoloV8Head(1, 2), [[10], [20], [4], [8], [0.2], [0.8]], (8, 16, 12, 24), (0.2, 0.8)),
        (yolox.YoloXHead((64, 32), 2, True), [[10, 20, 4, 8, 0.5, 0.2, 0.8]], (8, 16, 12, 24), (0.1, 0.4)),
    ],
)
def test_decoded_rows_by_hand(
    head: DetectionHead, raw: list[list[float]], box: tuple[float, ...], scores: tuple[float, ...]
) -> None:
    boxes, found = head.plain([np.array(raw, np.float32)])
    assert np.allclose(boxes[0], box)
    assert np.allclose(found[0], scores)


def test_yolox_by_hand() -> None:
    rows = np.zeros((42, 7), np.float32)
    rows[:, 4:] = (0.5, 0.2, 0.8)
    rows[10, :4] = (0.25, 0.5, np.log(2), np.log(3))  # stride 8: row 1, column 2
    rows[40, :4] = (0.5, 0.5, 0, 0)  # stride 32: row 0, column 0
    boxes, scores = yolox.YoloXHead((64, 32), 2, False).plain([rows])
    assert np.allclose(boxes[10], [18 - 8, 12 - 12, 18 + 8, 12 + 12], atol=1e-4)
    assert np.allclose(boxes[40], [0, 0, 32, 32])
    assert np.allclose(scores[10], [0.1, 0.4])


def test_fastestdet_by_hand() -> None:
    value = np.zeros((7, 4, 8), np.float32)
    value[0, 1, 2], value[5:, 1, 2] = 0.5, (0.25, 0.75)
    value[1:5, 1, 2] = (np.arctanh(0.5), np.arctanh(-0.25), 0.0, np.log(1 / 3))
    boxes, scores = fastestdet.FastestDetHead((64, 32), (8, 4), 2).plain([value])
    # centre ((2 + 0.5) * 8, (1 - 0.25) * 8), size (0.5 * 64, 0.25 * 32)
    assert np.allclose(boxes[10], [20 - 16, 6 - 4, 20 + 16, 6 + 4], atol=1e-4)
    assert np.allclose(scores[10], [0.5**0.6 * 0.25**0.4, 0.5**0.6 * 0.75**0.4])


def test_end2end_keeps_overlapping_boxes_and_drops_what_is_under_the_floor(run_ort: Run) -> None:
    rows = [[0, 0, 9, 9, 0.6, 1], [0, 0, 9, 9, 0.9, 1], [5, 5, 9, 9, 0.1, 2], [-1, -1, -1, -1, -1, -1]]
    value = np.array([rows], np.float32)
    nms = NmsSpec(candidates=10, max_detections=5, score_floor=0.2)
    graph = head_graph(end2end.End2EndHead(3, (0,)), [value], nms, 1)
    boxes, scores, labels = run_ort(graph, {"raw0": value})
    assert np.allclose(scores, [[0.9, 0.6, 0, 0, 0]])
    assert labels.tolist() == [[1, 1, 0, 0, 0]]
    assert boxes[0].tolist() == [[0, 0, 9, 9]] * 2 + [[0, 0, 0, 0]] * 3


def test_end2end_takes_any_number_of_boxes(run_ort: Run) -> None:
    nms = NmsSpec(candidates=10, max_detections=5, score_floor=0.2)
    graph = head_graph(end2end.End2EndHead(3, (0,)), [np.zeros((1, 4, 6), np.float32)], nms, 1)
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "found"
    for count in (0, 1, 4, 9):
        value = np.tile(np.array([0, 0, 1, 1, 0.5, 2], np.float32), (1, count, 1)).reshape(1, count, 6)
        scores = run_ort(graph, {"raw0": value})[1]
        assert (scores > 0).sum() == min(count, 5)


@pytest.mark.parametrize(
    "shapes",
    [[(None, 27, 4, 8)], [(None, 27, 4, 8), (None, 26, 2, 4)], [(None, 27, 4, None), (None, 27, 2, 4)]],
)
def test_maps_that_do_not_fit_the_anchors_are_refused(shapes: list[tuple[int | None, ...]]) -> None:
    outputs = [NetworkOutput(f"map{i}", "float32", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(GraphError, match=r"map\d"):
        raw_head(4).candidates(GraphBuilder(onnx.GraphProto(), "post/"), outputs, NmsSpec())


def facts(
    *shapes: tuple[int | None, ...],
    classes: int | None = None,
    names: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    operators: Sequence[str] = (),
) -> NetworkFacts:
    outputs = tuple(
        NetworkOutput(names[i] if names else f"o{i}", dtypes[i] if dtypes else "float32", (1, *shape))
        for i, shape in enumerate(shapes)
    )
    return NetworkFacts(outputs, (64, 32), classes, frozenset(operators))


@pytest.mark.parametrize(
    ("recognise", "seen", "expected"),
    [
        (yolov5.recognise, facts((126, 8)), yolov5.YoloV5Head(126, 3)),
        (yolov5.recognise, facts((126, 8), (3, 4, 8, 8), (3, 2, 4, 8)), yolov5.YoloV5Head(126, 3)),
        (yolov5.recognise, facts((126, 8), classes=3), yolov5.YoloV5Head(126, 3)),
        (yolov5.recognise, facts((126, 8), classes=4), None),
        (yolov5.recognise, facts((8, 126)), None),
        (yolov5.recognise, facts((None, 8)), None),
        (yolov5.recognise, facts((126, 8), (32, 8, 16)), None),
        (yolov5.recognise, facts(), None),
        (yolov8.recognise, facts((7, 42)), yolov8.YoloV8Head(42, 3)),
        (yolov8.recognise, facts((7, 42), classes=2), None),
        # Segmentation: 32 coefficients a box, and prototypes.
        (yolov8.recognise, facts((39, 42), (32, 8, 16), classes=3), None),
        (yolov8.recognise, facts((42, 7)), None),
        (yolox.recognise, facts((42, 8)), yolox.YoloXHead((64, 32), 3, False)),
        (yolox.recognise, facts((42, 8), operators=["Conv", "Exp"]), yolox.YoloXHead((64, 32), 3, True)),
        (yolox.recognise, facts((43, 8)), None),
        (fastestdet.recognise, facts((8, 4, 8)), fastestdet.FastestDetHead((64, 32), (8, 4), 3)),
        (fastestdet.recognise, facts((8, 8, 8)), None),
        (fastestdet.recognise, facts((8, 32, 64)), None),
        (end2end.recognise, facts((300, 6), classes=3), end2end.End2EndHead(3, (0,))),
        (end2end.recognise, facts((None, 6)), end2end.End2EndHead(0, (0,))),
        (end2end.recognise, facts((300, 7)), None),
        (
            end2end.recognise,
            facts((9,), (9, 4), (9,), dtypes=["int64", "float32", "float32"]),
            end2end.End2EndHead(0, (1, 2, 0)),
        ),
        (
            end2end.recognise,
            facts((9, 4), (9, 1), (9, 1), names=["b", "class_ids", "scores"]),
            end2end.End2EndHead(0, (0, 2, 1)),
        ),
        (end2end.recognise, facts((9, 4), (9,), (9,), names=["b", "a", "c"]), None),
        (end2end.recognise, facts((9, 4), (9,), (9,), dtypes=["float32", "int64", "int32"]), None),
        (end2end.recognise, facts((9, 4), (9,)), None),
    ],
)
def test_heads_are_recognised_by_their_outputs(
    recognise: Callable[[NetworkFacts], DetectionHead | None],
    seen: NetworkFacts,
    expected: DetectionHead | None,
) -> None:
    assert recognise(seen) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "batch", [pytest.param(1, marks=pytest.mark.exhaustive), pytest.param("batch", marks=pytest.mark.slow)]
)
def test_tensorrt_rtx_builds_every_head(kind: str, batch: int | str) -> None:
    head, arrays = raw_outputs(kind, 3, 1, np.random.default_rng(0))
    graph = head_graph(head, arrays, NmsSpec(candidates=100, max_detections=60), batch)
    profiles: dict[str, Profile] = {
        name: ((1, *a.shape[1:]), (2, *a.shape[1:]), (4, *a.shape[1:])) for name, a in feeds(arrays).items()
    }
    engine, _ = build_rtx_engine(graph.SerializeToString(), profiles if batch == "batch" else None)
    assert len(engine) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [300, 1000])
@pytest.mark.parametrize("batch", [1, "batch"])
def test_tensorrt_rtx_builds_yolov5_at_its_full_size(candidates: int, batch: int | str) -> None:
    head = YoloV5RawHead((*ANCHORS, ANCHORS[1]), (8, 16, 32), 80)
    arrays = [np.zeros((1, 255, side, side), np.float32) for side in (80, 40, 20)]
    graph = head_graph(head, arrays, NmsSpec(candidates=candidates), batch)
    names = [value.name for value in graph.graph.input]
    profiles: dict[str, Profile] = {
        name: ((1, *a.shape[1:]), (2, *a.shape[1:]), (4, *a.shape[1:]))
        for name, a in zip(names, arrays, strict=True)
    }
    engine, _ = build_rtx_engine(graph.SerializeToString(), profiles if batch == "batch" else None)
    assert len(engine) > 1000
