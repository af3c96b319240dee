"""A recipe: loading of one model's checkpoint, its pre-processing and its outputs.

A recipe is a Python file with a module-level ``RECIPE``. Built-in recipes import torch only inside their functions, so
that each loads without torch. A file for one network has a `ModuleRecipe` instead, the shorter form.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

import edgevision
from edgevision.contract.spec import Fit, KeypointSpec, Task
from edgevision.errors import RecipeError
from edgevision.graph.heads import DetectionHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import Plan
from edgevision.models.recipe_file import CODE_ERRORS, described_error, recipe_module

if TYPE_CHECKING:
    import torch

    from edgevision.checkpoint.reading import Checkpoint


Decoding = Callable[[Sequence["torch.Tensor"]], tuple["torch.Tensor", ...]]
"""Raw outputs to ``boxes [B,N,4]`` xyxy in input pixels (``[B,N,5]`` of oriented ones) and ``scores [B,N,C]``.

Poses add ``keypoints [B,N,P,3]``, instances ``coefficients [B,N,M]`` of their masks.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SourceModel:
    """A PyTorch network that is ready for export.

    `module` maps float32 ``[B,3,H,W]`` in the `PixelFormat` of the recipe to its raw outputs: scores ``[B,C]``
    (classify), maps ``[B,C,h,w]`` (segment), an image ``[B,3,h,w]`` (translate), or what `head` decodes (other tasks);
    the last output of instances are the prototypes of masks. The module is the reference for every graph.

    A generator's module maps noise float32 ``[B, *noise_shape]``, followed by labels int64 ``[B]`` if there are
    `classes`, to images ``[B,3,h,w]`` or ``[B,1,h,w]`` (grey) in the format `pixels`. It must not draw random numbers.

    A recipe whose checkpoints differ in task or input sets the fields from `task` on; None keeps the recipe's.
    """

    module: torch.nn.Module
    variant: str
    """Description of the checkpoint's model, such as "YOLOv5n, 80 classes"."""
    classes: tuple[str, ...]
    head: DetectionHead | str | None = None
    """Decodes the raw outputs in the graph: a head, or its name in `graph.conventions`.

    None: the module returns decoded values, as `graph.heads.cells.decoded` describes them.
    """
    decode: Decoding | None = None
    """The same decoding in plain PyTorch, the reference; None: the head's own decoding in numpy."""
    keypoints: KeypointSpec | None = None
    """Names of a pose's keypoints; None: COCO's for 17, numbers for others."""
    task: Task | None = None
    size_wh: tuple[int, int] | None = None
    stride: int | None = None
    fit: Fit | None = None
    pixels: PixelFormat | None = None
    crop_fraction: float | None = None
    image_pixels: PixelFormat | None = None
    """Pixel format of the module's output, only of task translate; None: that of its input."""
    style: int | None = None
    """The style that the graph has by default, of a network of task translate with several.

    `classes` are then their names, and `module` also takes labels int64 ``[B]``.
    """
    noise_shape: tuple[int, ...] | None = None
    """Shape of the noise for one image; only of task generate."""
    token_shape: tuple[int, ...] | None = None
    """Shape of the tokens of a text, of a generator that takes them in place of a label."""
    image_size_wh: tuple[int, int] | None = None
    """Size of the image and the mask of a generator that fills a masked region.

    Its module maps noise, image uint8 ``[B,H,W,3]`` BGR, mask uint8 ``[B,H,W]`` and labels.
    """
    token_count: int = 0
    """Number of different tokens."""
    tokenizers: tuple[str, ...] = ()
    """The tokenizer of each row of tokens, as JSON in the format of the library tokenizers."""
    token_examples: tuple[tuple[int, ...], ...] = ()
    """Tokens of texts for the golden images, one row for each image; empty: random tokens."""
    encoder: torch.nn.Module | None = None
    """Of an autoencoder that generates: images uint8 ``[B,H,W,3]`` BGR to codes float32 ``[B,K]``."""
    decoder: torch.nn.Module | None = None
    """Of an autoencoder: codes float32 ``[B,K]`` and labels int64 ``[B]`` to images, as those of `module`.

    Encoder and decoder are exported apart, beside the generator's graph.
    """
    input_origin: str = ""
    """Origin of size, crop and pixels, such as "assumed: ..."; `export` prints it with them."""
    heads: Mapping[str, Callable[[], SourceModel]] = field(default_factory=dict)
    """The same model with each head of the checkpoint, by the head's name; empty if there is only one."""


@dataclass(frozen=True, slots=True)
class Release:
    """A published checkpoint that a recipe can start from."""

    file: str
    url: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model family."""

    name: str
    task: Task
    summary: str
    """Model family and training of its checkpoints, in one line."""
    size_wh: tuple[int, int]
    """Default input size; of task generate, the size of the images."""
    stride: int
    """Both sides of the input must be multiples of this."""
    pixels: PixelFormat
    """Of the input; of task generate, of the images."""
    fit: Fit
    load: Callable[[Path], SourceModel]
    """Read a checkpoint; raises `CheckpointError`."""
    untrained: Callable[[], SourceModel]
    """The family's smallest member with random weights: for the shape and speed of its graph, not for its answers."""
    crop_fraction: float = 1.0
    release: Release | None = None
    training: Plan | None = None
    """Training plan; None: training is not supported."""
    recognises: Callable[[Checkpoint], bool] | None = None
    """True for the family's checkpoints; None: the recipe must be named."""
    file: Path | None = None
    """The Python file of a recipe that makes its own weights: `untrained` then returns the trained model."""

    def adapted_to(self, source: SourceModel) -> Recipe:
        """The recipe with the task and the input of one checkpoint's model."""
        return replace(
            self,
            task=source.task or self.task,
            size_wh=source.size_wh or self.size_wh,
            stride=source.stride or self.stride,
            fit=source.fit or self.fit,
            pixels=source.pixels or self.pixels,
            crop_fraction=source.crop_fraction or self.crop_fraction,
        )


ATTRIBUTE = "RECIPE"
"""Name of the recipe in its file, unless another one is given."""


@runtime_checkable
class RecipeMaker(Protocol):
    """A shorter form of a recipe, such as `edgevision.models.module_recipe.ModuleRecipe`."""

    def recipe(self, file: Path) -> Recipe:
        """The recipe itself; `file` defines it."""


ALIASES = dict.fromkeys(
    ("yolov3u", "yolov5u", "yolov6", "yolov8", "yolov9", "yolov10", "yolo11", "yolo12", "yolo26"),
    "ultralytics",
)
"""Further names of recipes."""


def recipe_folder() -> Path:
    """Folder of the recipes: inside the installed package, or in the checkout."""
    packaged = Path(edgevision.__file__).parent / "recipes"
    return packaged if packaged.is_dir() else Path(edgevision.__file__).parent.parent / "export"


def available_recipes() -> tuple[str, ...]:
    """Bare names that `load_recipe` accepts."""
    return tuple(sorted(path.stem for path in recipe_folder().glob("*.py")))


def is_recipe(name: str) -> bool:
    """True if `load_recipe` takes this as a path or as a known name."""
    return _file_and_name(name) is not None or name in ALIASES or name in available_recipes()


def load_recipe(name: str) -> Recipe:
    """Load a recipe by bare name, alias or file: ``FILE.py`` with a `RECIPE`, or ``FILE.py:NAME``.

    The file is Python code of the user and is executed; `sys.path` and `sys.modules` stay unchanged. NAME is a recipe,
    or a function that returns one. Raises `RecipeError`, with the line at fault if the code raises an error.
    """
    given = _file_and_name(name)
    path, attribute = given or (recipe_folder() / f"{ALIASES.get(name, name)}.py", ATTRIBUTE)
    if not path.is_file():
        raise RecipeError(_not_found(name, path if given else None))
    with recipe_module(path) as module:
        found = _recipe_in(module, path, attribute)
    return found.recipe(path) if isinstance(found, RecipeMaker) else found


def _file_and_name(name: str) -> tuple[Path, str] | None:
    """The file and the attribute of ``FILE.py`` or ``FILE.py:NAME``; None for another name."""
    file, separator, attribute = name.rpartition(":")
    if separator and file.endswith(".py") and attribute.isidentifier():
        return Path(file), attribute
    return (Path(name), ATTRIBUTE) if name.endswith(".py") else None


def _recipe_in(module: ModuleType, path: Path, attribute: str) -> Recipe | RecipeMaker:
    found = getattr(module, attribute, None)
    if found is None:
        raise RecipeError(_undefined(module, path, attribute))
    if callable(found) and not isinstance(found, type):
        try:
            found = found()
        except CODE_ERRORS as error:  # the function is the user's code
            raise RecipeError(f"{attribute}() of {path} failed: {described_error(error, path)}") from error
    if not _makes_recipe(found):
        raise RecipeError(
            f"{attribute} of {path} is of type {type(found).__name__}; expected a ModuleRecipe or a Recipe, or a"
            " function without arguments that returns one"
        )
    return found


def _makes_recipe(value: object) -> TypeGuard[Recipe | RecipeMaker]:
    """True for a recipe; False for its class."""
    return isinstance(value, Recipe | RecipeMaker) and not isinstance(value, type)


def _undefined(module: ModuleType, path: Path, attribute: str) -> str:
    own = [name for name, value in vars(module).items() if _makes_recipe(value)]
    if own:
        return (
            f"recipe {path} defines no {attribute}; it has the recipes {', '.join(own)}: pass {path}:{own[0]}"
        )
    return (
        f"recipe {path} defines no {attribute}; expected {attribute} = ModuleRecipe(...)."
        " `edgevision new-recipe NAME --task TASK` writes an example"
    )


def _not_found(name: str, path: Path | None) -> str:
    if path is not None:
        return f"no recipe file at {path}"
    names = available_recipes()
    close = difflib.get_close_matches(name, (*names, *ALIASES), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no recipe named {name!r}{hint} Recipes: {', '.join(names)}; or pass the path of a .py file"
