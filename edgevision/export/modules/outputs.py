"""Runs a PyTorch module, and describes the outputs that it returns."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

import edgevision
from edgevision.errors import RecipeError, first_line
from edgevision.graph.heads.head import NetworkOutput
from edgevision.models.recipe_file import CODE_ERRORS

_OURS = (str(Path(torch.__file__).parent), str(Path(edgevision.__file__).parent))


def module_outputs(module: torch.nn.Module, tensor: torch.Tensor) -> list[torch.Tensor]:
    """The raw outputs for float32 ``[B,3,H,W]``, without gradients."""
    with torch.no_grad():
        outputs = module(tensor)
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def described_outputs(
    module: torch.nn.Module, name: str, size_wh: tuple[int, int]
) -> tuple[NetworkOutput, ...]:
    """Names, dtypes and shapes of the outputs for black images, without the batch.

    Raises `RecipeError` if the module does not run on one image and on two, with the line at fault, and if an output is
    no tensor with a batch.
    """
    outputs = _checked_outputs(module, name, size_wh, 1)
    _checked_outputs(module, name, size_wh, 2)  # the golden frames are one batch
    return tuple(
        NetworkOutput(output_name(place), str(output.dtype).removeprefix("torch."), (None, *output.shape[1:]))
        for place, output in enumerate(outputs)
    )


def _checked_outputs(
    module: torch.nn.Module, name: str, size_wh: tuple[int, int], batch: int
) -> list[torch.Tensor]:
    shape = (batch, 3, size_wh[1], size_wh[0])
    try:
        outputs = module_outputs(module, torch.zeros(shape))
    except CODE_ERRORS as error:  # the module is the user's code
        raise RecipeError(
            f"the network of {name} does not run on float32 {list(shape)}:"
            f" {place_of(error)}{type(error).__name__}: {first_line(error)}"
        ) from error
    for output in outputs:
        if not isinstance(output, torch.Tensor) or not output.ndim or output.shape[0] != batch:
            received = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            images = "one image" if batch == 1 else f"{batch} images"
            raise RecipeError(
                f"the network of {name} returns {received} for {images}; expected tensors with the batch first,"
                f" [{batch}, ...]"
            )
    return outputs


def output_name(place: int) -> str:
    """Name of a raw output in the graph."""
    return f"network_output{place}"


def place_of(error: BaseException) -> str:
    """File, line and code where a user's code raised an error, with ": "; empty if no line of it is known."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)
    ]
    if not frames:
        return ""
    code = f", `{frames[-1].line}`" if frames[-1].line else ""
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}{code}: "
