"""Small models of the Ultralytics package for poses and oriented boxes become verified bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevision.bundle.folder import Bundle
from edgevision.checkpoint.reading import read_checkpoint
from edgevision.contract.spec import COCO_KEYPOINTS, BatchRange, NmsSpec, obb_outputs, pose_outputs
from edgevision.errors import CheckpointError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recognition import recipe_of
from edgevision.export.sources import spread_logits, take_statistics
from edgevision.models.ultralytics.model import ultralytics_from_checkpoint
from tests.models import forged_ultralytics_heads as heads
from tests.models.forged_layers import Conv, Row

HEADS: dict[str, tuple[type[Any], tuple[Any, ...]]] = {
    "OBB": (heads.OBB, ()),
    "OBB26": (heads.OBB26, (1, True)),
    "Pose": (heads.Pose, ()),
    "Pose26": (heads.Pose26, (1, True)),
}
"""Heads and their numbers of bins, and True for those with a one-to-one head."""

FORMS = {
    "static": ExportOptions(),
    "dynamic": ExportOptions(batch=BatchRange(1, 2, 4)),
    "frame": ExportOptions(frame_wh=(300, 170)),
}
NMS = NmsSpec(candidates=400, max_detections=100, depth=48)
"""Chains of suppressions are long in random models: one object has many boxes."""
COMPARED = 20
"""The least number of detections that a verification must have compared."""


def _model(forge: Any, head: str) -> Any:
    """A model of two scales whose outputs depend on the image."""
    kind, arguments = HEADS[head]
    rows: list[Row] = [
        (-1, Conv, 3, 16, 3, 2),
        (-1, Conv, 16, 16, 3, 2),
        (-1, Conv, 16, 24, 3, 2),
        ([1, 2], kind, 2, [16, 24], *arguments),
    ]
    model = forge.model(rows, kind=heads.DetectionModel)
    maps, last = take_statistics(model), model.model[-1]
    for place, name in enumerate(last.towers):
        towers = getattr(last, f"{last.prefix}{last.further[0] if place == 2 and last.further else name}")
        for tower, logits in zip(towers, maps[2 * place : 2 * place + 2], strict=True):
            conv = tower if isinstance(tower, torch.nn.Conv2d) else tower[-1]
            mean = torch.full((logits.shape[1],), -3.5 if name == "cv3" else 1.0 if name == "cv2" else 0.0)
            spread_logits(conv, logits, mean, torch.ones(logits.shape[1]))
    return model


def _export(path: Path, target: Path, form: str, head: str | None = None) -> Bundle:
    chosen = FORMS[form]
    options = ExportOptions(
        checkpoint=path,
        size_wh=(192, 128),
        batch=chosen.batch,
        frame_wh=chosen.frame_wh,
        nms=NMS,
        head=head,
    )
    return export_bundle(recipe_of(path), options, target, lambda _: None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", HEADS)
def test_a_small_model_exports(head: str, form: str, forge: Any, tmp_path: Path) -> None:
    path = forge.save_ultralytics({"model": _model(forge, head)})
    bundle = _export(path, tmp_path / "b", form)
    spec = bundle.spec
    (record,) = bundle.graph("float").verifications
    checks = {check.name: check for check in record.checks}
    assert checks["detections compared"].measured >= COMPARED
    one2one = HEADS[head][1] != ()
    assert ("NMS steps that the frames need" in checks) != one2one
    answers = bundle.golden().answers
    unused = answers[1] == 0
    assert not any(values[unused].any() for values in answers)
    if head.startswith("Pose"):
        assert spec.outputs == pose_outputs(100, 5)
        assert spec.keypoints is not None
        assert spec.keypoints.names == tuple("01234")
        assert float(np.ptp(answers[3][~unused][:, :, 2])) > 0.5
    else:
        assert spec.outputs == obb_outputs(100)
        assert spec.keypoints is None
        assert float(np.ptp(answers[0][~unused][:, 4])) > 0.5


@pytest.mark.parametrize("head", ["OBB26", "Pose26"])
def test_the_other_head_has_nms(head: str, forge: Any, tmp_path: Path) -> None:
    path = forge.save_ultralytics({"model": _model(forge, head)})
    bundle = _export(path, tmp_path / "b", "static", "one2many")
    assert bundle.spec.provenance.recipe.endswith("head one2many")
    names = [check.name for check in bundle.graph("float").verifications[0].checks]
    assert "NMS steps that the frames need" in names


@pytest.mark.parametrize("values", [2, 3])
def test_seventeen_keypoints_have_coco_s_names(
    values: int, forge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.Pose, "kpt_shape", (17, values))
    bundle = _export(forge.save_ultralytics({"model": _model(forge, "Pose")}), tmp_path / "b", "frame")
    assert bundle.spec.keypoints is not None
    assert bundle.spec.keypoints.names == COCO_KEYPOINTS
    assert bundle.spec.keypoints.skeleton
    points, scores = bundle.golden().answers[3], bundle.golden().answers[1]
    assert points.shape[2:] == (17, 3)
    assert bool((points[scores > 0][:, :, 2] == 1).all()) == (values == 2)


def test_keypoints_that_do_not_fit_their_tower_are_refused(forge: Any) -> None:
    model = _model(forge, "Pose")
    model.model[-1].kpt_shape = [4, 3]
    path = forge.save_ultralytics({"model": model})
    with pytest.raises(CheckpointError, match=r"third tower has \[15\] channels, expected 12"):
        ultralytics_from_checkpoint(read_checkpoint(path))
