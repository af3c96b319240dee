"""RRDBNet: super-resolution with the weights of ESRGAN (arXiv 1809.00219) and Real-ESRGAN (arXiv 2107.10833).

The published networks take and make RGB in 0..1, at any size. For a frame of 128x128, RealESRGAN_x4plus needs 0.3e12
multiplications. The default size is therefore small; `run --tiles` covers larger frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.translators.rrdb import RRDBNet


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe; names of ESRGAN's older files are converted."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.translators.rrdb import rrdb_from_state_dict

    return _source_model(rrdb_from_state_dict(read_checkpoint(checkpoint).tensors))


def untrained() -> SourceModel:
    """Factor 4, six blocks, as in RealESRGAN_x4plus_anime_6B."""
    import torch

    from edgevision.models.translators.rrdb import RRDBNet, RrdbShape

    torch.manual_seed(0)
    return _source_model(RRDBNet(RrdbShape(blocks=6)).eval())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names, new or old."""
    from edgevision.models.translators.rrdb import is_rrdb

    return checkpoint.module is None and is_rrdb(checkpoint.tensors)


def _source_model(model: RRDBNet) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    variant = f"RRDBNet x{model.shape.factor}, {model.shape.blocks} blocks, {parameters:,} parameters"
    return SourceModel(model, variant, (), stride=model.shape.reduction)


RECIPE = Recipe(
    name="rrdbnet",
    task="translate",
    summary="super-resolution with the weights of ESRGAN and Real-ESRGAN",
    size_wh=(128, 128),
    stride=1,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
)
