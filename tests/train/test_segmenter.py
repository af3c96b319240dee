"""Training of masks: reading, augmentation, loss and a run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors
import torch
from click.testing import CliRunner, Result

from edgevision.cli.root import edgevision
from edgevision.errors import UsageError
from edgevision.evaluation.segmentation import VOID
from edgevision.models.plan import SegmenterPlan
from edgevision.train.data.label_masks import read_masks
from edgevision.train.data.mask_augmentation import draw_masked
from edgevision.train.tasks.segmenter import class_weights, dice_loss

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning", "ignore::FutureWarning:lightning"
)


@pytest.fixture(scope="module")
def mask_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright discs on dark noise with their masks; a void border surrounds each."""
    folder = tmp_path_factory.mktemp("masks")
    rng = np.random.default_rng(0)
    for place in ("images", "masks"):
        (folder / place).mkdir()
    for number in range(16):
        image = rng.integers(0, 90, (40, 64, 3), dtype=np.uint8)
        mask = np.zeros((40, 64), np.uint8)
        centre = (int(rng.integers(14, 50)), int(rng.integers(12, 28)))
        cv2.circle(image, centre, 9, (60, 230, 230), -1)
        cv2.circle(mask, centre, 9, 1, -1)
        mask[:2] = 77
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number:02}.png"), mask)
    return folder


def test_images_and_masks_are_read_together(mask_data: Path) -> None:
    data = read_masks(mask_data, ("ground", "disc"))
    assert len(data) == 16
    assert data.masks[0][0, 0] == VOID
    shares = data.shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["disc"] == pytest.approx(np.pi * 81 / (38 * 64), rel=0.1)
    learnt, held = data.split(seed=0)
    assert (len(learnt), len(held)) == (15, 1)


def test_wrong_masks_name_the_file_and_the_value(mask_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pixel is labelled 'sky' \(value 2\)"):
        read_masks(mask_data, ("ground", "disc", "sky"))
    with pytest.raises(UsageError, match="has no folder images/"):
        read_masks(tmp_path, ("ground", "disc"))
    for place, size in (("images", (8, 8, 3)), ("masks", (8, 9))):
        (tmp_path / place).mkdir()
        cv2.imwrite(str(tmp_path / place / "a.png"), np.zeros(size, np.uint8))
    with pytest.raises(UsageError, match=r"a\.png is 9x8, its image 8x8"):
        read_masks(tmp_path, ("ground",))


def test_image_and_mask_move_together() -> None:
    """An image that shows its own mask still does after drawing, and beyond its edges all is void."""
    mask = np.zeros((60, 90), np.uint8)
    cv2.circle(mask, (40, 30), 20, 1, -1)
    picture = np.repeat((mask * 200)[..., None], 3, 2)
    plan = SegmenterPlan(size=90, crop=64, colour=0.0)
    for seed in range(40):
        image, labels = draw_masked(picture, mask, plan, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert labels.shape == (64, 64)
        inside = labels != VOID
        wrong = (image[..., 0] > 100)[inside] != (labels[inside] == 1)
        assert wrong.mean() < 0.03, "only where the edge is interpolated"
        assert inside.any()


def test_flips_have_the_configured_frequency() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16] = 255
    mask = (picture[..., 0] > 0).astype(np.uint8)
    plan = SegmenterPlan(size=32, gain=(1.0, 1.0), flip=0.3, colour=0.0)
    drawn = [draw_masked(picture, mask, plan, np.random.default_rng(seed))[1] for seed in range(400)]
    assert all(labels.tolist() in (mask.tolist(), mask[:, ::-1].tolist()) for labels in drawn)
    assert np.mean([labels[0, 0] == 0 for labels in drawn]) == pytest.approx(0.3, abs=0.06)


def test_dice_of_known_predictions() -> None:
    labels = torch.tensor([[[0, 0, 1, VOID]]])
    known = labels != VOID
    right = 40 * torch.tensor([[[[1.0, 1, -1, -1]], [[-1.0, -1, 1, 1]], [[-1.0, -1, -1, -1]]]])
    assert float(dice_loss(right, labels, known)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(-right[:, [0, 1, 1]], labels, known)) == pytest.approx(1, abs=0.02)
    even = torch.zeros(1, 2, 1, 4)
    # p = 1/2 everywhere: 2 * (g/2) / (3/4 + g) for g = 2 and g = 1 labelled pixels, three of them known
    expected = 1 - (2 / 2.75 + 1 / 1.75) / 2
    assert float(dice_loss(even, labels, known)) == pytest.approx(expected)


def test_void_alone_teaches_nothing() -> None:
    labels = torch.full((1, 2, 2), VOID)
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    torch.autograd.backward(dice_loss(logits, labels, labels != VOID))
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_rare_classes_weigh_more() -> None:
    weights = class_weights([0.9, 0.09, 0.01])
    assert weights.mean() == pytest.approx(1)
    assert weights[2] > 3 * weights[1] > 3 * weights[0]


def train(*arguments: object, recipe: str = "unet") -> Result:
    return CliRunner().invoke(edgevision, ["train", recipe, *map(str, arguments), "--device", "cpu"])


@pytest.mark.parametrize("recipe", ["unet", pytest.param("segformer", marks=pytest.mark.exhaustive)])
def test_a_segmenter_learns_and_records_its_size(recipe: str, mask_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--classes", "ground,disc", "--size", 64, "--batch", 4, "--epochs", 8, "--balance")
    result = train("--data", mask_data, "--val", mask_data, *options, "-o", run, recipe=recipe)
    assert result.exit_code == 0, result.output
    with safetensors.safe_open(str(run / "best.safetensors"), "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["size"]) == [64, 64], "40 of 64 rows, rounded up to the stride of 32"
    assert float(metadata["mIoU"]) > 70
    bundle = tmp_path / "discs"
    done = CliRunner().invoke(
        edgevision, ["export", recipe, "--checkpoint", str(run), "--no-fp16", "-o", str(bundle)]
    )
    assert done.exit_code == 0, done.output
    images = ["--images", str(mask_data / "images"), "--annotations", str(mask_data / "masks")]
    done = CliRunner().invoke(edgevision, ["eval", str(bundle), *images, "--engine", "onnxruntime"])
    assert done.exit_code == 0, done.output
    measured = float(done.output.split("mIoU ")[1].split()[0])
    assert measured == pytest.approx(float(metadata["mIoU"]), abs=0.2), (
        "the runtime reaches what training saw"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "masks contain numbers: list the class of each value with --classes"),
        (("--classes", "a=b,c"), "NAME=OTHER is not supported here"),
        (("--classes", "ground,disc", "--monitor", "sea"), "'sea' is not one of ground, disc"),
    ],
)
def test_mistakes(mask_data: Path, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    result = train("--data", mask_data, *options, "--epochs", 1, "-o", tmp_path / "run")
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
