"""A recipe: loading of one model's checkpoint, its pre-processing and its outputs.

A recipe is a Python file with a module-level ``RECIPE``. It imports torch only inside its functions, so that every
recipe loads without torch.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import edgevision
from edgevision.contract.results import Outputs
from edgevision.contract.spec import Fit, NmsSpec, Task
from edgevision.errors import RecipeError
from edgevision.graph.heads import DetectionHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import Plan

if TYPE_CHECKING:
    import torch

    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.masks import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class SourceModel:
    """A PyTorch network that is ready for export, with its reference answers in plain PyTorch.

    `module` maps float32 ``[B,3,H,W]`` in the `PixelFormat` of the recipe to logits ``[B,C]`` (classify) or to
    the raw maps that `head` decodes (detect, pose, obb), followed by the prototypes of masks (instances). `answer` maps
    the same tensor to the task's outputs in the shapes of the graph contract, in input pixels: the reference for every
    graph. For instances it returns the answer before masks are computed, because their size depends on the frame's.

    A recipe whose checkpoints differ in task or input sets the fields from `task` on; None keeps the recipe's.
    """

    module: torch.nn.Module
    variant: str
    """Description of the checkpoint's model, such as "YOLOv5n, 80 classes"."""
    classes: tuple[str, ...]
    answer: Callable[[torch.Tensor, NmsSpec | None], Outputs | Mixture]
    head: DetectionHead | None = None
    """The head of a model that detects; that of instances is a `MaskHead`, of poses a `PoseHead`."""
    task: Task | None = None
    size_wh: tuple[int, int] | None = None
    stride: int | None = None
    fit: Fit | None = None
    pixels: PixelFormat | None = None
    crop_fraction: float | None = None
    assumed: str = ""
    """The part of the input that the checkpoint does not state, and where it was taken from; printed by `export`."""
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
    """Default input size."""
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
    """Training plan; None: training is not supported."""
    recognises: Callable[[Checkpoint], bool] | None = None
    """True for the family's checkpoints; None: the recipe must be named."""

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
    return name.endswith(".py") or name in ALIASES or name in available_recipes()


def load_recipe(name: str) -> Recipe:
    """Load a recipe by path (anything that ends in ``.py``), bare name or alias; raises `RecipeError`.

    The file is Python code of the user and is executed; `sys.path` and `sys.modules` stay unchanged.
    """
    path = Path(name) if name.endswith(".py") else recipe_folder() / f"{ALIASES.get(name, name)}.py"
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
    close = difflib.get_close_matches(name, (*names, *ALIASES), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no recipe named {name!r}{hint} Recipes: {', '.join(names)}; or pass the path of a .py file"
