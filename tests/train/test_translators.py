"""Training of unpaired translation and of style transfer: data, losses, and networks that learn."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.plan import CycleGanPlan, StylePlan
from edgevision.models.translators.cyclegan import TranslatorPair, translators_from_state_dict
from edgevision.models.translators.perception import Perception, gram, read_perception, statistics
from edgevision.models.translators.style import StyleNetwork, style_network_from_state_dict
from edgevision.sources.image_files import write_image
from edgevision.train.data.unpaired import centre, draw_sample, read_unpaired_split, scaled
from edgevision.train.loop.module import tensor_from_frames
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.starting import started
from edgevision.train.translation.buffer import ImageBuffer
from edgevision.train.translation.stylization import StyleDrawer, StyleLoss
from edgevision.train.translation.unpaired import CycleGanInTraining, UnpairedBatch, UnpairedDrawer


def signed(frames: torch.Tensor) -> torch.Tensor:
    return tensor_from_frames(frames, 1 / 127.5, (1, 1, 1), (1, 1, 1))


def write_images(folder: Path, count: int, *, negative: bool = False, size: int = 40) -> None:
    """Smooth random images; the negative ones are those of another kind."""
    folder.mkdir(parents=True)
    for seed in range(count):
        noise = np.random.default_rng(seed + 100 * negative).integers(0, 120, (5, 5, 3), np.uint8)
        image = np.asarray(cv2.resize(noise, (size, size + 8)), np.uint8)
        write_image(folder / f"{seed}.png", 255 - image if negative else image)


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    write_images(tmp_path / "kinds" / "dark", 5)
    write_images(tmp_path / "kinds" / "light", 4, negative=True)
    return tmp_path / "kinds"


def run(*arguments: object) -> None:
    done = CliRunner().invoke(edgevision, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_two_folders_are_two_kinds(kinds: Path) -> None:
    train, held, source = read_unpaired_split(kinds, None, 16, seed=0, strict=False)
    assert train.names == ("dark", "light")
    assert (len(train.first), len(train.second), len(held.first), len(held.second)) == (4, 3, 1, 1)
    assert train.first[0].shape == (22, 18, 3)  # the shorter side is 1.125 times a sample's
    assert "a tenth" in source
    whole, measured, _ = read_unpaired_split(kinds, kinds, 16, seed=0, strict=False)
    assert (len(whole), len(measured)) == (5, 5)
    assert measured.first[0].shape == (19, 16, 3)


def test_other_structures_are_named(kinds: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder; expected one with two folders"):
        read_unpaired_split(tmp_path / "none", None, 16, seed=0, strict=False)
    with pytest.raises(UsageError, match="holds the folders: none; expected two folders with images"):
        read_unpaired_split(kinds / "dark", None, 16, seed=0, strict=False)
    (tmp_path / "other" / "dark").mkdir(parents=True)
    write_images(tmp_path / "other" / "grey", 1)
    with pytest.raises(UsageError, match=r"dark \(0 images\), grey \(1 images\)"):
        read_unpaired_split(tmp_path / "other", None, 16, seed=0, strict=False)
    (tmp_path / "other" / "dark").rmdir()
    write_images(tmp_path / "other" / "blue", 1)
    with pytest.raises(UsageError, match="has the folders blue, grey; expected those of the training data"):
        read_unpaired_split(kinds, tmp_path / "other", 16, seed=0, strict=False)


def test_samples_are_parts_of_their_images() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    seen = set()
    for seed in range(30):
        part = draw_sample(image, 8, np.random.default_rng(seed))
        windows = [image[y : y + 8, x : x + 8] for y in range(13) for x in range(23)]
        assert any(np.array_equal(part, w) or np.array_equal(part, w[:, ::-1]) for w in windows)
        seen.add(part.tobytes())
    assert len(seen) > 20
    assert scaled(image, 10).shape == (10, 15, 3)
    assert np.array_equal(centre(image, 20), image[:, 5:25])


def test_the_larger_kind_is_drawn_in_order_and_the_other_at_random(kinds: Path) -> None:
    train, _, _ = read_unpaired_split(kinds, None, 16, seed=0, strict=False)
    draw = UnpairedDrawer(train, 18)  # as wide as the images: a sample states its image
    seconds = set()
    for seed in range(12):
        batch = draw([2], [np.random.default_rng(seed)], 0.0)
        image = batch.first[0].numpy()
        assert image.shape == (18, 18, 3)
        assert batch.first.float().mean() < 128 < batch.second.float().mean()
        rows = [train.first[2][top : top + 18] for top in range(5)]
        assert any(np.array_equal(image, row) or np.array_equal(image, row[:, ::-1]) for row in rows)
        seconds.add(batch.second.numpy()[0, 0, 0].tobytes())
    assert len(seconds) > 3


def test_a_buffer_returns_images_of_earlier_steps() -> None:
    torch.manual_seed(0)
    buffer = ImageBuffer(4)
    returned = []
    for step in range(40):
        made = torch.full((2, 1, 1, 1), float(step))
        found = buffer.exchange(made)
        assert found.shape == made.shape
        if step < 2:  # it fills first
            assert torch.equal(found, made)
        returned += [(step, float(value)) for value in found.flatten()]
    earlier = [step - value for step, value in returned[4:]]
    assert min(earlier) == 0
    assert 0.3 < np.mean([value > 0 for value in earlier]) < 0.7
    assert len(buffer.images) == 4
    assert torch.equal(ImageBuffer(0).exchange(torch.ones(2, 3)), torch.ones(2, 3))


def test_losses_of_a_perfect_cycle_are_zero() -> None:
    """Generators that change nothing: the cycle and identity losses are 0, the critics still judge."""
    pair = TranslatorPair(4, 1)
    pair.forth = pair.back = nn.Identity()  # type: ignore[assignment]  # stands for a translator
    pair.extra = nn.Conv2d(1, 1, 1)
    module = CycleGanInTraining(pair, CycleGanPlan(critic=4), TrainingProgress(10), 0, signed)
    frames = torch.randint(256, (2, 16, 16, 3), dtype=torch.uint8)
    parts = module.losses(UnpairedBatch(frames, 255 - frames))
    assert float(parts["cycle"]) == float(parts["identity"]) == 0
    assert torch.equal(parts["loss"], parts["fooled"])
    real = {"first": signed(frames), "second": signed(255 - frames)}
    by_hand = sum(
        (critic(real[kind]) - 1).square().mean()
        + critic(real["second" if kind == "first" else "first"]).square().mean()
        for kind, critic in module.critics.items()
    )
    made = {"first": real["second"], "second": real["first"]}
    assert torch.allclose(module.critic_loss(real, made), by_hand / 2)


def test_a_checkpoint_holds_the_images_of_the_past() -> None:
    def module() -> CycleGanInTraining:
        return CycleGanInTraining(
            TranslatorPair(4, 1), CycleGanPlan(critic=4), TrainingProgress(10), 0, signed
        )

    first, second = module(), module()
    first.earlier["second"].exchange(torch.rand(3, 3, 8, 8))
    state: dict[str, object] = {}
    first.on_save_checkpoint(state)
    second.on_load_checkpoint(state)
    kept = zip(first.earlier["second"].images, second.earlier["second"].images, strict=True)
    assert all(torch.equal(a, b) for a, b in kept)


def test_cyclegan_learns_and_both_directions_are_exported(kinds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run("train", "cyclegan", "--data", kinds, "--val", kinds, "--size", 16, "--epochs", 8, "-o", folder)
    errors = column(folder, "cycle error")
    assert errors[-1] < 0.85 * errors[0]
    assert (folder / "samples.png").is_file()
    frame = np.full((16, 16, 3), 60, np.uint8)
    images = {}
    for head in ("dark-to-light", "light-to-dark"):
        bundle = tmp_path / head
        run("export", "cyclegan", "--checkpoint", folder, "--head", head, "--no-fp16", "-o", bundle)
        assert head in Bundle.open(bundle).spec.provenance.recipe
        from edgevision.engines.opening import open_session

        with open_session(bundle, engine="onnxruntime") as session:
            images[head] = session([frame])[0].image  # type: ignore[union-attr]  # a Translation
    assert not np.array_equal(images["dark-to-light"], images["light-to-dark"])
    with pytest.raises(UsageError, match="its heads are dark-to-light, light-to-dark"):
        run("export", "cyclegan", "--checkpoint", folder, "--head", "dark", "-o", tmp_path / "b")


def test_weights_of_translators_state_their_sizes() -> None:
    pair = TranslatorPair(4, 2)
    again = translators_from_state_dict({f"model.{name}": value for name, value in pair.state_dict().items()})
    assert (again.forth.width, again.forth.depth) == (4, 2)
    with pytest.raises(CheckpointError, match="not the weights of a TranslatorPair"):
        translators_from_state_dict({"first.weight": torch.ones(1)})
    style = StyleNetwork(3, 4, 2)
    found = style_network_from_state_dict(
        {f"net.{name}": value for name, value in style.state_dict().items()}
    )
    assert (found.style_count, found.width, found.depth) == (3, 4, 2)
    with pytest.raises(CheckpointError, match="not the weights of a StyleNetwork"):
        style_network_from_state_dict(pair.state_dict())


def test_a_training_starts_from_weights_that_fit(tmp_path: Path) -> None:
    import safetensors.torch

    pair, other = TranslatorPair(4, 1), TranslatorPair(4, 2)
    safetensors.torch.save_file(pair.state_dict(), tmp_path / "pair.safetensors")
    (line,) = started(other, str(tmp_path / "pair.safetensors"))
    assert torch.equal(other.back.down2.weight, pair.back.down2.weight)
    assert line.endswith("parameters start from pair.safetensors")
    assert started(other, None) == ()
    with pytest.raises(UsageError, match="contains no tensor that fits"):
        started(StyleNetwork(1, 3, 1), str(tmp_path / "pair.safetensors"))


def test_gram_matrices_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    assert torch.equal(gram(features), torch.tensor([[[2.5, 0.5], [0.5, 5.0]]]))
    colours = statistics(torch.full((1, 3, 2, 2), 0.5), [features])[0]
    assert torch.allclose(colours[0], torch.tensor([[0.25] * 3 + [0.5]] * 3 + [[0.5] * 3 + [1.0]]))


def test_the_loss_of_a_style_is_zero_for_its_own_image() -> None:
    torch.manual_seed(0)
    perception = Perception(
        [nn.Conv2d(3, 4, 3, padding=1), *(nn.Conv2d(4, 4, 3, padding=1) for _ in range(6))]
    )
    styles = [torch.rand(1, 3, 16, 16) for _ in range(2)]
    loss = StyleLoss(perception, styles, StylePlan(variation=0.0))
    right = loss(styles[1], styles[1], torch.tensor([1]))
    wrong = loss(styles[1], styles[1], torch.tensor([0]))
    assert float(right["loss"]) < 1e-9
    assert float(wrong["style"]) > 1e-4
    assert float(wrong["content"]) == 0
    both = loss(
        torch.cat(styles), torch.cat(styles), torch.tensor([0, 1])
    )  # a row compares with its own style
    assert float(both["style"] + both["colours"]) < 1e-9
    flat = torch.zeros(1, 3, 4, 4)
    flat[..., 1::2] = 1
    assert float(loss(flat, flat, torch.tensor([0]))["variation"]) == 1  # across, nothing down


def test_every_sample_gets_a_style() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    batch = StyleDrawer([image], 8, 3)([0] * 40, [np.random.default_rng(i) for i in range(40)], 0.0)
    assert batch.images.shape == (40, 8, 8, 3)
    assert set(batch.labels.tolist()) == {0, 1, 2}


def test_the_included_detector_compares_images() -> None:
    features = read_perception(None)(torch.rand(1, 3, 64, 64))
    assert [tuple(part.shape[1:]) for part in features] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (128, 4, 4),
    ]
    with pytest.raises(CheckpointError, match="does not hold a detector whose features compare images"):
        read_perception(Path(__file__))


def test_style_transfer_learns(tmp_path: Path) -> None:
    write_images(tmp_path / "photographs", 6, size=48)
    write_images(tmp_path / "styles", 2, negative=True, size=48)
    folder = tmp_path / "run"
    arguments = [
        "--data",
        tmp_path / "photographs",
        "--val",
        tmp_path / "photographs",
        "--size",
        32,
        "--batch",
        2,
    ]
    run("train", "style", *arguments, "--styles", tmp_path / "styles", "--epochs", 8, "-o", folder)
    losses = column(folder, "held loss")
    assert losses[-1] < 0.8 * losses[0]
    assert (folder / "samples.png").is_file()
    with pytest.raises(UsageError, match="expected --styles FOLDER"):
        run("train", "style", *arguments, "--epochs", 1, "-o", tmp_path / "other")
