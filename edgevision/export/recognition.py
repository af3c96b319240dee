"""Finds the recipe of a checkpoint from its content."""

from __future__ import annotations

from pathlib import Path

from edgevision.checkpoint.reading import Checkpoint, read_checkpoint
from edgevision.errors import RecipeError
from edgevision.export.runs import trained_from
from edgevision.models.recipe import Recipe, available_recipes, load_recipe


def recipe_of(path: Path) -> Recipe:
    """The recipe that recognises a checkpoint file or a run folder.

    Raises `CheckpointError` if it cannot be read, and `RecipeError` if not exactly one recipe recognises it.
    """
    checkpoint = read_checkpoint(trained_from(path).checkpoint)
    recipes = [load_recipe(name) for name in available_recipes()]
    fitting = [recipe for recipe in recipes if recipe.recognises and recipe.recognises(checkpoint)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(recipe.name for recipe in fitting or recipes)
    reason = "several recipes recognise" if fitting else "no recipe recognises"
    raise RecipeError(
        f"{path}: {reason} it; it holds {_content(checkpoint)}. Recipes: {names}. Name one: `edgevision export RECIPE"
        f" --checkpoint {path} -o BUNDLE`; RECIPE may be a Python file of your own: `edgevision new-recipe NAME --task"
        " TASK` writes one"
    )


def _content(checkpoint: Checkpoint) -> str:
    if checkpoint.module is not None:
        return f"a pickled {checkpoint.module.class_name!a:.120}"
    names = ", ".join(ascii(name[:60]) for name in list(checkpoint.tensors)[:3])
    return f"a state dict of {len(checkpoint.tensors)} tensors: {names}, ..."
