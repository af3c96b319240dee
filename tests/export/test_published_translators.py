"""Checkpoints of published image-to-image networks, from their files to the images of verified graphs.

Each network is computed a second time by plain functions on the state dict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.bundle.folder import Bundle
from edgevision.contract.results import Translation
from edgevision.engines.opening import open_session
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.half import with_fp16
from edgevision.export.recognition import recipe_of
from edgevision.models.translators.fast_style import FastStyleNetwork, fast_style_from_state_dict
from edgevision.models.translators.rrdb import RRDBNet, RrdbShape, rrdb_from_state_dict, with_present_names
from edgevision.models.translators.srvgg import Activation, SRVGGNetCompact, srvgg_from_state_dict

Weights = Mapping[str, torch.Tensor]
SIZE_WH = (24, 16)


def conv(weights: Weights, name: str, x: torch.Tensor, *, edge: int = 1, stride: int = 1) -> torch.Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, edge)


def plain_rrdb(weights: Weights, x: torch.Tensor, reduction: int = 1) -> torch.Tensor:
    """Written from ESRGAN's figures 3 and 4."""
    batch, channels, height, width = x.shape
    r = reduction
    x = x.reshape(batch, channels, height // r, r, width // r, r).permute(0, 1, 3, 5, 2, 4)
    first = features = conv(weights, "conv_first", x.reshape(batch, -1, height // r, width // r))
    for block in range(1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body."))):
        entered = features
        for dense in (1, 2, 3):
            known = features
            for number in (1, 2, 3, 4, 5):
                made = conv(weights, f"body.{block}.rdb{dense}.conv{number}", known)
                if number < 5:
                    known = torch.cat((known, torch.where(made > 0, made, 0.2 * made)), 1)
            features = features + 0.2 * made
        features = entered + 0.2 * features
    features = first + conv(weights, "conv_body", features)
    for name in ("conv_up1", "conv_up2"):
        features = features.repeat_interleave(2, 2).repeat_interleave(2, 3)
        features = F.leaky_relu(conv(weights, name, features), 0.2)
    return conv(weights, "conv_last", F.leaky_relu(conv(weights, "conv_hr", features), 0.2))


def plain_srvgg(weights: Weights, x: torch.Tensor, activation: Activation = "prelu") -> torch.Tensor:
    features, last = x, max(int(name.split(".")[1]) for name in weights)
    for number in range(0, last, 2):
        features = conv(weights, f"body.{number}", features)
        slope = {"relu": torch.zeros(1), "leakyrelu": torch.full((1,), 0.1)}.get(activation)
        slope = weights[f"body.{number + 1}.weight"] if slope is None else slope
        features = torch.where(features > 0, features, slope[:, None, None] * features)
    blocks = conv(weights, f"body.{last}", features)
    batch, channels, height, width = blocks.shape
    r = round((channels / 3) ** 0.5)
    made = blocks.reshape(batch, 3, r, r, height, width).permute(0, 1, 4, 2, 5, 3)
    made = made.reshape(batch, 3, height * r, width * r)
    return made + x.repeat_interleave(r, 2).repeat_interleave(r, 3)


def plain_style(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    def layer(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        edge = weights[f"{name}.conv2d.weight"].shape[-1] // 2
        x = nn.ReflectionPad2d(edge)(x)
        return conv(weights, f"{name}.conv2d", x, edge=0, stride=stride)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3), keepdim=True)
        deviation = (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        return (x - mean) / deviation * weights[f"{name}.weight"].view(1, -1, 1, 1) + weights[
            f"{name}.bias"
        ].view(1, -1, 1, 1)

    for number, stride in ((1, 1), (2, 2), (3, 2)):
        x = norm(f"in{number}", layer(f"conv{number}", x, stride)).relu()
    for number in range(1, 6):
        if f"res{number}.in1.weight" in weights:
            inner = norm(f"res{number}.in1", layer(f"res{number}.conv1", x)).relu()
            x = x + norm(f"res{number}.in2", layer(f"res{number}.conv2", inner))
    for number in (1, 2):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = norm(f"in{number + 3}", layer(f"deconv{number}", x)).relu()
    return layer("deconv3", x)


def random_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of a model by name, different from those that it starts with; images of a style are not black."""
    drawn = torch.Generator().manual_seed(1)
    found = {
        name: value + 0.05 * torch.randn(value.shape, generator=drawn)
        for name, value in model.state_dict().items()
    }
    if isinstance(model, FastStyleNetwork):
        found["deconv3.conv2d.weight"] *= 20
        found["deconv3.conv2d.bias"] += 128
    return found


@dataclass(frozen=True)
class Case:
    recipe: str
    model: nn.Module
    plain: Callable[[Weights, torch.Tensor], torch.Tensor]
    factor: int
    variant: str
    scale: float = 1 / 255


torch.manual_seed(0)
CASES = {
    "rrdb-x4": Case("rrdbnet", RRDBNet(RrdbShape(2, 8, 4)), plain_rrdb, 4, "RRDBNet x4, 2 blocks"),
    "rrdb-x2": Case(
        "rrdbnet",
        RRDBNet(RrdbShape(1, 6, 5, reduction=2)),
        lambda weights, x: plain_rrdb(weights, x, 2),
        2,
        "RRDBNet x2, 1 blocks",
    ),
    "srvgg-x4": Case("srvgg", SRVGGNetCompact(4, 8, 3), plain_srvgg, 4, "SRVGGNetCompact x4"),
    "srvgg-x2": Case("srvgg", SRVGGNetCompact(2, 6, 1), plain_srvgg, 2, "SRVGGNetCompact x2"),
    "style": Case("fast-style", FastStyleNetwork((4, 6, 8), 5), plain_style, 1, "fast style network", 1.0),
}


def frames(count: int = 1) -> np.ndarray:
    width, height = SIZE_WH
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def made_by(bundle: Bundle, precision: str = "float") -> np.ndarray:
    from edgevision.contract.session import SessionOptions

    options = SessionOptions(precision=precision)  # type: ignore[arg-type]  # one of two
    with open_session(bundle.path, engine="onnxruntime", options=options) as session:
        (result,) = session(list(frames()))
    assert isinstance(result, Translation)
    return result.image


def expected_of(case: Case, weights: Weights) -> np.ndarray:
    x = torch.from_numpy(frames()[..., ::-1].copy()).permute(0, 3, 1, 2).float() * case.scale
    with torch.inference_mode():
        made = case.plain(weights, x)
    levels = (made[0] / case.scale).clamp(0, 255).permute(1, 2, 0).numpy()
    return np.asarray(levels[..., ::-1])


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_becomes_a_verified_bundle(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    weights = random_weights(case.model)
    file = tmp_path / "net.pth"
    torch.save({"params_ema": weights, "params": {key: -value for key, value in weights.items()}}, file)
    recipe = recipe_of(file)
    assert recipe.name == case.recipe
    said: list[str] = []
    options = ExportOptions(checkpoint=file, size_wh=SIZE_WH)
    bundle = with_fp16(export_bundle(recipe, options, tmp_path / "b", said.append), said.append)
    assert any(case.variant in line for line in said)
    assert {graph.precision for graph in bundle.manifest.graphs} == {"float", "fp16"}
    records = [record for graph in bundle.manifest.graphs for record in graph.verifications]
    assert len(records) >= 3
    assert all(record.passed for record in records)
    expected = expected_of(case, weights)
    assert expected.shape == (SIZE_WH[1] * case.factor, SIZE_WH[0] * case.factor, 3)
    assert expected.std() > 5
    made = made_by(bundle)
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 0.51
    assert np.abs(made_by(bundle, "fp16") - expected).max() <= 8


def listed_names(weights: Weights, enlargements: int) -> dict[str, torch.Tensor]:
    """The oldest names of ESRGAN's weights."""
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body."))
    last = 4 + 3 * enlargements
    places = {
        "conv_first": "0",
        "conv_body": f"1.sub.{blocks}",
        "conv_hr": str(last - 2),
        "conv_last": str(last),
    }
    places.update({f"conv_up{number}": str(3 * number) for number in range(1, enlargements + 1)})
    found = {}
    for name, value in weights.items():
        layer, _, parameter = name.rpartition(".")
        if layer in places:
            found[f"model.{places[layer]}.{parameter}"] = value
        else:
            _, block, dense, convolution = layer.split(".")
            found[f"model.1.sub.{block}.{dense.upper()}.{convolution}.0.{parameter}"] = value
    return found


def named_names(weights: Weights) -> dict[str, torch.Tensor]:
    """The second names of ESRGAN's weights."""
    words = (
        *(("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), (".rdb", ".RDB")),
        *(("conv_up", "upconv"), ("conv_hr", "HRconv")),
    )
    found = {}
    for name, value in weights.items():
        for after, before in words:
            name = name.replace(after, before)
        found[name] = value
    return found


@pytest.mark.parametrize("prefix", ["", "generator."])
@pytest.mark.parametrize(
    ("enlargements", "naming"), [(2, "listed"), (1, "listed"), (3, "listed"), (2, "named")]
)
def test_older_names_are_converted(enlargements: int, naming: str, prefix: str, tmp_path: Path) -> None:
    weights = random_weights(RRDBNet(RrdbShape(3, 8, 4, enlargements)))
    old = listed_names(weights, enlargements) if naming == "listed" else named_names(weights)
    assert not old.keys() & {"conv_body.weight", "conv_hr.weight"}
    model = rrdb_from_state_dict({prefix + name: value for name, value in old.items()})
    assert model.shape == RrdbShape(3, 8, 4, enlargements)
    assert model.shape.factor == 2**enlargements
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    safetensors.torch.save_file(
        {prefix + name: value for name, value in old.items()}, tmp_path / "old.safetensors"
    )
    assert recipe_of(tmp_path / "old.safetensors").name == "rrdbnet"


def test_public_names_of_both_old_forms() -> None:
    zeros = torch.zeros(1)
    old = ("model.0.bias", "model.1.sub.0.RDB1.conv1.0.weight", "model.1.sub.23.weight", "model.10.bias")
    assert list(with_present_names({**dict.fromkeys(old, zeros), "model.0.weight": zeros})) == [
        *("conv_first.bias", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.bias"),
        "conv_first.weight",
    ]
    second = ("RRDB_trunk.22.RDB3.conv5.bias", "trunk_conv.weight", "upconv2.bias", "HRconv.weight")
    assert list(with_present_names(dict.fromkeys(second, zeros))) == [
        *("body.22.rdb3.conv5.bias", "conv_body.weight", "conv_up2.bias", "conv_hr.weight")
    ]


def test_the_published_sizes() -> None:
    """RealESRGAN_x4plus, RealESRGAN_x4plus_anime_6B, realesr-general-x4v3 and the style networks, by hand."""
    block = 3 * (9 * (64 * 32 + 96 * 32 + 128 * 32 + 160 * 32 + 192 * 64) + 4 * 32 + 64)
    around = 9 * 3 * 64 + 64 + 4 * (9 * 64 * 64 + 64) + 9 * 64 * 3 + 3
    compact = 9 * 3 * 64 + 64 + 32 * (9 * 64 * 64 + 64) + 33 * 64 + 9 * 64 * 48 + 48
    residual = 2 * (9 * 128 * 128 + 128) + 4 * 128
    style = 2 * 81 * 3 * 32 + 2 * 9 * (32 * 64 + 64 * 128) + 2 * 32 + 2 * 64 + 128 + 3 + 2 * (2 * 96 + 128)
    with torch.device("meta"):
        counted = [
            sum(tensor.numel() for tensor in model.parameters())
            for model in (
                RRDBNet(RrdbShape()),
                RRDBNet(RrdbShape(blocks=6)),
                SRVGGNetCompact(4, 64, 32),
                FastStyleNetwork(),
            )
        ]
    assert counted == [23 * block + around, 6 * block + around, compact, style + 5 * residual]
    assert counted[0] == 16_697_987


@pytest.mark.parametrize("activation", [None, "relu", "leakyrelu"])
def test_an_activation_without_weights_is_chosen(activation: Activation | None, tmp_path: Path) -> None:
    weights = random_weights(SRVGGNetCompact(2, 6, 2, "relu"))
    torch.save({"params": weights}, tmp_path / "net.pth")
    recipe = recipe_of(tmp_path / "net.pth")
    said: list[str] = []
    options = ExportOptions(checkpoint=tmp_path / "net.pth", size_wh=SIZE_WH, head=activation)
    bundle = export_bundle(recipe, options, tmp_path / "b", said.append)
    used: Activation = activation or "relu"
    assert any(f"activation {used}" in line for line in said)
    case = Case("srvgg", nn.Identity(), lambda w, x: plain_srvgg(w, x, used), 2, "")
    assert np.abs(made_by(bundle) - expected_of(case, weights)).max() <= 0.51


def test_another_activation_than_prelu_is_an_error_for_weights_of_one(tmp_path: Path) -> None:
    torch.save(SRVGGNetCompact(2, 6, 2).state_dict(), tmp_path / "net.pth")
    options = ExportOptions(checkpoint=tmp_path / "net.pth", size_wh=SIZE_WH, head="relu")
    with pytest.raises(UsageError, match="it has only one head"):
        export_bundle(recipe_of(tmp_path / "net.pth"), options, tmp_path / "b", lambda _: None)


def test_statistics_of_old_style_files_are_dropped(tmp_path: Path) -> None:
    model = FastStyleNetwork((4, 6, 8), 2)
    old = dict(random_weights(model))
    for name in [name for name in old if name.rpartition(".")[0].split(".")[-1].startswith("in")]:
        layer = name.rpartition(".")[0]
        old[f"{layer}.running_mean"] = torch.full_like(old[f"{layer}.weight"], 7.0)
        old[f"{layer}.running_var"] = torch.full_like(old[f"{layer}.weight"], 9.0)
    torch.save(old, tmp_path / "mosaic.pth")
    assert recipe_of(tmp_path / "mosaic.pth").name == "fast-style"
    found = fast_style_from_state_dict(old)
    assert found.depth == 2
    assert found.state_dict().keys() == model.state_dict().keys()
    x = torch.rand(1, 3, 16, 24) * 255
    with torch.inference_mode():
        assert torch.allclose(found(x), plain_style(old, x), atol=1e-2)


def test_a_size_that_is_no_multiple_is_an_error(tmp_path: Path) -> None:
    torch.save(CASES["rrdb-x2"].model.state_dict(), tmp_path / "net.pth")
    options = ExportOptions(checkpoint=tmp_path / "net.pth", size_wh=(25, 16))
    with pytest.raises(UsageError, match="--size 25x16: rrdbnet needs multiples of 2"):
        export_bundle(recipe_of(tmp_path / "net.pth"), options, tmp_path / "b", lambda _: None)


@pytest.mark.parametrize(
    ("build", "weights", "message"),
    [
        (rrdb_from_state_dict, {"a": torch.zeros(1, 1)}, "not the weights of an RRDBNet"),
        (srvgg_from_state_dict, {"body.0.weight": torch.zeros(4, 3, 3, 3)}, "not the weights of an SRVGG"),
        (
            fast_style_from_state_dict,
            {"conv1.conv2d.weight": torch.zeros(4)},
            "not the weights of a FastStyle",
        ),
        (
            rrdb_from_state_dict,
            {**RRDBNet(RrdbShape(1, 4, 4)).state_dict(), "conv_first.weight": torch.zeros(4, 7, 3, 3)},
            "of 7 input channels and 2 enlargements by 2; expected 3 channels",
        ),
        (
            rrdb_from_state_dict,
            {
                **RRDBNet(RrdbShape(1, 4, 4)).state_dict(),
                "body.0.rdb1.conv1x1.weight": torch.zeros(4, 4, 1, 1),
            },
            "not expected: body.0.rdb1.conv1x1.weight",
        ),
        (
            rrdb_from_state_dict,
            {
                **RRDBNet(RrdbShape(1, 4, 4, 1)).state_dict(),
                "conv_first.weight": torch.zeros(4, 48, 3, 3),
            },
            "48 with at least two",
        ),
    ],
)
def test_other_weights_are_errors(
    build: Callable[[Weights], nn.Module], weights: Weights, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        build(weights)
