"""Metrics of generators of digits on the held-out digits, which no training and no selection uses.

    python benchmarks/generation/measure.py digits/held RUN... [--train digits/train] [--steps N] [--guidance G]

Each generator makes one digit for each held-out one, of its class. The feature distance to all held-out digits is
stated beside that of as many training digits; and in halves, as the mean over both halves of the held-out digits,
beside the distance between these two halves. --choose compares with the training digits instead, to select settings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.evaluation.generation import feature_distance, generation_accuracy
from edgevision.models.generators.judge import Judge, read_judge
from edgevision.sources.image_files import write_image
from edgevision.train.data.class_images import read_classes
from edgevision.train.generation.reading import read_generator
from edgevision.train.generation.sampling import made, sheet

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def digits(folder: Path) -> tuple[Images, Labels]:
    """Images ``[N,1,28,28]`` and labels of an idx folder."""
    data = read_classes(folder, folder, longest_side=1000).train
    return np.stack([picture[None, ..., 0] for picture in data.pictures]), data.labels


class Reference:
    """Features of the real digits."""

    def __init__(self, judge: Judge, real: Images, labels: Labels, others: Images) -> None:
        self.judge, self.labels = judge, labels
        self.real, predicted = judge.judged(real)
        self.right = float((predicted == labels).mean())
        self.others, _ = judge.judged(others)
        self.halves = np.random.default_rng(0).permutation(len(real)).reshape(2, -1)
        self.floor = feature_distance(*(self.real[half] for half in self.halves))

    def row(self, images: Images) -> dict[str, object]:
        """All metrics of one generator."""
        features, predicted = self.judge.judged(images)
        found = generation_accuracy(
            features, predicted, self.labels, real=self.real, others=self.others, class_count=10
        )
        near = [feature_distance(features[a], self.real[b]) for a in self.halves for b in self.halves]
        return {
            "images": found.images,
            "distance": round(found.distance, 4),
            "of training digits": round(found.floor, 4),
            "ratio": round(found.ratio, 3),
            "distance of halves": round(float(np.mean(near)), 4),
            "of real halves": round(self.floor, 4),
            "ratio of halves": round(float(np.mean(near)) / self.floor, 3),
            "precision": round(found.precision, 4),
            "recall": round(found.recall, 4),
            "agreement": round(found.agreement, 4),
            "classes": found.classes,
        }


def main() -> None:
    """Print one JSON line for each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("held", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--judge", type=Path, help="a run of `digits`; default: the included weights")
    parser.add_argument("--steps", type=int, nargs="*", help="sampling steps of diffusion models")
    parser.add_argument("--guidance", type=float, nargs="*", help="guidance of diffusion models")
    parser.add_argument(
        "--interval", type=float, nargs=2, help="times at which guidance of diffusion models acts"
    )
    parser.add_argument("--choose", action="store_true", help="compare with training digits")
    parser.add_argument(
        "--count", type=int, help="number of digits to compare with; default: all held-out ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write ten samples of each class of the last generator")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    held, labels = digits(options.held)
    count = options.count or len(held)
    train, train_labels = digits(options.train)
    order = np.random.default_rng(options.seed).permutation(len(train))
    others = train[order[:count]]
    real, asked = held[:count], labels[:count]
    if options.choose:
        chosen = order[count : 2 * count]
        real, asked = train[chosen], train_labels[chosen]
    reference = Reference(read_judge(options.judge), real, asked, others)
    print(json.dumps({"real digits": len(real), "classifier right": reference.right}), flush=True)
    for run in options.runs:
        for steps in options.steps or [None]:
            for guidance in options.guidance or [None]:
                generator, noise = read_generator(
                    run, steps=steps, guidance=guidance, interval=options.interval
                )
                row = reference.row(made(generator, asked, noise, options.seed))
                settings = {
                    "run": run.name,
                    "steps": steps,
                    "guidance": guidance,
                    "interval": options.interval,
                }
                print(json.dumps(settings | row), flush=True)
                if options.sheet:
                    ten = np.repeat(np.arange(10), 10)
                    write_image(options.sheet, sheet(made(generator, ten, noise, 0)))


if __name__ == "__main__":
    main()
