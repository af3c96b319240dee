"""A PyTorch network that makes images: its inputs, its checks, and its images."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from edgevision.bundle.folder import CheckRecord
from edgevision.contract.inputs import (
    BatchRange,
    InputTensor,
    TensorInput,
    Tensors,
    sample_tensors,
    tensors_for,
)
from edgevision.errors import RecipeError, first_line
from edgevision.export.file_source import relative_difference
from edgevision.export.modules.outputs import error_location, module_outputs
from edgevision.export.network import run_network
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel
from edgevision.models.recipe_file import CODE_ERRORS

SEED = 0
"""Of the golden noise."""
GOLDEN_IMAGES = 8
NETWORK_TOLERANCE = 1e-3
"""Largest difference of raw images, relative to their largest value, between PyTorch and ONNX Runtime in float32."""
ALONE_TOLERANCE = 1e-3
"""Largest difference of an image in a batch from the same image alone, relative to the largest value."""


class Generator(torch.nn.Module):
    """A network with the inputs of the graph, whose labels are int32."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def _get_name(self) -> str:
        """The network's name, for messages."""
        return type(self.network).__name__

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The network's images."""
        given = (value.long() if value.dtype == torch.int32 else value for value in inputs)
        images: torch.Tensor = self.network(*given)
        return images


def generator_inputs(source: SourceModel, name: str, batch: BatchRange) -> TensorInput:
    """The graph's inputs.

    ``noise``; ``original`` and ``mask`` if the source fills a region of an image (``image`` is the output); ``label``
    if it has classes; ``tokens`` if it takes those of a text. Raises `RecipeError` for a source without noise.
    """
    if source.noise_shape is None:
        raise RecipeError(f"{name}: the source model of a generator states noise_shape; received None")
    inputs = [InputTensor("noise", "noise", source.noise_shape)]
    if source.image_size_wh is not None:
        width, height = source.image_size_wh
        inputs.append(InputTensor("original", "image", (height, width, 3)))
        inputs.append(InputTensor("mask", "mask", (height, width)))
    if source.classes:
        inputs.append(InputTensor("label", "label", (), len(source.classes)))
    if source.token_shape is not None:
        inputs.append(InputTensor("tokens", "tokens", source.token_shape, source.token_count))
    return TensorInput(tuple(inputs), batch)


def golden_tensors(source: SourceModel, inputs: TensorInput) -> Tensors:
    """Inputs of the golden images: the first noises of a fixed seed, and the tokens of the source's example texts."""
    count = len(source.token_examples) or GOLDEN_IMAGES
    if not source.token_examples:
        return sample_tensors(inputs, SEED, count)
    tokens = np.array(source.token_examples, np.int32).reshape(count, *(source.token_shape or ()))
    return tensors_for(inputs, SEED, range(count), [0] * count, tokens)


def raw_images(generator: Generator, tensors: Tensors) -> torch.Tensor:
    """The network's output for a batch, in its own pixel format."""
    (images,) = module_outputs(generator, *(torch.from_numpy(array) for array in tensors.arrays))
    return images


def check_generator(generator: Generator, name: str, inputs: TensorInput) -> None:
    """Raise `RecipeError` unless the network makes images that depend on their own noise and label only."""
    two = sample_tensors(inputs, SEED, 2)
    images = _run(generator, name, two)
    if not bool(images.isfinite().all()):
        raise RecipeError(f"{name}: the images contain NaN or infinite values; check the weights")
    again = _run(generator, name, two)
    if not torch.equal(images, again):
        raise RecipeError(
            f"{name}: two calls with the same noise return different images; expected a network that draws no random"
            " numbers: take them from the noise, with a larger noise_shape, and call eval() for dropout"
        )
    alone = torch.cat([_run(generator, name, two[np.array([row])]) for row in range(2)])
    difference = relative_difference(alone.numpy(), images.numpy())
    if difference > ALONE_TOLERANCE:
        raise RecipeError(
            f"{name}: an image changes by {difference:.2g} of the largest value with the others of its batch; expected"
            " images that do not depend on each other, such as without statistics over the batch"
        )


def share_outside(images: torch.Tensor, pixels: PixelFormat) -> float:
    """The share of values that are cut, because they are outside of black to white in this pixel format."""
    channels = images.shape[1]
    mean, std = (torch.tensor(v[:channels]).view(1, -1, 1, 1) for v in (pixels.mean, pixels.std))
    levels = (images * std + mean) / pixels.scale
    return float(((levels < -0.5) | (levels > 255.5)).float().mean())


def _run(generator: Generator, name: str, tensors: Tensors) -> torch.Tensor:
    shapes = ", ".join(f"{array.dtype} {list(array.shape)}" for array in tensors.arrays)
    try:
        outputs = module_outputs(generator, *(torch.from_numpy(array) for array in tensors.arrays))
    except CODE_ERRORS as error:  # the module is the user's code
        raise RecipeError(
            f"the network of {name} does not run on {shapes}:"
            f" {error_location(error)}{type(error).__name__}: {first_line(error)}"
        ) from error
    image = outputs[0] if len(outputs) == 1 else None
    fits = isinstance(image, torch.Tensor) and image.ndim == 4 and image.is_floating_point()
    if image is None or not fits or image.shape[0] != len(tensors) or image.shape[1] not in (1, 3):
        received = ", ".join(
            f"{v.dtype} {list(v.shape)}" if isinstance(v, torch.Tensor) else type(v).__name__ for v in outputs
        )
        raise RecipeError(
            f"the network of {name} returns {received} for {shapes}; expected images float32"
            f" [{len(tensors)}, 3, h, w] or [{len(tensors)}, 1, h, w]"
        )
    return image


def network_check(network: onnx.ModelProto, inputs: Tensors, raw: torch.Tensor, size: int) -> CheckRecord:
    """Compare the bare network's output with PyTorch's, before rounding could hide a difference."""
    worst, count = 0.0, len(inputs)
    for start in range(0, count, size):
        rows = np.arange(start, start + size).clip(max=count - 1)
        (actual,) = run_network(network, *inputs[rows].arrays)
        worst = max(worst, relative_difference(raw[torch.from_numpy(rows)].numpy(), actual))
    return CheckRecord(
        "relative difference of the network's raw outputs", worst, "<=", NETWORK_TOLERANCE, "network"
    )
