"""Finding and loading recipes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import edgevision
from edgevision.errors import RecipeError
from edgevision.export.recognition import recipe_of
from edgevision.models.recipe import Recipe, available_recipes, load_recipe
from edgevision.models.translators.cyclegan import TranslatorPair

RECIPES = (
    "cnn",
    "convnext",
    "cyclegan",
    "dcgan",
    "diffusion",
    "digits",
    "efficientnet",
    "fast-style",
    "inpaint",
    "inpaint-text",
    "mobilenet_v2",
    "mobilenet_v3",
    "regnet",
    "resnet",
    "rrdbnet",
    "segformer",
    "sr",
    "srvgg",
    "style",
    "text2image",
    "ultralytics",
    "unet",
    "vae",
    "vit",
    "wgan",
    "yolov5",
    "yolov5-seg",
)


def test_by_bare_name_and_by_path() -> None:
    recipe = load_recipe("yolov5")
    assert isinstance(recipe, Recipe)
    assert recipe.task == "detect"
    repository = Path(__file__).resolve().parent.parent.parent
    assert load_recipe(str(repository / "export" / "yolov5.py")).name == "yolov5"


def test_loading_leaves_the_interpreter_as_it_was() -> None:
    before = list(sys.path), set(sys.modules)
    load_recipe("cnn")
    load_recipe("cnn")
    assert list(sys.path) == before[0]
    assert not [name for name in set(sys.modules) - before[1] if "recipe_cnn" in name or name == "cnn"]


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(RecipeError, match="did you mean yolov5"):
        load_recipe("yolo5")
    with pytest.raises(RecipeError, match=f"Recipes: {', '.join(RECIPES)}"):
        load_recipe("zzz")
    assert available_recipes() == RECIPES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("x = 1", "defines no RECIPE"),
        ("RECIPE = 1", "RECIPE of .* is of type int; expected a ModuleRecipe or a Recipe"),
        ("def", "line 1, `def`: SyntaxError"),
    ],
)
def test_a_broken_recipe_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "mine.py"))


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe file at"):
        load_recipe(str(tmp_path / "mine.py"))


WEIGHTS = Path(edgevision.__file__).parent / "weights"


@pytest.mark.parametrize(("file", "name"), [("street", "yolov5"), ("cnn", "cnn"), ("unet", "unet")])
def test_a_checkpoint_names_its_recipe(file: str, name: str) -> None:
    assert recipe_of(WEIGHTS / f"{file}.safetensors").name == name


def test_untrained_models_are_recognised(tmp_path: Path) -> None:
    for name in ("cnn", "resnet", "sr", "style", "unet", "diffusion", "inpaint", "yolov5", "yolov5-seg"):
        state = load_recipe(name).untrained().module.state_dict()
        torch.save(state, tmp_path / f"{name}.pt")
        assert recipe_of(tmp_path / f"{name}.pt").name == name
    torch.save(TranslatorPair(4, 1).state_dict(), tmp_path / "pair.pt")
    assert recipe_of(tmp_path / "pair.pt").name == "cyclegan"


def test_an_unrecognised_file_names_the_recipes(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.zeros(2, 3)}, tmp_path / "a.pt")
    with pytest.raises(RecipeError) as caught:
        recipe_of(tmp_path / "a.pt")
    message = str(caught.value)
    assert "no recipe recognises it; it holds a state dict of 1 tensors: 'encoder.weight', ..." in message
    assert f"Recipes: {', '.join(RECIPES)}. Name one: `edgevision export RECIPE" in message
