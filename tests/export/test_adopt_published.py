"""ONNX files of published image-to-image networks, as PyTorch's exporter writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgevision.contract.results import Translation
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.foreign.pixels import PixelChanges
from edgevision.models.translators.fast_style import FastStyleNetwork
from edgevision.models.translators.rrdb import RRDBNet, RrdbShape
from edgevision.models.translators.srvgg import SRVGGNetCompact

SIDE = (48, 64)
"""Height and width of the inputs."""


def quiet(_: str) -> None:
    """Progress that is discarded."""


def published(name: str) -> torch.nn.Module:
    """A small network of a public family, whose images are neither black nor white."""
    torch.manual_seed(0)
    if name == "srvgg":
        return SRVGGNetCompact(4, 8, 2).eval()
    if name == "style":
        module: torch.nn.Module = FastStyleNetwork((4, 6, 8), 1)
        last, factor, offset = "deconv3.conv2d", 20.0, 128.0
    else:
        module = RRDBNet(RrdbShape(1, 8, 4, reduction=2 if name.endswith("x2") else 1))
        last, factor, offset = "conv_last", 10.0, 0.5
    weights = module.state_dict()
    module.load_state_dict(
        {
            **weights,
            f"{last}.weight": weights[f"{last}.weight"] * factor,
            f"{last}.bias": torch.full_like(weights[f"{last}.bias"], offset),
        }
    )
    return module.eval()


@pytest.mark.filterwarnings("ignore")  # of the exporter itself
@pytest.mark.parametrize(
    ("name", "dynamic"),
    [("rrdbnet", False), ("rrdbnet x2", True), ("srvgg", True), ("style", False), ("style", True)],
)
def test_files_of_pytorch_s_exporter(name: str, dynamic: bool, tmp_path: Path) -> None:
    """Of published families, as their users export them: with fixed sides, or with open ones."""
    module, file = published(name), tmp_path / "net.onnx"
    axes = {key: {0: "batch", 2: f"{key} height", 3: f"{key} width"} for key in ("x", "y")}
    torch.onnx.export(
        module,
        (torch.rand(1, 3, *SIDE),),
        str(file),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes=axes if dynamic else None,
        dynamo=False,
    )
    levels = name == "style"
    head = "image" if levels else None
    changes = PixelChanges(scale=1.0 if levels else None)
    if dynamic:
        with pytest.raises(GraphError, match="images of any size .* choose a size with --size WxH"):
            adopt(file, head, AdoptOptions(pixel_changes=changes))
    size_wh = SIDE[::-1] if dynamic else None
    options = AdoptOptions(size_wh=size_wh, pixel_changes=changes)
    bundle = adopt_bundle(file, head, options, None, tmp_path / "b", quiet)
    frame = np.random.default_rng(0).integers(0, 256, (*SIDE, 3), np.uint8)
    scale = 1.0 if levels else 1 / 255
    x = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float() * scale
    with torch.inference_mode():
        made = (module(x)[0] / scale).clamp(0, 255).permute(1, 2, 0).numpy()[..., ::-1]
    with open_session(bundle.path, engine="onnxruntime") as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    assert 3 < made.std() < 120
    assert result.image.shape == made.shape
    assert np.abs(result.image - made).max() <= 0.51


@pytest.mark.filterwarnings("ignore")  # of the exporter itself
def test_a_style_network_without_its_scale_is_an_error(tmp_path: Path) -> None:
    """Values of 0 to 255, taken for 0 to 1."""
    file = tmp_path / "style.onnx"
    torch.onnx.export(published("style"), (torch.rand(1, 3, *SIDE),), str(file), dynamo=False)
    with pytest.raises(GraphError, match="For values 0 to 255 use --scale 1"):
        adopt_bundle(file, "image", AdoptOptions(), None, tmp_path / "b", quiet)
