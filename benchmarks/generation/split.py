"""Splits a folder of idx files into training and held-out data, both as folders of idx files.

    python benchmarks/generation/split.py $EDGEVISION_DATA/mnist digits [--held 2000] [--seed 0]

The held-out digits are the last ones of numpy's permutation by the seed. Nothing is trained or selected on them.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.storage import atomic
from edgevision.train.data.class_images import read_classes


def write_idx(folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
    """Write images ``[N,H,W]`` and labels ``[N]``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels.astype(np.uint8))):
        header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        atomic.write_file(folder / name, header + np.ascontiguousarray(values).tobytes())


def main() -> None:
    """Read, shuffle, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path, help="folder for train/ and held/")
    parser.add_argument("--held", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = read_classes(options.data, options.data, longest_side=1000).train
    order = np.random.default_rng(options.seed).permutation(len(data))
    images = np.stack([picture[..., 0] for picture in data.pictures])
    kept = len(data) - options.held
    for name, chosen in (("train", order[:kept]), ("held", order[kept:])):
        write_idx(options.output / name, images[chosen], data.labels[chosen])
        print(f"{options.output / name}: {len(chosen)} images, by class {np.bincount(data.labels[chosen])}")


if __name__ == "__main__":
    main()
