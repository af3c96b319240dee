"""Golden frames reveal NMS that was computed in FP16, a fault that small boxes do not show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("torch")

from edgevision.bundle.folder import Bundle, Golden
from edgevision.engines.opening import open_session
from edgevision.export.close_up import with_close_up
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.frames import FRAME_COUNT
from edgevision.models.recipe import load_recipe
from edgevision.verification.golden import verify_session


@pytest.fixture(scope="module")
def yolov5n(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(checkpoint=data_dir / "weights" / "yolov5n.pt")
    return export_bundle(
        load_recipe("yolov5"), options, tmp_path_factory.mktemp("yolov5n") / "b", lambda _: None
    )


def suppressed_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as a builder may make it whose FP16 flag holds for pre- and post-processing too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = {v.name for v in inferred.graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    nodes = []
    for node in copy.graph.node:
        nodes.append(node)
        for index, name in enumerate(node.output):
            if node.name.startswith("post/") and name in floats:
                node.output[index] = f"{name}/exact"
                nodes.append(
                    helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=TensorProto.FLOAT16)
                )
                nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(copies)
    return copy


def lost_partners(model: onnx.ModelProto, golden: Golden, file: Path) -> float:
    """Detections that the graph has and the source model has not, or the other way round."""
    onnx.save(model, file)
    with open_session(file, engine="onnxruntime") as session:
        record = verify_session(session, golden, precision="fp16")
    counts = [c for c in record.checks if c.name.startswith("detections ") and c.relation == "<="]
    return sum(check.measured for check in counts)


def from_afar(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same scene at a third of its size: no box of it has an area beyond FP16."""
    third = frame.shape[0] // 3
    far = np.full_like(frame, 114)
    far[third : 2 * third, third : 2 * third] = cv2.resize(
        frame, (third, third), interpolation=cv2.INTER_AREA
    )
    return far


def test_suppression_in_fp16_shows(yolov5n: Bundle, tmp_path: Path) -> None:
    model = onnx.load(yolov5n.graph_path())
    faulty = suppressed_in_half(model)
    far = np.stack([from_afar(frame) for frame in yolov5n.golden().frames])
    frames = with_close_up(model, yolov5n.spec, far)
    assert len(frames) == len(far) + 1
    with open_session(yolov5n.path, engine="onnxruntime") as session:
        golden = Golden(
            frames, tuple(map(np.concatenate, zip(*[session.infer(f[None]) for f in frames], strict=True)))
        )
    assert lost_partners(faulty, golden, tmp_path / "faulty.onnx") > 0
    before = Golden(far, tuple(array[:-1] for array in golden.answers))
    assert lost_partners(faulty, before, tmp_path / "faulty.onnx") == 0, "the close-up is needed"


def test_the_packaged_photographs_reveal_it_unscaled(yolov5n: Bundle, tmp_path: Path) -> None:
    model, golden = onnx.load(yolov5n.graph_path()), yolov5n.golden()
    assert len(golden.frames) == FRAME_COUNT
    assert with_close_up(model, yolov5n.spec, golden.frames) is golden.frames
    assert lost_partners(suppressed_in_half(model), golden, tmp_path / "faulty.onnx") > 0


def test_nothing_to_look_at_closely(yolov5n: Bundle) -> None:
    grey = np.full_like(yolov5n.golden().frames[:2], 114)
    assert with_close_up(onnx.load(yolov5n.graph_path()), yolov5n.spec, grey) is grey
