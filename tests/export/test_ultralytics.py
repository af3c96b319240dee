"""Checkpoints of the Ultralytics package: raw outputs of the original code, exports, and what they refuse."""

from __future__ import annotations

import io
import pickletools
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from edgevision.models.ultralytics.decode import decode, decode_keypoints, decode_oriented, rows_of
from edgevision.models.ultralytics.heads import ObbHead, PoseTowers
from edgevision.models.ultralytics.model import HeadName, UltralyticsModel, ultralytics_from_checkpoint
from tests.export.attacks import PLANT, attacks

Array = npt.NDArray[np.float64]

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


def _decoded(model: UltralyticsModel, image: torch.Tensor) -> list[Array]:
    """Pixels, scores and further values of one image; probabilities of a classifier.

    Pixels are boxes xyxy, followed by x and y of the keypoints; of oriented boxes x y w h.
    """
    with torch.no_grad():
        outputs = model(image)
    if model.facts.task == "classify":
        return [outputs.softmax(1).double().numpy()]
    strides, head = model.facts.strides, model.tower_head
    boxes, classes, further = (outputs[kind * len(strides) : (kind + 1) * len(strides)] for kind in range(3))
    if isinstance(head, ObbHead):
        oriented, scores = decode_oriented(boxes, classes, further, strides, logit=head.logit)
        return [value[0].double().numpy() for value in (oriented[..., :4], scores, oriented[..., 4:])]
    found = list(decode(boxes, classes, strides))
    if isinstance(head, PoseTowers):
        shape = (head.points, head.values)
        points = decode_keypoints(further, strides, shape, centred=head.centred)
        found = [torch.cat([found[0], points[..., :2].flatten(2)], 2), found[1], points[..., 2]]
    if model.mask_count:
        found += [rows_of(further), outputs[-1]]
    return [value[0].double().numpy() for value in found]


def _published(arrays: Any, head: HeadName, class_count: int, task: str) -> list[Array]:
    """The original code's answer in the same form; a one-to-one head's 300 best boxes with score and class."""
    if task == "classify":
        return [arrays["output0"].astype(np.float64)]
    if head == "one2one":
        rows = arrays["end2end0"][0].astype(np.float64)
        return [rows[:, :4], rows[:, 4], rows[:, 5]]
    rows = arrays["output0"][0].T.astype(np.float64)
    xy, wh, scores, rest = np.split(rows, (2, 4, 4 + class_count), axis=1)
    if task == "obb":
        return [rows[:, :4], scores, rest]
    found = [np.concatenate([xy - wh / 2, xy + wh / 2], 1), scores]
    if task == "pose":
        points = rest.reshape(len(rest), -1, 3)
        return [np.concatenate([found[0], points[..., :2].reshape(len(rest), -1)], 1), scores, points[..., 2]]
    return [*found, rest, arrays["output1"][0].astype(np.float64)] if task == "instances" else found


def _best_pairs(boxes: Array, scores: Array, count: int) -> list[Array]:
    pairs = np.argsort(-scores.ravel(), kind="stable")[:count]
    row, label = np.divmod(pairs, scores.shape[1])
    return [boxes[row], scores[row, label], label.astype(np.float64)]


def _worst(actual: list[Array], expected: list[Array]) -> tuple[float, float]:
    """The largest difference of boxes in pixels and of other values relative to their largest."""
    boxes = float(np.abs(actual[0] - expected[0]).max()) if len(actual) > 1 else 0.0
    others = zip(actual[len(actual) > 1 :], expected[len(actual) > 1 :], strict=True)
    return boxes, max(float(np.abs(a - e).max() / np.abs(e).max()) for a, e in others)


@pytest.mark.parametrize("name", FILES)
def test_raw_outputs_are_the_original_codes(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, arrays = read_checkpoint(folder / f"{name}.pt"), np.load(folder / f"{name}.npz")
    picture = torch.from_numpy(arrays["image_bgr"][..., ::-1].copy()).permute(2, 0, 1)[None]
    rows = []
    for head in ultralytics_from_checkpoint(checkpoint).facts.heads:
        model = ultralytics_from_checkpoint(checkpoint, head)
        single = _decoded(model, picture.float() / 255)
        double = _decoded(model.double(), picture.double() / 255)
        expected = _published(arrays, head, model.facts.class_count, model.facts.task)
        noise = _worst(single, double)
        if head == "one2one":
            single = _best_pairs(single[0], single[1], len(expected[0]))
            same = [np.abs(single[1] - expected[1]) < 1e-3]
            assert same[0].all()
            # Boxes of nearly equal scores may change places: those of the same box and class are compared.
            kept = np.abs(single[0] - expected[0]).max(1) < 1
            assert kept.mean() > 0.9
            single, expected = [[value[kept] for value in values] for values in (single, expected)]
            assert np.array_equal(single.pop(), expected.pop())
        pixels, relative = _worst(single, expected)
        rows.append([name, head, f"{pixels:.2g}", f"{relative:.2g}", f"{noise[0]:.2g}", f"{noise[1]:.2g}"])
        assert pixels <= max(PIXELS, NOISE * noise[0])
        assert relative <= max(RELATIVE, NOISE * noise[1])
    columns = ["file", "head", "px", "relative", "own noise px", "own noise relative"]
    with capsys.disabled():
        print("\n" + "\n".join(table(columns, rows)), end="")


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
