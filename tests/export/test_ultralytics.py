"""Checkpoints of the Ultralytics package: raw outputs of the original code, exports, and what they refuse."""

from __future__ import annotations

import io
import pickletools
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevision.bundle.folder import Bundle
from edgevision.checkpoint.reading import read_checkpoint
from edgevision.cli.present import table
from edgevision.contract.spec import BatchRange
from edgevision.errors import CheckpointError, UnsafeCheckpointError, UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recognition import recipe_of
from edgevision.models.recipe import load_recipe
from tests.export.attacks import PLANT, attacks
from tests.export.raw_outputs import compared

RELATIVE, PIXELS = 1e-4, 0.01
"""Tolerances of raw outputs: relative to the largest value, and pixels for boxes of the network's size."""
NOISE = 4
"""Multiple of a network's own rounding noise (float32 against float64) that is allowed beyond the tolerances."""

FILES = (
    *("yolo11n-cls", "yolo11n-obb", "yolo11n-pose", "yolo11n.full", "yolo11n"),
    *("yolo26n", "yolov8n-seg", "yolov8n"),
)
TASKS = {
    "yolo11n-cls": "classify",
    "yolo11n-obb": "obb",
    "yolo11n-pose": "pose",
    "yolov8n-seg": "instances",
}
"""Tasks of files; the others detect."""


@pytest.fixture
def folder(data_dir: Path) -> Path:
    found = data_dir / "ultralytics"
    if not found.is_dir():
        pytest.skip(f"no checkpoints at {found}")
    return found


@pytest.mark.parametrize("name", FILES)
def test_raw_outputs_are_the_original_codes(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    with np.load(folder / f"{name}.npz") as arrays:
        found = list(compared(read_checkpoint(folder / f"{name}.pt"), arrays))
    for one in found:
        differences = (one.original, one.own_rounding, one.original_rounding)
        figures = (f"{value:.2g}" for each in differences for value in (each.pixels, each.relative))
        rows.append([name, one.head, *figures])
        assert one.original.pixels <= max(PIXELS, NOISE * one.own_rounding.pixels)
        assert one.original.relative <= max(RELATIVE, NOISE * one.own_rounding.relative)
    columns = ("px", "relative", "own rounding px", "relative", "its rounding px", "relative")
    with capsys.disabled():
        print("\n" + "\n".join(table(["file", "head", *columns], rows)), end="")


FORMS = {
    "static": ExportOptions(),
    "dynamic": ExportOptions(batch=BatchRange(1, 2, 4)),
    "frame": ExportOptions(frame_wh=(1280, 720)),
}


def _export(path: Path, target: Path, form: str = "static", **options: Any) -> Bundle:
    chosen = FORMS[form]
    given = ExportOptions(checkpoint=path, batch=chosen.batch, frame_wh=chosen.frame_wh, **options)
    return export_bundle(recipe_of(path), given, target, lambda _: None)


@pytest.mark.parametrize("name", [*TASKS, "yolo11n", "yolo26n"])
def test_a_file_exports_without_options(name: str, folder: Path, tmp_path: Path) -> None:
    bundle = _export(folder / f"{name}.pt", tmp_path / "b", size_wh=(320, 320))
    assert bundle.spec.task == TASKS.get(name, "detect")
    assert bundle.spec.provenance.recipe.startswith(f"ultralytics: {name}, ")
    if bundle.spec.nms is not None:
        assert bundle.spec.nms.max_detections == (100 if bundle.spec.task == "instances" else 300)


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FILES)
def test_every_form_exports_at_the_files_own_size(name: str, form: str, folder: Path, tmp_path: Path) -> None:
    assert _export(folder / f"{name}.pt", tmp_path / "b", form).spec.frames.batch == FORMS[form].batch


def test_a_one_to_one_head_needs_no_nms_and_the_other_does(folder: Path, tmp_path: Path) -> None:
    path = folder / "yolo26n.pt"
    one = _export(path, tmp_path / "one", size_wh=(320, 320))
    many = _export(path, tmp_path / "many", size_wh=(320, 320), head="one2many")
    assert one.spec.provenance.recipe.endswith("head one2one")
    assert many.spec.provenance.recipe.endswith("head one2many")
    assert len(one.graph_path().read_bytes()) < len(many.graph_path().read_bytes())
    with pytest.raises(
        UsageError, match="--head best: the checkpoint holds .*; its heads are one2one, one2many"
    ):
        _export(path, tmp_path / "x", head="best")
    with pytest.raises(UsageError, match="--head one2one: the checkpoint holds .*; it has only one head"):
        _export(folder / "yolov8n.pt", tmp_path / "x", head="one2one")


def _hostile(path: Path, target: Path, attack: bytes) -> Path:
    """The checkpoint with another pickle in front of its model: a tuple of both, of which the second is kept."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as changed:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("/data.pkl"):
                data = _without_frame(attack) + b"0" + _without_frame(data) + b"."
            changed.writestr(entry, data)
    return target


def _without_frame(pickled: bytes) -> bytes:
    """A pickle without its protocol, its frame and its end, so that others can stand around it."""
    parts = list(pickletools.genops(io.BytesIO(pickled)))
    ends = [position or 0 for _, _, position in parts[1:]] + [len(pickled)]
    kept = [
        pickled[position or 0 : end]
        for (opcode, _, position), end in zip(parts, ends, strict=True)
        if opcode.name not in ("PROTO", "FRAME", "STOP")
    ]
    return b"".join(kept)


@pytest.mark.parametrize("attack", tuple(attacks(Path("/nowhere"))))
def test_an_attack_in_a_checkpoint_executes_nothing_and_is_named(
    attack: str, folder: Path, tmp_path: Path, planted: Path
) -> None:
    pickled, named = attacks(planted)[attack]
    for name in ("yolov8n", "yolo11n-cls"):
        path = _hostile(folder / f"{name}.pt", tmp_path / f"{name}.pt", pickled)
        with pytest.raises(UnsafeCheckpointError) as caught:
            recipe_of(path)
        assert named in str(caught.value)
    assert not planted.exists()
    assert PLANT not in sys.modules


def test_the_frame_of_the_attacks_is_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    path = _hostile(folder / "yolov8n.pt", tmp_path / "a.pt", b"I1\n.")
    expected = read_checkpoint(folder / "yolov8n.pt").tensors
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read_checkpoint(path).tensors.items())


@pytest.mark.parametrize(
    "function", ["ultralytics.utils.downloads.attempt_download_asset", "ultralytics.hub.login"]
)
def test_functions_of_the_package_are_refused(function: str, tmp_path: Path) -> None:
    module, _, name = function.rpartition(".")
    pickled = f"c{module}\n{name}\n(S'x'\ntR.".encode()
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    with pytest.raises(UnsafeCheckpointError, match=function.replace(".", r"\.")):
        read_checkpoint(path)


def test_aliases_name_the_recipe() -> None:
    assert {load_recipe(name).name for name in ("yolov8", "yolov10", "yolo11", "yolo26")} == {"ultralytics"}


def test_bare_weights_name_the_remedy(tmp_path: Path) -> None:
    torch.save({"model.0.conv.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"bare weights, .* expected the \.pt of the ultralytics package"
    ):
        load_recipe("yolov8").load(tmp_path / "a.pt")
