"""The wheel contains the required files and runs without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BUNDLE_FILES = ("bundle.json", "golden.npz", "model.onnx")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the hatchling that is installed: an isolated build would need a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(folder),
            str(REPOSITORY),
        ],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "edgevision").rglob("*.py")}
    recipes = {f"edgevision/recipes/{p.name}" for p in (REPOSITORY / "export").glob("*.py")}
    pictures = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "edgevision/photographs").glob("*.jpg")}
    page = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "edgevision/service/web/page").iterdir()}
    weights = {f"edgevision/weights/{name}.safetensors" for name in ("street", "cnn", "digits")}
    assert modules | recipes | pictures | page | weights | {"edgevision/py.typed"} <= names
    top = {name.split("/")[0] for name in names}
    assert {part for part in top if not part.endswith(".dist-info")} == {"edgevision"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    bundles = {
        f"edgevision/bundles/{name}/{file}" for name in ("street", "unet", "cnn") for file in BUNDLE_FILES
    }
    assert bundles <= names
    assert wheel.stat().st_size < 27_000_000, (
        "four trained models, three of them also as bundles, are most of it"
    )


def test_recipes_are_found_inside_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from edgevision.models.recipe import available_recipes, recipe_folder\n"
        "print(recipe_folder(), *available_recipes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    folder, *names = done.stdout.split()
    assert folder == str(tmp_path / "edgevision" / "recipes")
    assert names == sorted(path.stem for path in (REPOSITORY / "export").glob("*.py"))
