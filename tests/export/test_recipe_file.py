"""A recipe in a file of its user: several recipes, modules beside it, and errors that name its line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevision.errors import RecipeError, UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.models.recipe import load_recipe

FILE = """
from __future__ import annotations
import dataclasses
from pathlib import Path
import torch
from beside import linear
from edgevision.models.module_recipe import ModuleRecipe, PixelFormat

@dataclasses.dataclass
class Settings:
    size: int = 32

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = linear()

    def forward(self, images):
        return self.last(images.mean((2, 3)))

def network(checkpoint: Path | None):
    from beside import linear
    model = Network()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model

def made(module=network):
    return ModuleRecipe(
        task="classify", module=module, size_wh=(Settings().size, 32), pixels=PixelFormat(), classes=("a", "b")
    )

RECIPE = made()
OTHER = made(Network)
def broken(): raise KeyError("x")
def useless(): return 3
def leaving(): raise SystemExit(0)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("import torch\ndef linear(): return torch.nn.Linear(3, 2)\n")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_a_file_with_a_module_beside_it(file: Path) -> None:
    before = list(sys.path)
    torch.save({"last.weight": torch.ones(2, 3), "last.bias": torch.zeros(2)}, file.with_name("w.pt"))
    recipe = load_recipe(str(file))
    bundle = export_bundle(
        recipe, ExportOptions(checkpoint=file.with_name("w.pt")), file.with_name("b"), lambda _: None
    )
    assert bundle.spec.name == "w"
    assert bundle.spec.provenance.source == "w.pt"
    np.testing.assert_allclose(bundle.golden().answers[0], 0.5, rtol=1e-5)
    assert sys.path == before
    assert "edgevision_recipe_mine" not in sys.modules
    del sys.modules["beside"]


def test_another_recipe_of_the_file(file: Path) -> None:
    other = load_recipe(f"{file}:OTHER")
    assert load_recipe(f"{file}:made").untrained().classes == ("a", "b")
    with pytest.raises(RecipeError, match="has no parameter `checkpoint`, but --checkpoint w.pt was given"):
        other.load(Path("w.pt"))
    with pytest.raises(UsageError, match="mine.py provides its own weights"):
        export_bundle(other, ExportOptions(random_weights=True), file.with_name("b"), lambda _: None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":missing", r"defines no missing; it has the recipes RECIPE, OTHER: pass .*mine.py:RECIPE"),
        (":Settings", "Settings of .*mine.py is of type type; expected a ModuleRecipe or a Recipe"),
        (":useless", "useless of .*mine.py is of type int"),
        (
            ":broken",
            r"broken\(\) of .*mine.py failed: line \d+, `def broken\(\): raise KeyError.*`: KeyError: 'x'",
        ),
        (":leaving", r"leaving\(\) of .*mine.py failed: line \d+, `def leaving.*`: SystemExit: 0"),
    ],
)
def test_a_name_that_is_no_recipe(file: Path, name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(f"{file}{name}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "from beside",
            "from besides",
            r"line 6, `from besides import linear`: ModuleNotFoundError: No module named",
        ),
        (
            'task="classify"',
            'task="clasify"',
            r"line \d+, `return ModuleRecipe\(`: task is 'clasify'; expected one of",
        ),
        (
            "size_wh=(",
            "size=(",
            r"line \d+, `return ModuleRecipe\(`: TypeError: .*unexpected keyword argument 'size'",
        ),
        ("RECIPE = made()", "raise SystemExit(2)", r"line \d+, `raise SystemExit\(2\)`: SystemExit: 2"),
        ("class Network(", "class Network[", r"line \d+, `class Network\[.*`: SyntaxError"),
    ],
)
def test_a_file_that_does_not_load_names_its_line(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(RecipeError, match=f"recipe .*mine.py does not load: {message}"):
        load_recipe(str(file))


def test_a_network_that_cannot_be_made_names_its_line(file: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"module of .*mine.py failed: line \d+, `model.load_state_dict.*`: FileNotF"
    ):
        load_recipe(str(file)).load(Path("nothing.pt"))
    file.write_text(FILE.replace("    return model\n", ""))
    with pytest.raises(
        RecipeError, match=r"module of .*mine.py returned NoneType; expected a torch.nn.Module"
    ):
        load_recipe(str(file)).untrained()


@pytest.mark.parametrize("where", ["model = Network()", "return self.last"])
def test_a_network_that_exits_is_an_error(file: Path, where: str) -> None:
    """Not a success without a bundle, which is what exit code 0 of the file's own code would be."""
    file.write_text(FILE.replace(where, f"raise SystemExit(0); {where}"))
    with pytest.raises(RecipeError, match=r"line \d+, `raise SystemExit\(0\); .*`: SystemExit: 0"):
        export_bundle(load_recipe(str(file)), ExportOptions(), file.with_name("b"), lambda _: None)


def test_the_working_directory_is_restored(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle's relative path is relative to the folder in which the command was given."""
    monkeypatch.chdir(file.parent)
    file.write_text(FILE + "\nimport os\nos.chdir('/')\n")
    load_recipe("mine.py")
    assert Path.cwd() == file.parent
