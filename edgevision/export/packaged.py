"""Make the bundles that come with the package from the committed weights: ``python -m edgevision.export.packaged``."""

from __future__ import annotations

import argparse
from pathlib import Path

import edgevision
from edgevision.bundle.packaged import FOLDER, PACKAGED, PackagedModel

WEIGHTS = Path(edgevision.__file__).parent / "weights"


def make(model: PackagedModel, folder: Path) -> Path:
    """Export and verify one bundle into `folder`; returns its path. Raises `VerificationError` if it differs."""
    # Here and not at the top: torch is loaded by the commands that need it.
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.models.recipe import load_recipe

    path = folder / model.name
    options = ExportOptions(checkpoint=WEIGHTS / f"{model.name}.safetensors")
    export_bundle(load_recipe(model.recipe), options, path, lambda _: None)
    return path


def main() -> None:
    """Make all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for model in PACKAGED:
        if not arguments.names or model.name in arguments.names:
            print(make(model, arguments.output))


if __name__ == "__main__":
    main()
