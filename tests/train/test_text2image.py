"""Training of text to image: stages, batches, resumption, and the measurement of agreement."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgevision.datasets.captions import Attributes
from edgevision.datasets.rendering import render
from edgevision.errors import UsageError
from edgevision.models.generators.judge import read_judge
from edgevision.models.generators.text2image import text2image_from_state_dict
from edgevision.models.plan import Optimization, Text2ImagePlan
from edgevision.models.recipe import load_recipe
from edgevision.train.data.captioned import CaptionDrawer, ShapedDigits, shaped_digits, stage_ends
from edgevision.train.data.image_arrays import ImageArrays
from edgevision.train.generation.text2image import images_of, new_network, prompts, shown
from edgevision.train.job import Hardware, Job, run_job
from edgevision.train.loop.run_folder import RunFolder
from edgevision.train.start import task_for

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning", "ignore::FutureWarning:lightning"
)
PLAN = Text2ImagePlan(
    samples=4, vector=16, width=16, variants=1, optimization=Optimization(batch=8, validate_every=4)
)
EPOCHS = 8


def written_digits(count: int) -> ImageArrays:
    """Digits in a font, white on black."""
    images = np.zeros((count, 1, 28, 28), np.uint8)
    for place, image in enumerate(images):
        origin = (7 + place // 10 % 3, 21)
        cv2.putText(image[0], str(place % 10), origin, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    return ImageArrays(images, np.arange(count) % 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as class folders."""
    folder = tmp_path_factory.mktemp("written")
    digits = written_digits(60)
    for place, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        (folder / str(label)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(label) / f"{place}.png"), image[0])
    return folder


def job_on(data: Path, plan: Text2ImagePlan = PLAN) -> Job:
    return Job("text2image", str(data), None, None, None, None, None, False, EPOCHS, None, None, 0, plan)


def run(job: Job, folder: Path, report: Callable[[str], None] = print, *, resume: bool = False) -> None:
    torch.manual_seed(0)
    task = task_for(job, load_recipe("text2image"))
    run_job(job, task, RunFolder(folder), Hardware("cpu"), resume=resume, report=report)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [
            {key: value for key, value in row.items() if key not in ("ms_per_step", "minutes")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_four_networks_train_in_turn_and_resume(data: Path, tmp_path: Path) -> None:
    run(job_on(data), tmp_path / "whole")
    rows = rows_of(tmp_path / "whole")
    first = {
        name: next(place for place, row in enumerate(rows) if row[name])
        for name in ("encoder", "prior", "upsampler", "decoder")
    }
    assert first["encoder"] == 0
    assert sorted(first.values()) == list(first.values())
    assert rows[-1]["decoder"]
    assert not rows[-1]["encoder"]
    assert float(rows[-1]["decoder"]) < 0.95 * float(rows[first["decoder"]]["decoder"])
    assert {"matched", "agreement", "digit", "thickness", "slant", "ink", "paper"} <= set(rows[-1])
    sheet = cv2.imread(str(tmp_path / "whole" / "samples.png"))
    assert sheet is not None
    assert sheet.shape[1] == 10 * 58 + 2

    def kill(line: str) -> None:
        if line.startswith("epoch 3"):
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(job_on(data), tmp_path / "killed", kill)
    run(job_on(data), tmp_path / "killed", resume=True)
    assert rows_of(tmp_path / "killed") == rows
    weights = [load_file(tmp_path / name / "best.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    text2image_from_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in weights[0].items()}
    )


def test_data_without_ten_grey_classes_is_an_error(class_data: Path) -> None:
    with pytest.raises(UsageError, match="received 2 classes"):
        task_for(job_on(class_data), load_recipe("text2image"))


def drawn(share: float, digits: ShapedDigits):  # type: ignore[no-untyped-def]  # the batch's own type
    rngs = [np.random.default_rng([1, place]) for place in range(8)]
    return CaptionDrawer(digits, PLAN)(list(range(8)), rngs, share)


def test_batches_of_each_stage() -> None:
    digits = shaped_digits(written_digits(10), 2, 0)
    assert digits.shapes.shape == (10, 2, 56, 56)
    encoder, prior, upsampler, decoder = (drawn(share, digits) for share in (0, 0.17, 0.22, 0.3))
    assert [batch.stage for batch in (encoder, prior, upsampler, decoder)] == [
        "encoder",
        "prior",
        "upsampler",
        "decoder",
    ]
    assert [len(batch.small) for batch in (encoder, prior, upsampler, decoder)] == [16, 8, 8, 8]
    assert upsampler.large is not None
    assert upsampler.large.shape == (8, 3, 56, 56)
    assert decoder.large is None
    halved = torch.nn.functional.avg_pool2d(upsampler.large, 2)
    assert float((halved - upsampler.small).abs().max()) < 0.02
    assert torch.equal(decoder.tokens, drawn(0.3, digits).tokens)
    assert float(decoder.small.min()) >= -1
    assert stage_ends(PLAN) == pytest.approx((0.16, 0.21, 0.28, 1.0))


def test_a_digit_without_ink_is_left_out() -> None:
    digits = written_digits(10)
    digits.images[4] = 0
    assert shaped_digits(digits, 1, 0).labels.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_images_depend_on_seed_and_prompt_only() -> None:
    torch.manual_seed(0)
    plan = replace(PLAN, steps=1)
    model, asked = new_network(plan).eval(), prompts(4, 1)
    torch.nn.init.normal_(model.decoder.last.weight, std=0.1)
    images = images_of(model, asked, 3)
    assert images.shape == (4, 3, 56, 56)
    assert np.array_equal(images[:2], images_of(model, asked, 3)[:2])
    assert not np.array_equal(images, images_of(model, asked, 4))
    assert [one.digit for one in prompts(12, 0)] == [*range(10), 0, 1]


def test_what_real_digits_show() -> None:
    """Real strokes of a font: colours and slant are always found; the classifier has seen handwriting only."""
    rng, digits = np.random.default_rng(0), written_digits(10)
    made = [render(digits.images[place, 0], place, rng) for place in range(10)]
    found = shown(np.stack([one.large.transpose(2, 0, 1) for one in made]), read_judge(None))
    asked = [one.attributes for one in made]
    assert all(isinstance(one, Attributes) for one in found)
    assert [(one.ink, one.paper) for one in found] == [(one.ink, one.paper) for one in asked]
    assert np.mean([one.slant == other.slant for one, other in zip(found, asked, strict=True)]) >= 0.9
    assert np.mean([one.digit == other.digit for one, other in zip(found, asked, strict=True)]) >= 0.7
