"""Make two folders of unpaired images from pairs side by side, such as photos of facades and their label maps.

    python benchmarks/generation/facades.py PAIRS OUT [--held PAIRS]

The left half of each pair is the photo, the right half its map. OUT/train holds the photos of one half of the pairs and
the maps of the other half, so that no photo comes with its map. OUT/val holds both of each pair of `--held`, under
equal names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgevision.evaluation.images import images_of
from edgevision.sources.image_files import read_image, write_image


def write_parts(pairs: Iterable[Path], out: Path, parts: Iterable[str]) -> None:
    """Write the named parts, photo or map, of each pair as PNG."""
    wanted = list(parts)
    for pair in pairs:
        image = read_image(pair)
        middle = image.shape[1] // 2
        halves = {"photo": image[:, :middle], "map": image[:, middle:]}
        for part in wanted:
            (out / part).mkdir(parents=True, exist_ok=True)
            write_image(out / part / f"{pair.stem}.png", np.ascontiguousarray(halves[part]))


def main() -> None:
    """Split one folder of pairs, and another without loss of pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held", type=Path, help="pairs to measure on")
    options = parser.parse_args()
    files = images_of(options.pairs)
    order = np.random.default_rng(0).permutation(len(files))
    half = len(files) // 2
    write_parts((files[i] for i in sorted(order[:half])), options.out / "train", ("photo",))
    write_parts((files[i] for i in sorted(order[half:])), options.out / "train", ("map",))
    print(f"{options.out / 'train'}: {half} photos, {len(files) - half} maps of other pairs")
    if options.held is not None:
        held = images_of(options.held)
        write_parts(held, options.out / "val", ("photo", "map"))
        print(f"{options.out / 'val'}: {len(held)} photos with their maps")


if __name__ == "__main__":
    main()
