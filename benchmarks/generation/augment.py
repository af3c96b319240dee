"""A classifier from few real digits and generated ones, against the few alone, on held-out digits.

    python benchmarks/generation/augment.py digits/train digits/held --work augment [--json FILE]

Each seed selects its own few digits of every class. They train a classifier, a generator with random changes of its
samples, and a second classifier. Half of the second one's samples are generated digits that the first one assigns to
their class (`edgevision train digits --generated`). Both classifiers have the same number of steps and the same
augmentation. Nothing selects weights: the last average counts. A stopped benchmark continues with the parts that its
folder lacks.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from split import write_idx  # type: ignore[import-not-found]  # beside this script

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.contract.spec import FrameInput
from edgevision.device.facts import device_facts
from edgevision.models.cnn import cnn_from_state_dict
from edgevision.models.recipe import load_recipe
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass
from edgevision.train.data.class_images import ClassDataset, read_classes
from edgevision.train.job import Job, run_job
from edgevision.train.loop.module import tensor_from_frames
from edgevision.train.loop.run_folder import RunFolder
from edgevision.train.start import hardware_for, prepare_process, task_for
from edgevision.train.tasks.classifier import measure_classifier

COPIES = 10
"""Times that each of the few digits is in an epoch: epochs of a few steps would mostly write their records."""
NEVER = 1 << 30
"""Epochs between validations: only the last weights are kept."""


@dataclass(frozen=True)
class Settings:
    """Lengths and sizes of one comparison."""

    generator: str
    each: int
    generated: int
    augment: float
    generator_epochs: int
    classifier_epochs: int


def few_of(data: ClassDataset, each: int, seed: int, folder: Path) -> None:
    """Write `each` digits of every class, `COPIES` times, as idx files."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(data.labels == label))[:each] for label in range(len(data.classes))]
    )
    images = np.stack([data.pictures[place][..., 0] for place in chosen])
    write_idx(folder, np.tile(images, (COPIES, 1, 1)), np.tile(data.labels[chosen], COPIES))


def train(recipe: str, data: Path, run: Path, epochs: int, seed: int, **more: Any) -> None:
    """Train unless the run is complete, without selection of weights."""
    if (run / "best.safetensors").is_file():
        return
    loaded = load_recipe(recipe)
    assert loaded.training is not None
    augment = more.pop("augment", None)
    plan = loaded.training if augment is None else replace(loaded.training, augment=augment)
    plan = replace(plan, optimization=replace(plan.optimization, validate_every=NEVER))
    job = Job(
        recipe=recipe,
        data=str(data),
        images=None,
        held=str(data),
        held_images=None,
        classes=None,
        monitor=None,
        balance=False,
        epochs=epochs,
        minutes=None,
        patience=None,
        seed=seed,
        plan=plan,
        **more,
    )
    hardware = hardware_for("cpu", 1, workers=0)
    prepare_process(job, hardware)
    folder = RunFolder(run)
    resume = folder.config.is_file()
    run_job(job, task_for(job, loaded), folder, hardware, resume=resume, report=lambda _: None)


def top1(run: Path, held: ClassDataset) -> float:
    """Percent of the held-out digits that a trained classifier assigns to their class."""
    recipe = load_recipe("digits")
    pixels = recipe.pixels
    model = cnn_from_state_dict(read_checkpoint(run / "best.safetensors").tensors)

    def tensor_of(frames: torch.Tensor) -> torch.Tensor:
        return tensor_from_frames(frames, pixels.scale, pixels.mean, pixels.std)

    frames = FrameInput((28, 28), fit=recipe.fit)
    return measure_classifier(model, held, frames, tensor_of, torch.device("cpu"))["top1"]


def compared(
    data: ClassDataset, held: ClassDataset, settings: Settings, seed: int, work: Path
) -> dict[str, Any]:
    """The accuracy of both classifiers of one seed."""
    few, alone, maker, mixed = (work / f"{seed}-{name}" for name in ("few", "alone", "generator", "mixed"))
    few_of(data, settings.each, seed, few)
    epochs, count = settings.classifier_epochs, COPIES * settings.each * len(data.classes)
    train("digits", few, alone, epochs, seed)
    train(
        settings.generator,
        few,
        maker,
        settings.generator_epochs,
        seed,
        augment=settings.augment,
        judge=str(alone),
    )
    generated = settings.generated
    equal = max(1, round(epochs * count / (count + generated)))
    train(
        "digits", few, mixed, equal, seed, generated=str(maker), generated_count=generated, judge=str(alone)
    )
    row = {"seed": seed, "few": top1(alone, held), "with generated": top1(mixed, held)}
    return row | {"gain": round(row["with generated"] - row["few"], 3)}


def main() -> None:
    """Print a line for each seed, and the gain with its spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--generator", default="dcgan", choices=("dcgan", "vae", "diffusion"))
    parser.add_argument("--each", type=int, default=20, help="real digits of each class")
    parser.add_argument("--generated", type=int, default=2000, help="generated digits")
    parser.add_argument(
        "--augment", type=float, default=1.0, help="random changes of the generator's samples"
    )
    parser.add_argument("--generator-epochs", type=int, default=12)
    parser.add_argument("--classifier-epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--choose", action="store_true", help="measure on training digits that are not among the few"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = read_classes(options.train, options.train, longest_side=1000).train
    held = read_classes(options.held, options.held, longest_side=1000).train
    if options.choose:
        order = np.random.default_rng(1000).permutation(len(data))
        data, held = data.subset(order[2000:]), data.subset(order[:2000])
    settings = Settings(
        options.generator,
        options.each,
        options.generated,
        options.augment,
        options.generator_epochs,
        options.classifier_epochs,
    )
    rows = []
    for seed in options.seeds:
        rows.append(compared(data, held, settings, seed, options.work))
        print(json.dumps(rows[-1]), flush=True)
    gains = [row["gain"] for row in rows]
    spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
    means = {name: statistics.mean(row[name] for row in rows) for name in ("few", "with generated")}
    print(
        f"top-1 on {len(held)} digits, mean of {len(rows)} seeds: {means['few']:.2f} % from {settings.each} a class,"
        f" {means['with generated']:.2f} % with {settings.generated} generated; gain {statistics.mean(gains):+.2f},"
        f" standard deviation {spread:.2f}, {min(gains):+.2f} to {max(gains):+.2f}"
    )
    if options.json is not None:
        record = {
            "settings": json_from_dataclass(settings),
            "digits": len(held),
            "rows": rows,
            "gain": {"mean": statistics.mean(gains), "standard deviation": spread},
            "device": json_from_dataclass(device_facts()),
        }
        atomic.write_file(options.json, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
