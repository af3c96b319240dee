"""Masks in the graph are correct in every engine, with and without a letterbox in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.spec import BatchRange, NmsSpec
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import NetworkOutput, take_rows
from edgevision.graph.masks import check_prototypes, mask_size_wh, mixed_masks, prototypes_over_frame
from edgevision.graph.nms import Candidates, Carried, cluster_nms
from edgevision.models.masks import Mixture, answers_from_mixture, over_frame
from edgevision.models.recipe import load_recipe
from tests.graph.conftest import Run
from tests.rtx import build_rtx_engine

BATCH, COUNT, KINDS = 2, 5, 3
NETWORK_WH = (64, 48)


@pytest.mark.parametrize(
    ("frame_wh", "network_wh", "expected"),
    [
        ((640, 640), (640, 640), (160, 160)),
        ((1920, 1080), (640, 640), (160, 90)),
        ((100, 300), (64, 64), (6, 16)),
        ((640, 480), (640, 640), (160, 120)),
    ],
)
def test_masks_cover_the_frame_without_its_padding(
    frame_wh: tuple[int, int], network_wh: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert mask_size_wh(frame_wh, network_wh, "letterbox") == expected
    assert mask_size_wh(frame_wh, network_wh, "stretch") == (network_wh[0] // 4, network_wh[1] // 4)


def mixture() -> Mixture:
    """Boxes of all sizes, some in part beyond the edges, the last place of each image empty."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(-5, 50, (BATCH, COUNT, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.5, 40, (BATCH, COUNT, 2))], 2).astype(np.float32)
    scores = rng.uniform(0.1, 1, (BATCH, COUNT)).astype(np.float32)
    boxes[:, -1], scores[:, -1] = 0, 0
    coefficients = rng.normal(0, 2, (BATCH, COUNT, KINDS)).astype(np.float32)
    prototypes = rng.normal(0, 1, (BATCH, KINDS, NETWORK_WH[1] // 4, NETWORK_WH[0] // 4)).astype(np.float32)
    return Mixture(boxes, scores, np.zeros((BATCH, COUNT), np.int32), coefficients, prototypes)


def mask_graph(frame_wh: tuple[int, int] | None, mask_wh: tuple[int, int]) -> onnx.ModelProto:
    graph = helper.make_graph([], "masks", [], [])
    shapes = {
        "prototypes": (BATCH, KINDS, 12, 16),
        "coefficients": (BATCH, COUNT, KINDS),
        "boxes": (BATCH, COUNT, 4),
    }
    for name, shape in shapes.items():
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    b = GraphBuilder(graph, "p/")
    prototypes = "prototypes"
    if frame_wh is not None:
        placement = LetterboxGeometry.of(frame_wh, NETWORK_WH).placement
        prototypes = prototypes_over_frame(b, prototypes, placement, NETWORK_WH, mask_wh)
    masks = mixed_masks(b, prototypes, "coefficients", "boxes", mask_wh, frame_wh or NETWORK_WH)
    b.cast_to(masks, "masks", TensorProto.UINT8)
    b.flush()
    whole = (BATCH, COUNT, mask_wh[1], mask_wh[0])
    graph.output.append(helper.make_tensor_value_info("masks", TensorProto.UINT8, whole))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("frame_wh", [None, (200, 90), (70, 101)])
def test_engines_mix_what_the_reference_mixes(
    frame_wh: tuple[int, int] | None, run_ort: Run, run_openvino: Run
) -> None:
    found, mask_wh = mixture(), (16, 12)
    if frame_wh is not None:
        mask_wh = mask_size_wh(frame_wh, NETWORK_WH, "letterbox")
        found = over_frame(found, LetterboxGeometry.of(frame_wh, NETWORK_WH).placement, mask_wh, 4)
    expected = answers_from_mixture(found, frame_wh or NETWORK_WH)[3]
    assert np.asarray(expected.any(axis=(2, 3)))[:, :-1].sum() >= 7
    assert not expected[:, -1].any()
    feeds = {
        "prototypes": mixture().prototypes,
        "coefficients": found.coefficients,
        "boxes": found.boxes,
    }
    model = mask_graph(frame_wh, mask_wh)
    for run in (run_ort, run_openvino):
        (masks,) = run(model, feeds)
        assert masks.dtype == np.uint8
        # Rounding in float32 may end one step higher or lower.
        assert np.abs(masks.astype(int) - expected).max() <= 1
        assert ((masks > 0) == (expected > 0)).mean() > 0.999


def test_prototypes_of_another_size_are_refused() -> None:
    check_prototypes(NetworkOutput("p", "float32", (None, 32, 12, 16)), 32, NETWORK_WH)
    with pytest.raises(GraphError, match=r"prototypes are float32 \[B, 32, 12, 16\]; received p float32"):
        check_prototypes(NetworkOutput("p", "float32", (1, 32, 16, 12)), 32, NETWORK_WH)


FORMS: dict[str, ExportOptions] = {
    "static": ExportOptions(random_weights=True, size_wh=(96, 64)),
    "frame": ExportOptions(
        random_weights=True, size_wh=(96, 96), frame_wh=(150, 110), batch=BatchRange(1, 2, 3)
    ),
}


@pytest.fixture(scope="module", params=FORMS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Written only if ONNX Runtime's answers are PyTorch's, masks included."""
    folder = tmp_path_factory.mktemp("instances") / request.param
    return export_bundle(load_recipe("yolov5-seg"), FORMS[request.param], folder, lambda _: None)


def test_an_exported_graph_matches_its_model(bundle: Any) -> None:
    names = [output.name for output in bundle.spec.outputs]
    assert names == ["boxes", "scores", "labels", "masks"]
    (record,) = bundle.graph("float").verifications
    checks = {check.name: check.measured for check in record.checks}
    assert checks["detections compared"] > 10
    assert checks["share of partners' mask cells in just one"] < 0.01
    golden = bundle.golden()
    with open_session(bundle.path, engine="openvino") as session:
        boxes, scores, _, masks = session.infer(golden.frames[: bundle.spec.frames.batch.max])
    found = scores > 0
    assert masks[found].any(axis=(1, 2)).mean() > 0.9
    assert not masks[~found].any()
    assert (boxes[~found] == 0).all()


@pytest.mark.slow
def test_an_exported_graph_builds_in_tensorrt(bundle: Any) -> None:
    batch, (width, height) = bundle.spec.frames.batch, bundle.spec.frames.size_wh
    one, two, three = ((n, height, width, 3) for n in (batch.min, batch.opt, batch.max))
    profiles = None if batch.static else {"frames": (one, two, three)}
    engine, _ = build_rtx_engine(bundle.graph_path().read_bytes(), profiles)
    assert len(engine) > 1000


def test_what_is_left_keeps_what_it_carries(run_ort: Run) -> None:
    """The second box is suppressed by the first, and two of six places stay empty."""
    graph = helper.make_graph([], "carried", [], [])
    for name, shape in {"boxes": (1, 4, 4), "scores": (1, 4), "values": (1, 7, 2)}.items():
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    b = GraphBuilder(graph, "p/")
    carried = Carried("values", b.constant(np.array([[6, 5, 0, 3]])))
    candidates = Candidates("boxes", "scores", b.constant(np.zeros((1, 4), np.int32)), 4, carried)
    found = cluster_nms(b, candidates, NmsSpec(candidates=6, max_detections=6))
    assert found.carried is not None
    b.alias(found.scores, "left")
    b.alias(take_rows(b, found.carried.values, found.carried.row), "taken")
    b.flush()
    for name, rank in (("left", 2), ("taken", 3)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    boxes = np.array([[[0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9], [40, 0, 49, 9]]], np.float32)
    feeds = {"boxes": boxes, "scores": np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)}
    feeds["values"] = np.arange(14, dtype=np.float32).reshape(1, 7, 2)
    left, taken = run_ort(model, feeds)
    assert left[0].tolist() == pytest.approx([0.9, 0.7, 0.6, 0, 0, 0])
    assert taken[0, :3].tolist() == [[12, 13], [0, 1], [6, 7]]
