"""A model that fills regions, in numpy: no training and no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevision.contract.inputs import MASKED, BatchRange, InputTensor, Region, TensorInput, Tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import ModelSpec, translate_outputs
from tests.doubles import PROVENANCE

HEIGHT, WIDTH = 6, 8
CLASSES = ("dark", "light", "any")


def editor(classes: Sequence[str] = CLASSES, batch: BatchRange | None = None) -> ModelSpec:
    inputs = [
        InputTensor("noise", "noise", (1, HEIGHT, WIDTH)),
        InputTensor("original", "image", (HEIGHT, WIDTH, 3)),
        InputTensor("mask", "mask", (HEIGHT, WIDTH)),
    ]
    if classes:
        inputs.append(InputTensor("label", "label", (), len(classes)))
    given = TensorInput(tuple(inputs), batch or BatchRange())
    outputs = translate_outputs((WIDTH, HEIGHT))
    return ModelSpec("patches", "generate", given, outputs, tuple(classes), PROVENANCE)


def filled(tensors: Tensors) -> np.ndarray:
    """The region gets 100 times the label and the size of the noise."""
    noise, original, mask, *labels = tensors.arrays
    levels = np.abs(noise).transpose(0, 2, 3, 1).clip(0, 3) * 10
    for label in labels:
        levels = levels + 100 * label.reshape(-1, 1, 1, 1)
    images: np.ndarray = np.where(mask[..., None] >= MASKED, levels.astype(np.uint8), original)
    return images


def region(seed: int = 0) -> Region:
    """Random pixels, of which a part is selected."""
    image = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[1:4, 2:5] = 255
    return Region(image, mask)


class EditorSession(Session):
    """The model in numpy."""

    def __init__(self, spec: ModelSpec | None = None) -> None:
        super().__init__(spec or editor(), EngineInfo("numpy", "numpy", "cpu"))
        self.batches: list[Tensors] = []

    def _infer(self, frames: Frames) -> Outputs:
        raise AssertionError("an editor takes no frames")

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        self.batches.append(tensors)
        return (filled(tensors),)
