"""Runs a PyTorch module and describes its outputs."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

import edgevision
from edgevision.errors import RecipeError, first_line
from edgevision.graph.heads.head import NetworkOutput
from edgevision.models.recipe_file import CODE_ERRORS

_OURS = (str(Path(torch.__file__).parent), str(Path(edgevision.__file__).parent))


def module_outputs(module: torch.nn.Module, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The raw outputs for float32 ``[B,3,H,W]``, or the inputs of another module, without gradients."""
    with torch.no_grad():
        outputs = module(*tensors)
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def described_outputs(
    module: torch.nn.Module, name: str, size_wh: tuple[int, int]
) -> tuple[NetworkOutput, ...]:
    """Names, dtypes and shapes of the outputs for black images, without the batch.

    Raises `RecipeError` if the module fails for one image or for two, with the line that failed, or if an output is not
    a tensor with a batch.
    """
    outputs = _checked_outputs(module, name, size_wh, 1)
    _checked_outputs(module, name, size_wh, 2)  # the golden frames are one batch
    return tuple(
        NetworkOutput(output_name(index), str(output.dtype).removeprefix("torch."), (None, *output.shape[1:]))
        for index, output in enumerate(outputs)
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
            f" {error_location(error)}{type(error).__name__}: {first_line(error)}"
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


def output_name(index: int) -> str:
    """Name of a raw output in the graph."""
    return f"network_output{index}"


def error_location(error: BaseException) -> str:
    """File, line and code of the user that raised an error, followed by ": "; empty if no frame is the user's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_ours(frame.filename)]
    if not frames:
        return ""
    code = f", `{frames[-1].line}`" if frames[-1].line else ""
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}{code}: "


def is_ours(filename: str) -> bool:
    """True for code of torch and of this package."""
    return filename.startswith(_OURS)
