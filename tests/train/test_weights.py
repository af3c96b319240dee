"""The weights inside the package: small, readable by their recipe, with a card, a record, and no local paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors

import edgevision
from edgevision.models.recipe import load_recipe

WEIGHTS = sorted((Path(edgevision.__file__).parent / "weights").glob("*.safetensors"))
RECORDS = Path(__file__).resolve().parents[2] / "benchmarks" / "training"


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_packaged_weights(path: Path) -> None:
    with safetensors.safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    recipe = load_recipe(metadata["recipe"])
    source, names = recipe.load(path), tuple(json.loads(metadata["names"]))
    if recipe.name == "cyclegan":  # its names are those of the two kinds of images
        assert (source.classes, len(names)) == ((), 2)
    elif recipe.name == "inpaint":  # an image may have any class
        assert source.classes == (*names, "any")
    else:
        assert source.classes == names
    assert path.stat().st_size < 8 << 20
    assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
    assert ': "/' not in metadata["job"]
    for name in ("config.json", "metrics.csv", "curves.png"):
        assert (RECORDS / path.stem / name).is_file()


def test_there_are_packaged_weights() -> None:
    assert "cnn" in {path.stem for path in WEIGHTS}
