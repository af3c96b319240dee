"""A grafted file contains its spec and matches it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.nms import greedy_nms
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import (
    METADATA_KEY,
    BatchRange,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
)
from edgevision.errors import GraphError
from edgevision.graph.contract import (
    attach_metadata,
    check_contract,
    check_graph,
    describe,
    load_model,
    opset_of,
    prepare_network,
    read_spec,
    with_candidates,
)
from edgevision.graph.graft import graft_classifier, graft_detector
from edgevision.graph.heads import YoloV5RawHead
from edgevision.graph.heads.yolov8 import YoloV8Head
from edgevision.graph.nms import CANDIDATES
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.simplify import simplify
from tests.graph import networks
from tests.graph.networks import SIZE_WH

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

NMS = NmsSpec(candidates=150, max_detections=20, iou_threshold=0.5, score_floor=0.1)
PROVENANCE = Provenance("theirs.onnx", None, "test", "2026-01-01T00:00:00+00:00")
HEAD = YoloV8Head(126, 3)


def detector_spec(frames: FrameInput, nms: NmsSpec = NMS) -> ModelSpec:
    outputs = detect_outputs(nms.max_detections)
    return ModelSpec("theirs", "detect", frames, outputs, ("a", "b", "c"), PROVENANCE, nms)


def detector(frames: FrameInput, batch: int | str = 1) -> onnx.ModelProto:
    return graft_detector(
        networks.yolov8(batch=batch),
        head=HEAD,
        pixels=PixelFormat("rgb"),
        frames=frames,
        network_size_wh=SIZE_WH,
        nms=NMS,
    )


@pytest.mark.parametrize("batch", [BatchRange(), BatchRange(3, 3, 3), BatchRange(1, 2, 4)])
@pytest.mark.parametrize("frame_wh", [SIZE_WH, (200, 100)])
def test_a_grafted_detector_keeps_the_contract(batch: BatchRange, frame_wh: tuple[int, int]) -> None:
    frames = FrameInput(frame_wh, "letterbox" if frame_wh == SIZE_WH else "exact", batch=batch)
    model = detector(frames, batch.max if batch.static else "n")
    spec = detector_spec(frames)
    attach_metadata(model, spec)
    check_contract(model, spec)
    assert read_spec(model) == spec
    assert opset_of(model) == 17
    assert model.ir_version == 8


def test_the_network_given_is_not_changed() -> None:
    network = networks.yolov8()
    before = network.SerializeToString(deterministic=True)
    graft_detector(
        network, head=HEAD, pixels=PixelFormat(), frames=FrameInput(SIZE_WH), network_size_wh=SIZE_WH, nms=NMS
    )
    simplify(network)
    assert network.SerializeToString(deterministic=True) == before


def test_the_last_spec_attached_is_the_one_that_is_read() -> None:
    frames = FrameInput(SIZE_WH)
    model = detector(frames)
    attach_metadata(model, detector_spec(frames, NmsSpec()))
    attach_metadata(model, detector_spec(frames))
    assert read_spec(model).nms == NMS
    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]


@pytest.mark.parametrize(
    ("text", "message"), [(None, "no edgevision spec"), ("{}", "cannot be read"), ('{"schema":99}', "99")]
)
def test_a_missing_or_broken_spec_is_reported(text: str | None, message: str) -> None:
    model = networks.yolov8()
    if text is not None:
        model.metadata_props.add(key=METADATA_KEY, value=text)
    with pytest.raises(GraphError, match=message):
        read_spec(model)


def broken(change: Callable[[onnx.ModelProto], object]) -> tuple[onnx.ModelProto, ModelSpec]:
    frames = FrameInput(SIZE_WH)
    model = detector(frames)
    change(model)
    return model, detector_spec(frames)


def drop_floor(model: onnx.ModelProto) -> None:
    floor = next(t for t in model.graph.initializer if t.name == SCORE_FLOOR)
    floor.name = "renamed"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = "renamed" if name == SCORE_FLOOR else name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m.graph.output.pop(),
            r"outputs are boxes.*scores.*the spec expects.*labels int32 \[1, 20\]",
        ),
        (
            lambda m: setattr(m.graph.input[0], "name", "images"),
            "Nodes in a graph must be topologically sorted",
        ),
        (
            lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 65),
            "inputs are frames",
        ),
        (
            lambda m: m.graph.output[2].type.tensor_type.__setattr__("elem_type", 7),
            "not valid ONNX|labels int64",
        ),
        (drop_floor, "nms.score_floor"),
    ],
)
def test_a_graph_that_breaks_its_spec_is_refused(
    change: Callable[[onnx.ModelProto], object], message: str
) -> None:
    model, spec = broken(change)
    with pytest.raises(GraphError, match=message):
        check_contract(model, spec)


def test_a_graph_that_is_not_valid_is_refused() -> None:
    model = networks.yolov8()
    model.graph.node[0].op_type = "Convolve"
    with pytest.raises(GraphError, match="not valid ONNX"):
        check_graph(model)


def test_boxes_are_in_pixels_of_the_camera_frame(run_ort: Run) -> None:
    """The same content seen twice: placed by hand, and by the graph."""
    frame_wh = (192, 96)
    geometry = LetterboxGeometry.of(frame_wh, SIZE_WH)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (48, 96, 3), np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    canvas = np.full((64, 96, 3), 114, np.uint8)
    canvas[8:56] = small
    inside = run_ort(detector(FrameInput(frame_wh, "exact")), {"frames": large[None]})
    outside = run_ort(detector(FrameInput(SIZE_WH)), {"frames": canvas[None]})
    count = int((outside[1] > 0).sum())
    assert count > 5
    assert np.abs(inside[1] - outside[1]).max() < 1e-5
    expected = geometry.placement.frame_from_input(outside[0][0][:count])
    assert np.abs(inside[0][0][:count] - expected).max() < 0.01
    assert inside[0][0][:, [0, 2]].max() <= 192
    assert inside[0][0][:, [1, 3]].max() <= 96
    assert inside[0].min() >= 0
    assert not inside[0][0][count:].any()


def test_the_named_settings_work_in_a_whole_graph(run_ort: Run) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), np.uint8)
    model = detector(FrameInput(SIZE_WH))
    plain = run_ort(model, {"frames": frames})
    replaced = run_ort(model, {"frames": frames}, {SCORE_FLOOR: 0.98, IOU_THRESHOLD: 0.2})
    assert (plain[1] > 0).sum() > (replaced[1] > 0).sum() > 0
    assert replaced[1][replaced[1] > 0].min() >= 0.98


def test_candidates_can_be_asked_for(run_ort: Run) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), np.uint8)
    model = with_candidates(detector(FrameInput(SIZE_WH)))
    assert [value.name for value in model.graph.output][3:] == list(CANDIDATES)
    boxes, scores, _, *candidates = run_ort(model, {"frames": frames})
    assert candidates[0].shape == (1, 150, 4)
    assert (np.diff(candidates[1][0]) <= 0).all()
    live = candidates[1][0] >= NMS.score_floor
    kept = greedy_nms(candidates[0][0][live], candidates[1][0][live], candidates[2][0][live], 0.5)[:20]
    assert np.array_equal(scores[0][: len(kept)], candidates[1][0][kept])
    assert np.array_equal(boxes[0][: len(kept)], candidates[0][0][kept])


def test_a_graph_without_suppression_has_no_candidates() -> None:
    with pytest.raises(GraphError, match="has no NMS"):
        with_candidates(networks.end2end())


def test_simplification_keeps_inputs_outputs_and_results(run_ort: Run) -> None:
    network = networks.yolov8()
    network.graph.node.append(helper.make_node("Identity", ["v0"], ["unused"]))
    slim = simplify(network)
    assert len(slim.graph.node) < len(network.graph.node)
    images = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    assert np.allclose(
        run_ort(slim, {"images": images})[0], run_ort(network, {"images": images})[0], atol=1e-4
    )


def test_a_description_names_what_a_file_is_made_of() -> None:
    description = describe(networks.classifier())
    assert description.opset == 17
    assert description.inputs == ("images float32 [1, 3, 64, 96]",)
    assert description.outputs == ("probs float32 [1, 3]",)
    assert description.parameters == 3 * 3 * 8 * 8 + 3
    assert dict(description.operators)["Conv"] == 1
    assert any("operators" in line for line in description.lines())


def test_a_file_without_a_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    onnx.save(onnx.ModelProto(), path)
    with pytest.raises(GraphError, match="no graph"):
        load_model(path)


def test_names_of_the_contract_are_given_up_by_the_network() -> None:
    network = networks.end2end_apart()
    prepared = prepare_network(network)
    assert [value.name for value in prepared.graph.output] == [
        "network/labels",
        "network/boxes",
        "network/scores",
    ]
    check_graph(prepared)


def test_a_classifier_of_one_by_one_maps_is_flattened(run_ort: Run) -> None:
    m = networks.Maker(17)
    pooled = m("GlobalAveragePool", m.conv(3, 8, 40.0))
    network = m.model({"map": (pooled, 1, [1, 3, 1, 1])})
    frames = FrameInput(SIZE_WH, "center-crop")
    model = graft_classifier(network, pixels=PixelFormat(), frames=frames, network_size_wh=SIZE_WH)
    attach_metadata(
        model, ModelSpec("c", "classify", frames, classify_outputs(3), ("a", "b", "c"), PROVENANCE)
    )
    check_contract(model, read_spec(model))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    assert run_ort(model, {"frames": image})[0].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [[1, 3, 2, 2], [3], [1, None]])
def test_a_classifier_of_another_shape_is_refused(shape: list[int | str | None]) -> None:
    m = networks.Maker(17)
    value = m("Reshape", m.conv(3, 32), m.weight(np.array([-1])))
    network = m.model({"out": (value, 1, shape)})
    with pytest.raises(GraphError, match="classifier"):
        graft_classifier(network, pixels=PixelFormat(), frames=FrameInput(SIZE_WH), network_size_wh=SIZE_WH)


def test_heads_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GraphError, match="yolov5-raw"):
        graft_detector(
            networks.yolov8(),
            head=YoloV5RawHead((((10.0, 10.0),),), (8,), 3),
            pixels=PixelFormat(),
            frames=FrameInput(SIZE_WH),
            network_size_wh=SIZE_WH,
            nms=NMS,
        )
