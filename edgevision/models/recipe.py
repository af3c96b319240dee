"""A recipe: how one model is built from its checkpoint, how frames enter it, and what it answers.

A recipe is a Python file with a module-level ``RECIPE``. It imports torch only inside its functions, so that every
recipe loads without torch.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgevision
from edgevision.contract.results import Outputs
from edgevision.contract.spec import Fit, NmsSpec, Task
from edgevision.errors import RecipeError
from edgevision.graph.heads import YoloV5RawHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import Plan

if TYPE_CHECKING:
    import torch

    from edgevision.models.yolov5_masks import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class SourceModel:
    """A network in PyTorch, ready to export, and its answers as plain PyTorch gives them.

    `module` maps float32 ``[B,3,H,W]``, in the recipe's `PixelFormat`, to logits ``[B,C]`` (classify) or to the
    raw maps that `head` decodes (detect), with the prototypes of masks behind them (instances). `answer` maps the same
    tensor to the task's outputs as the graph contract shapes them, in input pixels: the reference that every graph is
    held against.
    """

    module: torch.nn.Module
    variant: str
    """What the checkpoint turned out to be, as "YOLOv5n, 80 classes"."""
    classes: tuple[str, ...]
    answer: Callable[[torch.Tensor, NmsSpec | None], Outputs]
    head: YoloV5RawHead | None = None
    mixture: Callable[[torch.Tensor, NmsSpec], Mixture] | None = None
    """Of instances: the answer before its masks are made, for frames of another size than the network."""


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
    """What it is and how its checkpoints were trained, in one line."""
    size_wh: tuple[int, int]
    """Input size where the user names none."""
    stride: int
    """Both sides of the input must be multiples of this."""
    pixels: PixelFormat
    fit: Fit
    load: Callable[[Path], SourceModel]
    """Read a checkpoint; raises `CheckpointError`."""
    untrained: Callable[[], SourceModel]
    """The family's smallest member with random weights: for the shape and speed of its graph, not for its answers."""
    crop_fraction: float = 1.0
    release: Release | None = None
    training: Plan | None = None
    """How its models are trained; None: by others only."""


def recipe_folder() -> Path:
    """Where the recipes lie: inside the installed package, or in the checkout that it is run from."""
    packaged = Path(edgevision.__file__).parent / "recipes"
    return packaged if packaged.is_dir() else Path(edgevision.__file__).parent.parent / "export"


def available_recipes() -> tuple[str, ...]:
    """Bare names that `load_recipe` takes."""
    return tuple(sorted(path.stem for path in recipe_folder().glob("*.py")))


def load_recipe(name: str) -> Recipe:
    """Load a recipe by path (anything that ends in ``.py``) or by bare name; raises `RecipeError`.

    The file is Python code of the user's own machine and is executed; `sys.path` and `sys.modules` stay as they are.
    """
    path = Path(name) if name.endswith(".py") else recipe_folder() / f"{name}.py"
    if not path.is_file():
        raise RecipeError(_not_found(name))
    module_spec = importlib.util.spec_from_file_location(f"edgevision_recipe_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise RecipeError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(f"recipe {path} does not load: {type(error).__name__}: {error}") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"recipe {path} defines no RECIPE of type edgevision.models.recipe.Recipe")
    return recipe


def _not_found(name: str) -> str:
    if name.endswith(".py"):
        return f"no recipe file at {name}"
    names = available_recipes()
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no recipe named {name!r}{hint} Recipes: {', '.join(names)}; or give the path of a .py file"
