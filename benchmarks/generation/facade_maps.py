"""Measure label maps that a trained `cyclegan` makes from photos of facades, on pairs that no training used.

    python benchmarks/generation/facade_maps.py RUN PAIRS_TRAIN PAIRS_HELD [--sheet SHEET.png]

RUN is a run or its weights, trained on the folders of facades.py. Each pixel of a map gets the class of the nearest
colour. The share of pixels of the true class is stated for the maps that the network makes, for the true maps of those
training photos that are most similar to each photo (mean squared difference of pixels), and for the class that is most
frequent at each pixel of the training maps. Cycle errors are mean absolute differences in levels of 255, also of
untrained networks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgevision.checkpoint.reading import read_run
from edgevision.evaluation.images import images_of
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.images import images_bgr
from edgevision.models.translators.cyclegan import TranslatorPair, translators_from_state_dict
from edgevision.sources.image_files import read_image, write_image
from edgevision.train.data.pictures import tiled
from edgevision.train.data.unpaired import centre
from edgevision.train.loop.module import tensor_from_frames

PALETTE = np.array(
    [
        *((221, 0, 0), (255, 48, 0), (255, 128, 0), (255, 208, 0), (226, 255, 34), (144, 255, 112)),
        *((64, 255, 192), (0, 240, 255), (0, 160, 255), (0, 80, 255), (0, 0, 255), (0, 0, 176)),
    ],
    np.float64,
)
"""Colours of the twelve classes, BGR, read from the training maps: background, wall, window and others."""
SIGNED = PixelFormat("rgb", scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
Images = npt.NDArray[np.uint8]


def pairs(folder: Path, size: int) -> tuple[Images, Images]:
    """Photos and maps uint8 ``[N,size,size,3]`` of a folder of pairs."""
    found = [read_image(path) for path in images_of(folder)]
    halves = [(image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]) for image in found]
    photos, maps = zip(*halves, strict=True)
    return np.stack([centre(photo, size) for photo in photos]), np.stack([centre(m, size) for m in maps])


def classes(maps: Images) -> npt.NDArray[np.int64]:
    """The class of the nearest colour for each pixel."""
    flat = maps.reshape(-1, 3).astype(np.float64)
    nearest = [((part[:, None] - PALETTE) ** 2).sum(2).argmin(1) for part in np.array_split(flat, 64)]
    return np.concatenate(nearest).reshape(maps.shape[:3]).astype(np.int64)


def nearest_maps(photos: Images, others: Images, maps: Images) -> Images:
    """For each photo the map of the most similar other photo."""
    flat, known = (images.reshape(len(images), -1).astype(np.float64) for images in (photos, others))
    distance = (flat**2).sum(1)[:, None] + (known**2).sum(1) - 2 * flat @ known.T
    return np.asarray(maps[distance.argmin(1)], np.uint8)


def translated(network: nn.Module, images: Images) -> Images:
    """Images through a generator, rounded to 8 bits."""
    made = []
    with torch.inference_mode():
        for start in range(0, len(images), 20):
            frames = torch.from_numpy(images[start : start + 20])
            made.append(
                images_bgr(network(tensor_from_frames(frames, 1 / 127.5, (1,) * 3, (1,) * 3)), SIGNED)
            )
    return np.concatenate(made)


def cycle_error(there: nn.Module, back: nn.Module, images: Images) -> float:
    """Mean absolute difference after both translations."""
    again = translated(back, translated(there, images))
    return float(np.abs(again.astype(np.float64) - images).mean())


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--sheet", type=Path, help="write photo, made, nearest and true map of eight pairs")
    options = parser.parse_args()
    checkpoint = read_run(options.run)
    trained = translators_from_state_dict(checkpoint.tensors)
    photos, maps = pairs(options.held, options.size)
    known, known_maps = pairs(options.train, options.size)
    backwards = checkpoint.class_names[0] == "map"
    sides: Callable[[TranslatorPair], tuple[nn.Module, nn.Module]] = lambda pair: (  # noqa: E731  # a choice of order
        (pair.back, pair.forth) if backwards else (pair.forth, pair.back)
    )
    to_map, to_photo = sides(trained)
    made, near, true = translated(to_map, photos), nearest_maps(photos, known, known_maps), classes(maps)
    votes = classes(known_maps)
    frequent = np.stack([(votes == label).sum(0) for label in range(len(PALETTE))]).argmax(0)
    torch.manual_seed(0)
    first = TranslatorPair(trained.forth.width, trained.forth.depth).eval()
    record = {
        "held pairs": len(photos),
        "agreement of made maps": round(100 * float((classes(made) == true).mean()), 2),
        "agreement of the nearest training maps": round(100 * float((classes(near) == true).mean()), 2),
        "agreement of the most frequent classes": round(100 * float((frequent == true).mean()), 2),
        "pairs with a better made map": int(
            ((classes(made) == true).mean((1, 2)) > (classes(near) == true).mean((1, 2))).sum()
        ),
        "cycle error": {
            "photo": round(cycle_error(to_map, to_photo, photos), 2),
            "map": round(cycle_error(to_photo, to_map, maps), 2),
        },
        "cycle error of untrained networks": {
            "photo": round(cycle_error(first.forth, first.back, photos), 2),
            "map": round(cycle_error(first.back, first.forth, maps), 2),
        },
    }
    print(json.dumps(record, indent=2))
    if options.sheet is not None:
        shown = slice(0, 8)
        back = translated(to_photo, maps[shown])
        columns = (photos[shown], made[shown], near[shown], maps[shown], back)
        write_image(options.sheet, tiled(list(zip(*columns, strict=True))))


if __name__ == "__main__":
    main()
