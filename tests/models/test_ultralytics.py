"""Pickled models of the Ultralytics package: every rebuilt model computes the same as its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.errors import CheckpointError
from edgevision.export.network import onnx_from_module, run_network
from edgevision.models.ultralytics.heads import HEADS
from edgevision.models.ultralytics.kinds import ULTRALYTICS_KINDS
from edgevision.models.ultralytics.model import UltralyticsModel, ultralytics_from_checkpoint
from edgevision.models.ultralytics.plan import yolov8n
from tests.models import forged_ultralytics as blocks
from tests.models import forged_ultralytics_heads as heads
from tests.models.forged_layers import C3Ghost, Concat, Conv, Row

Image = Callable[..., torch.Tensor]

LAYERS: dict[str, tuple[tuple[Any, ...], int]] = {
    "A2C2f": ((blocks.A2C2f, 16, 32), 32),
    "A2C2f of four areas with gamma": ((blocks.A2C2f, 16, 16, 1, 4, True), 16),
    "AConv": ((blocks.AConv, 16, 24), 24),
    "ADown": ((blocks.ADown, 16, 24), 24),
    "C2": ((blocks.C2, 16, 24, 2), 24),
    "C2PSA": ((blocks.C2PSA, 16, 2), 16),
    "C2f": ((blocks.C2f, 16, 24, 2, True), 24),
    "C2f without shortcut": ((blocks.C2f, 16, 24, 2), 24),
    "C2fCIB": ((blocks.C2fCIB, 16, 24, 1, True), 24),
    "C2fPSA": ((blocks.C2fPSA, 16, 24), 24),
    "C3Ghost": ((C3Ghost, 16, 24), 24),
    "C3k2": ((blocks.C3k2, 16, 24, 2, True), 24),
    "ELAN1": ((blocks.ELAN1, 16, 24, 16, 8), 24),
    "PSA": ((blocks.PSA, 16), 16),
    "PSABlock without shortcut": ((blocks.PSABlock, 16, 2, False), 16),
    "RepConv": ((blocks.RepConv, 16, 24), 24),
    "RepConv with identity": ((blocks.RepConv, 16, 16, True), 16),
    "RepNCSPELAN4": ((blocks.RepNCSPELAN4, 16, 24, 16, 8), 24),
    "ResNetLayer": ((blocks.ResNetLayer, 16, 8), 32),
    "SCDown": ((blocks.SCDown, 16, 24), 24),
    "SPPELAN": ((blocks.SPPELAN, 16, 24, 8), 24),
    "SPPF": ((blocks.SPPF, 16, 24), 24),
    "SPPF of two pools with shortcut": ((blocks.SPPF, 16, 16, 2, True), 16),
}


def _rows(kind: str) -> list[Row]:
    """A stem, the layer and a head."""
    stem = (-1, Conv, 3, 16, 3, 2)
    if kind == "CBFuse":
        linear = (-1, blocks.CBLinear, 16, [8, 16])
        small = (-1, Conv, 16, 16, 3, 2)
        return [stem, small, linear, ([2, 0], blocks.CBFuse, [1]), ([3], heads.Detect, 2, [16])]
    layer, channels = LAYERS[kind]
    return [stem, (-1, *layer), ([1], heads.Detect, 2, [channels])]


KINDS = (*LAYERS, "CBFuse")


def _load(path: Path, head: Any = None) -> UltralyticsModel:
    return ultralytics_from_checkpoint(read_checkpoint(path), head)


def _differ(expected: Any, actual: Any) -> float:
    assert [map_.shape for map_ in expected] == [map_.shape for map_ in actual]
    return max(float((left - right).abs().max()) for left, right in zip(expected, actual, strict=True))


def _model(forge: Any, rows: list[Row], kind: type[Any] = heads.DetectionModel, **state: object) -> Any:
    model = forge.model(rows, kind=kind)
    for name, value in state.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_is_rebuilt_folded_and_exported(kind: str, forge: Any, random_image: Image) -> None:
    source = _model(forge, _rows(kind))
    image = random_image(32)
    with torch.no_grad():
        expected = source(image)
        rebuilt = _load(forge.save_ultralytics({"ema": None, "model": source}))
        assert _differ(expected, rebuilt(image)) < 1e-4
        assert float(expected[0].std()) > 1e-3, "a constant map would show nothing"
        assert _differ(expected, rebuilt.fuse()(image)) < 1e-3
        images = torch.cat([image, image.flip(2)])
        both = rebuilt(images)
    network = onnx_from_module(rebuilt, (32, 32), 1, dynamic_batch=True)
    assert _differ(both, [torch.from_numpy(map_) for map_ in run_network(network, images.numpy())]) < 1e-3


def test_parallel_convolutions_become_one(forge: Any) -> None:
    model = _load(forge.save_ultralytics({"model": _model(forge, _rows("RepConv"))})).fuse()
    assert [type(part).__name__ for part in model.model[1].children()] == ["SiLU", "Conv2d"]
    with_identity = _load(
        forge.save_ultralytics({"model": _model(forge, _rows("RepConv with identity"))})
    ).fuse()
    assert with_identity.model[1].branches == ("conv1", "conv2", "bn")


def _two_scales(head: type[Any], *arguments: Any) -> list[Row]:
    return [
        (-1, Conv, 3, 16, 3, 2),
        (-1, Conv, 16, 16, 3, 2),
        (-1, Conv, 16, 24, 3, 2),
        (-1, nn.Upsample, None, 2, "nearest"),
        ([-1, 1], Concat),
        ([4, 2], head, 2, [40, 24], *arguments),
    ]


HEAD_CASES: dict[str, tuple[list[Row], str]] = {
    "Detect": (_two_scales(heads.Detect), "detect"),
    "Detect of one bin": (_two_scales(heads.Detect, 1), "detect"),
    "OBB": (_two_scales(heads.OBB), "obb"),
    "OBB26": (_two_scales(heads.OBB26), "obb"),
    "Pose": (_two_scales(heads.Pose), "pose"),
    "Pose26": (_two_scales(heads.Pose26), "pose"),
    "Segment": (_two_scales(heads.Segment), "instances"),
    "Segment26": (_two_scales(heads.Segment26), "instances"),
    "v10Detect": (_two_scales(heads.v10Detect, 4, True), "detect"),
    "Classify": ([(-1, Conv, 3, 16, 3, 2), (-1, heads.Classify, 16, 7)], "classify"),
}


@pytest.mark.parametrize("case", HEAD_CASES)
def test_each_head_is_rebuilt(case: str, forge: Any, random_image: Image) -> None:
    rows, task = HEAD_CASES[case]
    source, image = _model(forge, rows, names={0: "cat", 1: "dog"}), random_image(32)
    model = _load(forge.save_ultralytics({"model": source}))
    with torch.no_grad():
        expected, actual = source(image), model(image)
    if task == "classify":
        assert _differ([expected], [actual]) < 1e-5
        assert model.facts.names == tuple("0123456")
        assert model.facts.strides == ()
    else:
        assert _differ(expected, actual) < 1e-4
        assert model.facts.names == ("cat", "dog")
        assert model.facts.strides == (4, 8)
    assert model.facts.task == task
    assert model.mask_count == (5 if task == "instances" else 0)


def test_every_head_is_covered() -> None:
    assert set(HEADS) == {case.split(" ")[0] for case in HEAD_CASES}


def test_the_one_to_one_head_is_the_files_choice(forge: Any, random_image: Image) -> None:
    source, image = _model(forge, HEAD_CASES["v10Detect"][0]), random_image(32)
    path = forge.save_ultralytics({"model": source})
    head = source.model[-1]
    one2one, one2many, default = _load(path, "one2one"), _load(path, "one2many"), _load(path)
    assert default.facts.heads == ("one2one", "one2many")
    assert (one2one.facts.head, one2many.facts.head, default.facts.head) == ("one2one", "one2many", "one2one")
    with torch.no_grad():
        expected = source(image)
        assert _differ(expected, one2one(image)) < 1e-4
        maps = one2many(image)
        assert _differ(expected, maps) > 1e-2
        del head.one2one_cv2, head.one2one_cv3
        assert _differ(source(image), maps) < 1e-4


def test_a_switch_in_the_file_takes_the_other_head(forge: Any) -> None:
    source = _model(forge, HEAD_CASES["v10Detect"][0])
    source.model[-1]._end2end = False
    assert _load(forge.save_ultralytics({"model": source})).facts.heads == ("one2many", "one2one")


def test_a_fused_file_has_only_its_one_to_one_head(forge: Any) -> None:
    source = _model(forge, HEAD_CASES["v10Detect"][0])
    source.model[-1].cv2 = source.model[-1].cv3 = None
    path = forge.save_ultralytics({"model": source})
    assert _load(path).facts.heads == ("one2one",)
    with pytest.raises(CheckpointError, match="it has no head one2many; its heads: one2one"):
        _load(path, "one2many")


def test_the_average_is_taken(forge: Any) -> None:
    last, average = (_model(forge, HEAD_CASES["Detect"][0]) for _ in range(2))
    nn.init.constant_(average.model[5].cv3[0][2].bias, 7)
    model = _load(forge.save_ultralytics({"model": last, "ema": average}))
    assert model.state_dict()["model.5.cv3.0.2.bias"].unique().tolist() == [7]


def test_name_and_size_come_from_the_file(forge: Any) -> None:
    described: dict[str, Any] = {"yaml": {"yaml_file": "cfg/yolo11n.yaml"}, "args": {"imgsz": 320}}
    model = _load(forge.save_ultralytics({"model": _model(forge, HEAD_CASES["Detect"][0], **described)}))
    assert model.facts.variant == "yolo11n, 2 classes"
    assert model.facts.size == 320
    odd: dict[str, Any] = {"yaml": {"yaml_file": "\x1b[31m.yaml"}, "args": {"imgsz": "640"}}
    model = _load(forge.save_ultralytics({"model": _model(forge, HEAD_CASES["Detect"][0], **odd)}))
    assert model.facts.variant == "a model, 2 classes"
    assert model.facts.size is None


def _broken(forge: Any, change: Callable[[Any], None], case: str = "Detect") -> Path:
    source = _model(forge, HEAD_CASES[case][0])
    change(source)
    path: Path = forge.save_ultralytics({"model": source})
    return path


def _set(layer: int, **values: object) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for name, value in values.items():
            setattr(model.model[layer], name, value)

    return change


def _count_from_one(model: Any) -> None:
    model.model[5].dfl.conv.weight.data += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(5, nc=0, f=[4, 2, 1]), "its layers do not fit together"),
        (_set(5, reg_max=5), "its head has .* channels, expected 20 for boxes"),
        (_set(5, reg_max=1 << 40), "reg_max is 1099511627776, expected 1 to 64"),
        (_set(5, reg_max="4"), "layer 5: Detect.reg_max is a str, expected a whole number"),
        (_set(5, cv3=nn.ModuleList()), "towers cv2, cv3 have different numbers of scales"),
        (_set(5, extra=nn.Identity()), "layer 5: Detect with an unknown part 'extra'"),
        (_set(4, f=[7, 1]), "layer 4: its inputs are not earlier layers"),
        (_count_from_one, "dfl.'conv.weight' does not count its bins from 0"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: Callable[[Any], None], message: str, forge: Any) -> None:
    path = _broken(forge, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        _load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_unknown_layers_and_heads_are_named(forge: Any) -> None:
    rows = _two_scales(heads.WorldDetect)
    with pytest.raises(
        CheckpointError, match=r"its head 'ultralytics.nn.modules.head.WorldDetect' is not supported"
    ):
        _load(forge.save_ultralytics({"model": _model(forge, rows)}))
    strange = HEAD_CASES["Detect"][0].copy()
    strange.insert(1, (-1, heads.DFL, 4))
    with pytest.raises(CheckpointError, match=r"layer 1: unknown layer 'ultralytics.nn.modules.head.DFL'"):
        _load(forge.save_ultralytics({"model": _model(forge, strange)}))


def test_bare_weights_are_refused(tmp_path: Path) -> None:
    torch.save(yolov8n(2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="bare weights, which do not describe their layers"):
        _load(tmp_path / "a.pt")


def test_every_builder_is_covered() -> None:
    """Kinds that no test pickles are those that PyTorch or YOLOv5's tests cover, and parts of tested layers."""
    tested = {cls.__name__ for cls in blocks.BLOCKS}
    own = {name for name in ULTRALYTICS_KINDS if not name.startswith("nn.")}
    yolov5 = {"C3SPP", "C3TR", "C3x", "CrossConv", "DWConvTranspose2d", "Focus", "SPP", "Proto"}
    assert own - tested == yolov5


def test_a_described_yolov8n_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in yolov8n(80).parameters()) == 3_157_184
