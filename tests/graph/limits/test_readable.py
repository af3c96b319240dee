"""Every recipe and head, in every precision, is within the documented limits of every version of TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import BatchRange, NmsSpec
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.contract import attach_metadata
from edgevision.graph.limits.check import readable_by
from edgevision.graph.surgery import with_named_nodes
from edgevision.models.recipe import load_recipe
from edgevision.quantize.placement import Edge, QdqPlacement, placement_by_modelopt
from tests.graph import networks
from tests.graph.limits.reading import ALL, assert_read, precisions
from tests.recipes import RECIPES

NMS = NmsSpec(candidates=400, max_detections=40)
DYNAMIC = BatchRange(1, 2, 4)
MAKERS: dict[str, Callable[..., onnx.ModelProto]] = {
    **networks.DETECTORS,
    "end2end": networks.end2end,
    "classifier": networks.classifier,
}
FORMS: dict[str, tuple[BatchRange, bool]] = {
    "static": (BatchRange(), False),
    "dynamic": (DYNAMIC, False),
    "frame": (BatchRange(), True),
    "frame-dynamic": (DYNAMIC, True),
}


def placed_by_hand(model: onnx.ModelProto) -> QdqPlacement:
    """Q/DQ on every convolution: the small networks have none behind the first, where modelopt places it."""
    stored = {tensor.name for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in stored]
    return QdqPlacement(
        tuple(Edge(node.name, 0, node.input[0]) for node in nodes),
        tuple(Edge(node.name, 1, node.input[1]) for node in nodes),
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["dynamic", "frame-dynamic"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_read(recipe: str, form: str, tmp_path: Path) -> None:
    """Those of one batch size are read in `tests/builder/test_tensorrt_rtx.py`, which makes them anyway."""
    pytest.importorskip("modelopt")
    batch, frame = FORMS[form]
    options = ExportOptions(random_weights=True, batch=batch, frame_wh=(1920, 1080) if frame else None)
    bundle: Bundle = export_bundle(load_recipe(recipe), options, tmp_path / "b", lambda _: None)
    frames = bundle.golden().frames[: batch.opt]
    decode = bundle.spec.task in ("detect", "instances")
    model = with_named_nodes(onnx.load(bundle.graph_path()))
    assert_read(precisions(model, frames, placement_by_modelopt(model, frames), decode=decode))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", MAKERS)
def test_an_adopted_head_is_read(head: str, form: str, tmp_path: Path) -> None:
    batch, frame = FORMS[form]
    path = tmp_path / "theirs.onnx"
    onnx.save(MAKERS[head](batch="n" if batch is DYNAMIC else 1), path)
    options = AdoptOptions(
        nms=NMS,
        frame_wh=(128, 72) if frame else None,
        batch=batch,
        classes=("yes", "no") if head == "end2end" else ("cat", "dog", "eel"),
    )
    adoption = adopt(path, head, options)
    attach_metadata(adoption.model, adoption.spec)
    found = {row.name: [str(one) for one in unread] for row, unread in readable_by(adoption.model)}
    assert not any(found.values()), found
    assert list(found) == ALL


@pytest.mark.parametrize("head", MAKERS)
def test_an_adopted_head_is_read_in_every_precision(head: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(MAKERS[head](), path)
    classes = ("yes", "no") if head == "end2end" else ("cat", "dog", "eel")
    adoption = adopt(path, head, AdoptOptions(nms=NMS, classes=classes))
    width, height = adoption.spec.frames.size_wh
    frames = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    model = with_named_nodes(adoption.model)
    assert_read(precisions(model, frames, placed_by_hand(model), decode=head != "classifier"))
