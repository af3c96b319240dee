"""Agreement of generated digits with their captions, measured from the images.

    python benchmarks/generation/text2image.py digits/held RUN [--prompts 500] [--seed 0] [--sheet sheet.png]
    python benchmarks/generation/text2image.py digits/train RUN --seed 1 --guidance 1 1.5 2 3   (to choose settings)

One line of JSON each for real digits of the folder, rendered with the attributes of the prompts, and for the images
that the model makes from the captions. The included classifier finds the digit; stroke width, slant and colours come
from `edgevision/evaluation/attributes.py`. RUN is a run folder or weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.checkpoint.reading import read_run
from edgevision.datasets.captions import Attributes
from edgevision.datasets.rendering import coloured, random_colour, random_shape
from edgevision.evaluation.attributes import agreement
from edgevision.models.generators.judge import read_judge
from edgevision.models.generators.text2image import text2image_from_state_dict
from edgevision.sources.image_files import write_image
from edgevision.train.data.class_images import read_classes
from edgevision.train.generation.sampling import sheet
from edgevision.train.generation.text2image import images_of, prompts, shown

_SHOWN = 60


def rendered(folder: Path, asked: list[Attributes], seed: int) -> npt.NDArray[np.uint8]:
    """Real digits with the attributes of the prompts, uint8 ``[N,3,56,56]``."""
    data = read_classes(folder, folder, longest_side=1000).train
    rng = np.random.default_rng(seed)
    images = []
    for one in asked:
        index = int(rng.choice(np.flatnonzero(data.labels == one.digit)))
        shape = random_shape(data.pictures[index][..., 0], one.thickness, one.slant, rng)
        images.append(coloured(shape, random_colour(one.ink, rng), random_colour(one.paper, rng)))
    return np.stack(images).transpose(0, 3, 1, 2)


def main() -> None:
    """Print the agreement of real and generated images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("digits", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--judge", type=Path, help="a run of `digits`; default: the included weights")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="*", help="sampling steps of the decoder")
    parser.add_argument("--guidance", type=float, nargs="*", help="guidance of the decoder")
    parser.add_argument("--interval", type=float, nargs=2, help="times at which guidance of the decoder acts")
    parser.add_argument("--order", type=int, help="predictions that a step of the decoder combines")
    parser.add_argument("--sheet", type=Path, help="write the first images of the last model")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    asked, judge = prompts(options.prompts, options.seed), read_judge(options.judge)

    def report(name: str, images: npt.NDArray[np.uint8], **settings: float | tuple[float, ...]) -> None:
        row = {key: round(value, 1) for key, value in agreement(shown(images, judge), asked).items()}
        print(json.dumps({"images": name, "count": len(images)} | settings | row), flush=True)

    report("real digits, rendered", rendered(options.digits, asked, options.seed))
    for run in options.runs:
        model = text2image_from_state_dict(read_run(run).tensors)
        if options.order:
            model.decoder.order.fill_(options.order)
        interval = tuple(options.interval or model.decoder.interval.tolist())
        for steps in options.steps or [int(model.decoder.steps)]:
            for guidance in options.guidance or [float(model.decoder.guidance)]:
                model.decoder.keep_sampling(steps, guidance, interval)
                images = images_of(model, asked, options.seed)
                report(run.stem, images, steps=steps, guidance=guidance, interval=interval)
        if options.sheet:
            write_image(options.sheet, sheet(images[:_SHOWN]))


if __name__ == "__main__":
    main()
