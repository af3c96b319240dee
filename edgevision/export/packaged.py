"""Make the bundles that come with the package from the committed weights: ``python -m edgevision.export.packaged``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.bundle.packaged import FOLDER, MANIFEST, PACKAGED, PackagedModel

WEIGHTS = Path(edgevision.__file__).parent / "weights"


def make(model: PackagedModel, folder: Path) -> Path:
    """Export and verify one bundle into `folder`; returns its path. Raises `VerificationError` if it differs.

    The operating point of the packaged bundle is kept, because the same weights give the same scores. Other weights
    have none until ``edgevision eval --write-thresholds`` measures them.
    """
    # Here and not at the top: torch is loaded by the commands that need it.
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.models.recipe import load_recipe

    path = folder / model.name
    before = Bundle.open(model.path) if (model.path / MANIFEST).is_file() else None
    options = ExportOptions(checkpoint=WEIGHTS / f"{model.name}.safetensors")
    export_bundle(load_recipe(model.recipe), options, path, lambda _: None)
    keep_operating_point(before, Bundle.open(path))
    return path


def keep_operating_point(before: Bundle | None, made: Bundle) -> Bundle:
    """Write the operating point of a bundle into one that was made from the same weights; returns that one."""
    point = None if before is None else before.operating_point
    if before is None or point is None or _weights(before) is None or _weights(before) != _weights(made):
        return made
    return made.with_operating_point(replace(point, graph_sha256=made.graph("float").file.sha256))


def _weights(bundle: Bundle) -> str | None:
    provenance = bundle.spec.provenance
    return None if provenance is None else provenance.source_sha256


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
