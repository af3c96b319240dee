"""Recipe of one network, in the user's Python file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from edgevision.contract.spec import BOX_TASKS, Fit, FrameInput, KeypointSpec, Task
from edgevision.errors import RecipeError
from edgevision.graph.heads import DetectionHead
from edgevision.graph.heads.cells.decoded import DecodedHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel
from edgevision.models.recipe_file import CODE_ERRORS, described_error, importable

__all__ = ["ModuleRecipe", "PixelFormat"]

TASKS = tuple(task for task in get_args(Task) if task != "part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRecipe:
    """Any PyTorch network, with its input, outputs and classes.

    The network maps float32 ``[B,3,H,W]`` in the format `pixels` to the outputs of its task, as tensors or nested
    tuples, lists and dicts of them, in this order:

    * classify: logits or probabilities ``[B,C]``
    * segment: logits ``[B,C,h,w]``, with h and w the input's height and width divided by the same integer; or
      ``[B,1,h,w]``, the probability of the second of two classes
    * detect, without a `head`: ``boxes [B,N,4]`` x1 y1 x2 y2 in input pixels, ``scores [B,N,C]`` in 0..1
    * instances: as detect, then ``coefficients [B,N,M]`` and ``prototypes [B,M,H/4,W/4]``
    * pose: as detect, then ``keypoints [B,N,P,3]``: x y in input pixels and confidence, or ``[B,N,P,2]``
    * translate: an image ``[B,3,h,w]`` of any size, in the format `image_pixels`
    * generate: an image ``[B,3,h,w]`` or ``[B,1,h,w]`` (grey) in the format `image_pixels`, from noise float32
      ``[B, *noise_shape]`` instead of an image; with `classes`, also from labels int64 ``[B]``, the second argument
    * obb: as detect, with ``boxes [B,N,5]``: centre x y, width, height in input pixels, angle in radians

    The graph adds NMS. With a `head`, the network returns the raw outputs of that head. docs/recipes.md has examples.
    """

    task: Task
    module: Callable[..., torch.nn.Module]
    """A function that returns the network with its weights, or the class of the network.

    A parameter named `checkpoint` receives the path from ``--checkpoint``, or None.
    """
    size_wh: tuple[int, int] | None = None
    """Size of the network's input; None for task generate, whose network defines it."""
    pixels: PixelFormat | None = None
    """Channel order and normalisation of the training; None for task generate. Verification does not detect a wrong
    one."""
    classes: Sequence[str] = ()
    """Class names; of task translate there are none, of task generate those that can be asked for."""
    head: DetectionHead | str | None = None
    """A head of `graph.heads`, or its name as `edgevision adopt --head` takes it."""
    nms: bool = True
    """False: the boxes are final, and the graph has no NMS. Only without a `head`."""
    fit: Fit | None = None
    """How a frame is fitted to the input; None: "center-crop" for classifiers, else "letterbox"."""
    crop_fraction: float = 1.0
    """Share of the shorter side that "center-crop" keeps."""
    stride: int = 1
    """``--size`` must be a multiple of this."""
    image_pixels: PixelFormat | None = None
    """Pixel format of the image that tasks translate and generate return.

    None: that of the input for translate, RGB in 0..1 for generate.
    """
    noise_shape: Sequence[int] = ()
    """Shape of the noise for one image, such as (64, 1, 1); only of task generate."""
    keypoints: Sequence[str] = ()
    """Names of a pose's keypoints; empty: COCO's for 17, numbers for others."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise RecipeError(f"task is {self.task!r}; expected one of {', '.join(TASKS)}")
        if not callable(self.module) or isinstance(self.module, torch.nn.Module):
            raise RecipeError(
                f"module is of type {type(self.module).__name__}; expected a class or function that returns the network"
            )
        makes_images = self.task in ("translate", "generate")
        _check_names("classes", self.classes, 'names, such as ("cat", "dog")', least=not makes_images)
        if self.task == "translate" and len(self.classes):
            raise RecipeError(f"classes is {self.classes!r}; task translate has none: remove it")
        if not makes_images and self.image_pixels is not None:
            raise RecipeError(f"image_pixels is for tasks translate and generate; received task {self.task}")
        _check_names("keypoints", self.keypoints, "names of keypoints, or none", least=0)
        if self.task == "generate":
            self._check_generator()
        else:
            self._check_input()
        named = self.head is None or isinstance(self.head, str)
        if not named and (isinstance(self.head, type) or not hasattr(self.head, "candidates")):
            raise RecipeError(
                f"head is {self.head!r}; expected a name, an object of `edgevision.graph.heads`, or None"
            )
        if not self.nms and (self.head is not None or self.task not in BOX_TASKS):
            raise RecipeError(
                f"nms=False is for tasks {', '.join(BOX_TASKS)} without a head; received task {self.task}, head"
                f" {self.head!r}"
            )

    def _check_generator(self) -> None:
        """Raise `RecipeError` unless the recipe describes noise, and nothing of frames."""
        for field in ("size_wh", "pixels", "fit", "head"):
            if getattr(self, field) is not None:
                raise RecipeError(
                    f"{field} is for models that take images; task generate takes noise: remove it, and state"
                    " noise_shape and image_pixels"
                )
        sides = self.noise_shape
        if (
            not isinstance(sides, tuple | list)
            or not sides
            or any(type(n) is not int or n < 1 for n in sides)
        ):
            raise RecipeError(
                f"noise_shape is {sides!r}; expected the shape of the noise for one image, such as (64, 1, 1)"
            )
        if self.image_pixels is not None and not isinstance(self.image_pixels, PixelFormat):
            raise RecipeError(
                f'image_pixels is {self.image_pixels!r}; expected a format, such as PixelFormat("rgb")'
            )

    def _check_input(self) -> None:
        """Raise `RecipeError` unless size, pixels, fit, crop and stride describe an input."""
        if not isinstance(self.pixels, PixelFormat):
            raise RecipeError(f'pixels is {self.pixels!r}; expected a format, such as PixelFormat("rgb")')
        if self.fit not in (None, *get_args(Fit)):
            raise RecipeError(f"fit is {self.fit!r}; expected one of {', '.join(get_args(Fit))}")
        if self.noise_shape:
            raise RecipeError(f"noise_shape is for task generate; received task {self.task}")
        size = self.size_wh
        if not isinstance(size, tuple | list) or [type(side) for side in size] != [int, int]:
            raise RecipeError(f"size_wh is {size!r}; expected width and height, such as (640, 480)")
        if type(self.stride) is not int or self.stride < 1:
            raise RecipeError(f"stride is {self.stride!r}; expected a whole number from 1 on")
        try:
            FrameInput((size[0], size[1]), crop_fraction=self.crop_fraction)
        except (TypeError, ValueError) as error:
            raise RecipeError(str(error)) from error

    def recipe(self, file: Path) -> Recipe:
        """The recipe that `edgevision export` runs; it is named after its file."""
        return Recipe(
            name=file.stem,
            task=self.task,
            summary="",
            size_wh=self.size_wh or (1, 1),
            stride=self.stride,
            pixels=self.pixels or self.image_pixels or PixelFormat("rgb"),
            fit=self.fit or ("center-crop" if self.task == "classify" else "letterbox"),
            load=functools.partial(self._source, file),
            untrained=functools.partial(self._source, file, None),
            crop_fraction=self.crop_fraction,
            file=file,
        )

    def _source(self, file: Path, checkpoint: Path | None) -> SourceModel:
        with importable(file):
            module = self._network(file, checkpoint)
        try:
            module = module.float().cpu()
        except NotImplementedError as error:  # a tensor on device "meta"
            raise RecipeError(
                f"module of {file} returned a network without weights, on device meta; load them into it, such as with"
                " load_state_dict(..., assign=True)"
            ) from error
        generates = self.task == "generate"
        return SourceModel(
            module if generates else FlatOutputs(module),
            type(module).__name__,
            tuple(self.classes),
            self.head if self.nms else DecodedHead(len(self.classes), suppressed=True),
            keypoints=KeypointSpec(tuple(self.keypoints)) if self.keypoints else None,
            image_pixels=None if generates else self.image_pixels,
            noise_shape=tuple(self.noise_shape) if generates else None,
        )

    def _network(self, file: Path, checkpoint: Path | None) -> torch.nn.Module:
        takes_checkpoint = "checkpoint" in inspect.signature(self.module).parameters
        if checkpoint is not None and not takes_checkpoint:
            raise RecipeError(
                f"module of {file} has no parameter `checkpoint`, but --checkpoint {checkpoint} was given; add the"
                " parameter, which receives the path or None"
            )
        try:
            module = self.module(checkpoint=checkpoint) if takes_checkpoint else self.module()
        except CODE_ERRORS as error:  # the function is the user's code
            raise RecipeError(f"module of {file} failed: {described_error(error, file)}") from error
        if not isinstance(module, torch.nn.Module):
            raise RecipeError(
                f"module of {file} returned {type(module).__name__}; expected a torch.nn.Module"
            )
        return module


def _check_names(field: str, names: object, expected: str, *, least: int) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) < least:
        raise RecipeError(f"{field} is {names!r}; expected {expected}")
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise RecipeError(f"{field}[{place}] is {name!r}; expected a name in quotes")


class FlatOutputs(torch.nn.Module):
    """A network with its outputs as one flat tuple, from nested tuples, lists and dicts; None is left out."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def _get_name(self) -> str:
        """The network's name, for messages."""
        return type(self.network).__name__

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The network's outputs."""
        return tuple(_flat(self.network(x)))


def _flat(outputs: object) -> Iterable[torch.Tensor]:
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        for output in outputs:
            yield from _flat(output)
    elif isinstance(outputs, torch.Tensor):
        yield outputs
    elif outputs is not None:
        raise TypeError(f"an output is of type {type(outputs).__name__}; expected tensors")
