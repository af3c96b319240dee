"""`--tiles` of `run` and `live`, and of the Python API: frames of any size, made in tiles of the graph's size."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import edgevision
from edgevision.cli.root import edgevision as command
from edgevision.contract.results import Translation
from edgevision.errors import UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.models.recipe import Recipe, SourceModel, load_recipe
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan
from edgevision.sources.image_files import write_image
from tests.inference.clips import write_clip

SIZE_WH = (48, 40)
FRAMES = {"large": (130, 70), "small": (30, 20), "equal": SIZE_WH, "wide": (100, 24)}
MARGIN = 5
"""The network sees four pixels around each one."""


class Enlarger(nn.Module):
    """Four convolutions of 3x3 and an enlargement by 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image to image."""
        made: torch.Tensor = x.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.layers(x)
        return made


def recipe() -> Recipe:
    source = SourceModel(Enlarger().eval(), "test", ())
    return replace(load_recipe("sr"), untrained=lambda: source, training=None)


def exported(path: Path, size_wh: tuple[int, int]) -> Path:
    return export_bundle(
        recipe(), ExportOptions(random_weights=True, size_wh=size_wh), path, lambda _: None
    ).path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("tiles") / "b", SIZE_WH)


def frame_of(size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.uint8)


def whole(frame: np.ndarray) -> np.ndarray:
    """The network on the whole frame, in PyTorch."""
    x = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        made = Enlarger()(x)[0].permute(1, 2, 0).numpy()
    return np.asarray((255 * made[..., ::-1]).clip(0, 255))


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_run_makes_whole_images_of_frames_of_any_size(bundle: Path, tmp_path: Path) -> None:
    for name, size_wh in FRAMES.items():
        write_image(tmp_path / "in" / f"{name}.png", frame_of(size_wh))
    done = ran("run", bundle, tmp_path / "in", "--tiles", "--overlap", "20", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "4 frames" in done.output
    for name, size_wh in FRAMES.items():
        made = cv2.imread(str(tmp_path / "out" / f"{name}.png"))
        expected = whole(frame_of(size_wh))
        assert made is not None
        assert made.shape == expected.shape == (2 * size_wh[1], 2 * size_wh[0], 3)
        # Right and below, a frame smaller than a tile is padded by reflection, PyTorch's with zeros.
        right, below = (2 * MARGIN if side < tile else 0 for side, tile in zip(size_wh, SIZE_WH, strict=True))
        difference = np.abs(made - expected)[: len(made) - below, : made.shape[1] - right]
        assert difference.max() <= 1


@pytest.mark.parametrize("serial", [True, False])
def test_a_video_and_cameras(bundle: Path, tmp_path: Path, serial: bool) -> None:
    frames = [frame_of((130, 70)) for _ in range(5)]
    write_clip(tmp_path / "a.mp4", frames)
    done = ran("run", bundle, tmp_path / "a.mp4", "--tiles", "-o", tmp_path / "out.mp4", "--limit", "4")
    assert done.exit_code == 0, done.output
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (260, 140)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    workers = ("--workers", "1") if serial else ()
    lines = tmp_path / "lines.jsonl"
    cameras = [f"{name}=loop:{tmp_path / 'a.mp4'}" for name in "ab"]
    done = ran("run", bundle, *cameras, "--tiles", "--jsonl", lines, "--limit", "4", *workers)
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["source"] for record in records].count("a") == 2
    assert all(record["image"] == {"width": 260, "height": 140} for record in records)


def test_the_camera_manager_makes_tiles(bundle: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [frame_of((130, 70))] * 5)
    images: list[Translation] = []
    options = PipelineOptions(tiles=True, overlap_px=8)
    manager = CameraManager(
        lambda _: edgevision.open_session(bundle, engine="onnxruntime"),
        [CameraPlan("door", f"loop:{tmp_path / 'a.mp4'}")],
        options=options,
    )
    manager.subscribe(lambda _, done: images.append(done.result))  # type: ignore[arg-type]  # of this task
    manager.start()
    try:
        until_s = time.monotonic() + 60
        while not images and manager.failure is None and time.monotonic() < until_s:
            time.sleep(0.02)
        with pytest.raises(UsageError, match="overlap by 21 pixels; expected 0 to 20"):
            manager.apply([], options=PipelineOptions(tiles=True, overlap_px=21))
        assert len(manager.cameras) == 1
    finally:
        manager.close()
    assert images[0].size_wh == (260, 140)


def test_the_python_api(bundle: Path, tmp_path: Path) -> None:
    frame = frame_of((130, 70))
    write_clip(tmp_path / "a.mp4", [frame, frame])
    tiles = edgevision.TileOptions(overlap_px=20)
    with edgevision.load(str(bundle), engine="onnxruntime", tiles=tiles) as model:
        one, other = model([frame, frame_of(SIZE_WH)])
        assert np.abs(one.plot() - whole(frame)).max() <= 1
        assert other.plot().shape == (80, 96, 3)
        streamed = list(model.stream(tmp_path / "a.mp4"))
    assert [prediction.plot().shape for _, prediction in streamed] == [(140, 260, 3)] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--overlap", "8"), "an overlap of 8 pixels is for tiles: add --tiles, or omit --overlap"),
        (
            ("--tiles", "--overlap", "21"),
            "tiles overlap by 21 pixels; expected 0 to 20, half of the shorter side",
        ),
        (("--tiles", "--overlap", "40"), "export with a larger --size for more"),
        (("--tiles", "--overlap", "-1"), "Invalid value for '--overlap'"),
        (("--tiles", "--overlap", "8.5"), "Invalid value for '--overlap'"),
        (("--tiles", "--batch", "9"), "batch 9 is out of range; expected 1"),
        ((), "frame is 130x70; expected 48x40, .* or run it with --tiles"),
    ],
)
def test_hostile_options(bundle: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_image(tmp_path / "a.png", frame_of((130, 70)))
    done = ran("run", bundle, tmp_path / "a.png", *arguments, "-o", tmp_path / "out")
    assert done.exit_code != 0
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(f"{done.exception} {done.output}")
    assert not list((tmp_path / "out").glob("*"))


def test_other_tasks_are_errors(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", frame_of((130, 70)))
    done = ran("run", "cnn", tmp_path / "a.png", "--tiles", "-o", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert "tiles are for image-to-image models; cnn has the task classify: omit --tiles" in str(
        done.exception
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="tiles are for image-to-image models"):
        edgevision.load("cnn", tiles=edgevision.TileOptions())
