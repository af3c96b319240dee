"""Metrics of a bundle that fills regions, on held-out digits.

    python benchmarks/generation/inpainting.py BUNDLE digits/held [--count 400] [--precision P] [--sheet FILE.png]

Each digit loses a box in its centre (a quarter of its pixels), or one of its halves in turn. Both are filled as asked,
by the full caption or the class, and freely. The included classifier of digits sees the filled digits: the share of the
original class, and the feature distance to as many other held-out digits, beside that of the originals. Pixels outside
of the hole must be equal to the original's; their differences are counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.contract.classes import ANY
from edgevision.contract.inputs import Region, Tensors, tensors_for
from edgevision.contract.session import Session, SessionOptions
from edgevision.engines.opening import open_session
from edgevision.evaluation.generation import feature_distance
from edgevision.models.generators.judge import read_judge
from edgevision.sources.image_files import write_image
from edgevision.train.data.class_images import read_classes
from edgevision.train.data.holes import HALVES, centre_hole, half_hole
from edgevision.train.data.image_arrays import ImageArrays
from edgevision.train.generation.captioned import ink_of, rendered_digits
from edgevision.train.generation.sampling import sheet

Images = npt.NDArray[np.uint8]
SIDE = 28


@dataclass(frozen=True, eq=False)
class Digits:
    """Frames uint8 ``[N,28,28,3]`` BGR, and what the model is given: labels ``[N]``, or tokens ``[N,L]``."""

    frames: Images
    classes: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int32]
    free: int
    """Label or token that stands for nothing."""
    captioned: bool

    def grey(self, frames: Images) -> Images:
        """The images ``[N,1,28,28]`` that the classifier sees."""
        return ink_of(frames[..., ::-1].transpose(0, 3, 1, 2)) if self.captioned else frames[:, None, :, :, 0]


def read_digits(folder: Path, session: Session, seed: int) -> Digits:
    """The held-out digits, rendered with attributes if the model takes a text."""
    data = read_classes(folder, folder, longest_side=1000).train
    frames = np.stack(data.pictures)
    if session.spec.tensors.of_kind("tokens") is None:
        free = session.spec.classes.index(ANY)
        return Digits(frames, data.labels, data.labels.astype(np.int32), free, captioned=False)
    drawn = rendered_digits(ImageArrays(frames[:, None, ..., 0], data.labels), seed)
    frames = np.ascontiguousarray(drawn.images.transpose(0, 2, 3, 1)[..., ::-1])
    return Digits(frames, data.labels, drawn.tokens.astype(np.int32), 0, captioned=True)


def filled(
    session: Session, digits: Digits, holes: Images, asked: npt.NDArray[np.int32], seed: int
) -> Images:
    """Every frame with its hole filled; image k has the noise k of the seed."""
    return np.concatenate(list(_batches(session, digits, holes, asked, seed)))


def _batches(
    session: Session, digits: Digits, holes: Images, asked: npt.NDArray[np.int32], seed: int
) -> Iterator[Images]:
    given, size = session.spec.tensors, session.spec.batch.opt
    for start in range(0, len(holes), size):
        numbers = range(start, min(start + size, len(holes)))
        rows = [
            tensors_for(
                given,
                seed,
                [number],
                [0 if digits.captioned else int(asked[number])],
                asked[number : number + 1] if digits.captioned else None,
                Region(digits.frames[number], holes[number] * np.uint8(255)),
            ).arrays
            for number in numbers
        ]
        rows += rows[-1:] * (size - len(rows))
        batch = Tensors(tuple(np.concatenate(parts) for parts in zip(*rows, strict=True)))
        yield session.infer(batch)[0][: len(numbers)]


def main() -> None:
    """Print a line for each kind of hole and condition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("--count", type=int, default=400, help="digits that are filled")
    parser.add_argument("--precision", choices=("float", "fp16", "int8"))
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write the first digits: original, hole, as asked, freely")
    options = parser.parse_args()
    judge, count = read_judge(None), options.count
    session_options = SessionOptions(precision=options.precision, threads=1)
    with open_session(options.bundle, engine=options.engine, options=session_options) as session:
        digits = read_digits(options.held, session, options.seed)
        features, seen = judge.judged(digits.grey(digits.frames[: 2 * count]))
        real = {
            "digits": count,
            "classifier right": round(float((seen == digits.classes[: 2 * count]).mean()), 4),
            "distance of originals": round(feature_distance(features[:count], features[count:]), 3),
        }
        print(json.dumps(real), flush=True)
        drawn = [digits.frames[:10]]
        for kind in ("box", "half"):
            holes = np.stack(
                [centre_hole(SIDE) if kind == "box" else half_hole(SIDE, n % HALVES) for n in range(count)]
            )
            drawn.append(np.where(holes[:10, ..., None] > 0, np.uint8(128), digits.frames[:10]))
            for condition in ("asked", "free"):
                asked = digits.asked if condition == "asked" else np.full_like(digits.asked, digits.free)
                made = filled(session, digits, holes, asked, options.seed)
                found, classes = judge.judged(digits.grey(made))
                changed = (made != digits.frames[:count]).any(3) & (holes == 0)
                row = {
                    "hole": kind,
                    "filled": condition,
                    "original class": round(float((classes == digits.classes[:count]).mean()), 4),
                    "distance": round(feature_distance(found, features[count:]), 3),
                    "known pixels changed": int(changed.sum()),
                }
                print(json.dumps(row), flush=True)
                drawn.append(made[:10])
    if options.sheet is not None:
        images = np.concatenate(drawn)[..., ::-1].transpose(0, 3, 1, 2)
        write_image(options.sheet, sheet(images))


if __name__ == "__main__":
    main()
