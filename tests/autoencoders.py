"""An autoencoder of blocks in numpy: no training and no torch. And a small VAE with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision.contract.inputs import BatchRange, InputTensor, TensorInput, Tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import ModelSpec, TensorSpec, translate_outputs
from edgevision.inference.coding import Autoencoder
from tests.doubles import PROVENANCE

if TYPE_CHECKING:
    from edgevision.models.generators.vae import Vae

SIDE = 4
CLASSES = ("plain", "chequered")
STEP = 20
"""Levels that the class "chequered" adds to every other pixel, and takes from the rest."""
BOARD = np.indices((SIDE, SIDE)).sum(0) % 2 * 2 - 1


def blocks(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images uint8 ``[B,4,4,3]``: four blocks of the codes' values, in levels of 255, and a chequerboard."""
    levels = np.asarray(values, np.float32).reshape(-1, 2, 2).repeat(2, 1).repeat(2, 2) * 255
    levels = levels + labels.reshape(-1, 1, 1) * STEP * BOARD
    images: np.ndarray = np.rint(levels.clip(0, 255)).astype(np.uint8)[..., None].repeat(3, 3)
    return images


class _Numpy(Session):
    """One of both graphs."""

    def __init__(self, spec: ModelSpec, run: Callable[..., np.ndarray]) -> None:
        super().__init__(spec, EngineInfo("numpy", "numpy", "cpu"))
        self._run, self.closed = run, False
        self.batches: list[int] = []

    def _infer(self, frames: Frames) -> Outputs:
        raise AssertionError("it takes no frames")

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        self.batches.append(len(tensors))
        return (self._run(*tensors.arrays),)

    def close(self) -> None:
        self.closed = True


def _encoded(images: np.ndarray) -> np.ndarray:
    means: np.ndarray = images.mean(3).reshape(-1, 2, 2, 2, 2).mean((2, 4)).reshape(-1, 4) / 255
    return means.astype(np.float32)


def coder_sessions(batch: BatchRange | None = None) -> dict[str, _Numpy]:
    """Both graphs."""
    batch = batch or BatchRange()
    image, code = InputTensor("image", "image", (SIDE, SIDE, 3)), InputTensor("code", "values", (4,))
    label = InputTensor("label", "label", (), len(CLASSES))
    outputs = (TensorSpec("code", "float32", (-1, 4)),)
    encoder = ModelSpec("blocks/encoder", "part", TensorInput((image,), batch), outputs, (), PROVENANCE)
    given = TensorInput((code, label), batch)
    decoder = ModelSpec("blocks/decoder", "part", given, translate_outputs((SIDE, SIDE)), CLASSES, PROVENANCE)
    return {"encoder": _Numpy(encoder, _encoded), "decoder": _Numpy(decoder, blocks)}


def blocks_spec() -> ModelSpec:
    """The spec of the generator whose codes these are."""
    inputs = InputTensor("noise", "noise", (4,)), InputTensor("label", "label", (), len(CLASSES))
    outputs = translate_outputs((SIDE, SIDE))
    return ModelSpec("blocks", "generate", TensorInput(inputs), outputs, CLASSES, PROVENANCE)


def openers(sessions: Mapping[str, Session]) -> dict[str, Callable[[], Session]]:
    """Openers of sessions by name."""
    return {name: (lambda session=session: session) for name, session in sessions.items()}  # type: ignore[misc]  # the default binds


def block_autoencoder(sessions: Mapping[str, Session] | None = None) -> Autoencoder:
    """The autoencoder."""
    return Autoencoder(blocks_spec(), openers(sessions or coder_sessions()))


class BlockGenerator(_Numpy):
    """The generator's session, with the openers of its coders."""

    def __init__(self) -> None:
        super().__init__(blocks_spec(), blocks)
        self.coders = openers(coder_sessions())


def small_vae(channels: int = 1, classes: int = 3, seed: int = 0) -> Vae:
    """A VAE of 12x12 pixels and codes of 6 values; statistics of its normalisations are random too."""
    import torch

    from edgevision.models.generators.vae import Vae

    torch.manual_seed(seed)
    model = Vae(channels, classes, noise=6, width=8, size=12)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "prior.weight")):
            tensor.normal_(std=0.5)
    return model.eval()


def write_weights(path: Path, model: Vae) -> Path:
    """The weights as a checkpoint."""
    import torch

    torch.save(model.state_dict(), path)
    return path
