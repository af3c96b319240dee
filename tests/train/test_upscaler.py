"""Training of super-resolution: pairs, orientation, and a network that learns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.datasets.cubic import shrunk
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.plan import UpscalerPlan
from edgevision.models.recipe import load_recipe
from edgevision.models.sr import Upscaler, upscaler_from_state_dict
from edgevision.sources.image_files import write_image
from edgevision.train.data.image_pairs import draw_pair, read_pair_split, read_pairs

PLAN = UpscalerPlan(model="x3", size=48, reduce=0.5)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(4):
        image = np.random.default_rng(seed).integers(0, 256, (40 + seed, 50, 3), np.uint8)
        write_image(folder / f"{seed}.png", np.asarray(cv2.resize(image, (200, 160)), np.uint8))
    return folder


def test_pairs_fit_each_other(photographs: Path) -> None:
    pairs = read_pairs(photographs, PLAN, reduce=PLAN.reduce, strict=False)
    assert pairs.targets[0].shape == (78, 99, 3)  # half of 160 and 200, cut to multiples of 3
    assert pairs.inputs[0].shape == (26, 33, 3)
    assert np.array_equal(pairs.inputs[0], shrunk(pairs.targets[0], (33, 26)))


def test_samples_and_targets_have_the_same_orientation(photographs: Path) -> None:
    pairs = read_pairs(photographs, PLAN, reduce=PLAN.reduce, strict=False)
    seen = set()
    for seed in range(40):
        small, large = draw_pair(pairs, 1, PLAN, np.random.default_rng(seed))
        assert small.shape == (16, 16, 3)
        assert large.shape == (48, 48, 3)
        inner = np.abs(shrunk(large, (16, 16)).astype(int) - small)[2:-2, 2:-2]
        assert inner.max() <= 2
        seen.add(small.tobytes())
    assert len(seen) > 30


def test_the_split(photographs: Path) -> None:
    train, held, source = read_pair_split(photographs, None, PLAN, seed=0, strict=False)
    assert (len(train), len(held)) == (3, 1)
    assert "a tenth" in source
    _, measured, _ = read_pair_split(photographs, photographs, PLAN, seed=0, strict=False)
    assert measured.targets[0].shape[:2] == (159, 198)  # not reduced


def test_unsuitable_folders_are_named(tmp_path: Path, photographs: Path) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        read_pairs(tmp_path, PLAN, reduce=1.0, strict=False)
    with pytest.raises(UsageError, match=r"is large enough for samples of 192 px .* lower --size"):
        read_pairs(photographs, UpscalerPlan(model="x2", size=192), reduce=1.0, strict=False)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_untrained_network_is_close_to_bicubic(factor: int) -> None:
    """What it starts from: the fixed filters are OpenCV's enlargement, also at the edges."""
    import torch

    model = Upscaler(factor, width=8, depth=2)
    torch.nn.init.zeros_(model.last.weight)
    image = np.asarray(cv2.GaussianBlur(np.random.default_rng(0).random((14, 17, 3), np.float32), (0, 0), 1))
    with torch.inference_mode():
        made = model(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))[0].numpy().transpose(1, 2, 0)
    expected = cv2.resize(image, (17 * factor, 14 * factor), interpolation=cv2.INTER_CUBIC)
    assert np.abs(made - expected).max() < 1e-5


def test_weights_state_their_sizes() -> None:
    model = Upscaler(4, width=12, depth=6)
    again = upscaler_from_state_dict({f"model.{name}": value for name, value in model.state_dict().items()})
    assert (again.factor, again.width, again.depth) == (4, 12, 6)
    with pytest.raises(CheckpointError, match="not the weights of an Upscaler"):
        upscaler_from_state_dict({"first.weight": model.first.weight})
    with pytest.raises(UsageError, match="factor must be one of 2, 3, 4"):
        Upscaler(5)


def test_it_learns_and_exports(photographs: Path, tmp_path: Path) -> None:
    """Blocks of one colour: their edges are sharper than a bicubic enlargement's."""
    for seed in range(4):
        blocks = np.random.default_rng(seed).integers(0, 2, (20, 20, 3), np.uint8) * 255
        write_image(photographs / f"{seed}.png", blocks.repeat(8, 0).repeat(8, 1))
    run = tmp_path / "run"
    arguments = ["train", "sr", "--data", photographs, "--val", photographs, "--epochs", "40", "--size", "48"]
    arguments += ["--batch", "4", "-o", run]
    done = CliRunner().invoke(edgevision, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    place = rows[0].index("PSNR")
    measured = [float(row[place]) for row in rows[1:] if row[place]]
    assert measured[-1] > measured[0] + 0.5
    bundle = tmp_path / "bundle"
    arguments = ["export", "sr", "--checkpoint", run, "--size", "48x48", "--no-fp16", "-o", bundle]
    CliRunner().invoke(edgevision, [str(part) for part in arguments], catch_exceptions=False)
    assert Bundle.open(bundle).spec.provenance.recipe == "sr: Upscaler x2, 115,340 parameters"


def test_options_of_other_tasks_are_refused(photographs: Path, tmp_path: Path) -> None:
    arguments = ["train", "sr", "--data", str(photographs), "--epochs", "1", "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(edgevision, [*arguments, "--classes", "a,b"])
    assert isinstance(done.exception, UsageError)
    assert "has no classes" in str(done.exception)
    with pytest.raises(UsageError, match="x7"):
        CliRunner().invoke(edgevision, [*arguments, "--model", "x7"], catch_exceptions=False)
    assert load_recipe("sr").training is not None
