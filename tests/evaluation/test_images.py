"""PSNR and SSIM of made images, and the scaling that makes inputs of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgevision.cli.root import edgevision
from edgevision.contract.tiles.session import TiledSession
from edgevision.datasets.cubic import shrunk
from edgevision.engines.opening import open_session
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.images import ImagePair, find_pairs, luma, measure_all, psnr
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.models.recipe import load_recipe
from edgevision.sources.image_files import write_image

CSET5_BICUBIC = {2: 33.97, 4: 28.63}
"""PSNR of OpenCV's bicubic enlargement of the five images, of luma without the edge."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sr") / "b"
    options = ExportOptions(random_weights=True, size_wh=(72, 64))
    return export_bundle(load_recipe("sr"), options, path, lambda _: None).path


def noise(width: int, height: int) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)


@pytest.mark.parametrize("size_wh", [(40, 30), (33, 21), (80, 15)])
def test_images_shrink_as_in_pillow(size_wh: tuple[int, int]) -> None:
    image = noise(80, 60)
    expected = np.asarray(Image.fromarray(image).resize(size_wh, Image.Resampling.BICUBIC))
    assert np.abs(shrunk(image, size_wh).astype(int) - expected).max() <= 1


def test_luma_is_that_of_bt601() -> None:
    image = noise(20, 10)
    red, green, blue = (image[..., channel] / 255 for channel in (2, 1, 0))
    expected = 16 + 219 * (0.299 * red + 0.587 * green + 0.114 * blue)
    assert np.abs(luma(image) - expected).max() < 0.01


def test_psnr_is_ten_times_the_logarithm_of_the_mean_square() -> None:
    expected = np.zeros((10, 10))
    actual = expected + 5
    actual[0] = 200  # the edge is not measured
    assert psnr(expected, actual, 1) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr(expected, expected) == 100


@pytest.mark.parametrize("size_wh", [(150, 131), (72, 64), (41, 90)])
def test_tiles_join_without_a_seam(bundle: Path, size_wh: tuple[int, int]) -> None:
    """Compared with one graph of the image's whole size."""
    image = noise(*size_wh)
    whole = bundle.with_name(f"whole{size_wh[0]}")
    export_bundle(
        load_recipe("sr"), ExportOptions(random_weights=True, size_wh=size_wh), whole, lambda _: None
    )
    with open_session(bundle, engine="onnxruntime") as session:
        made = TiledSession(session).image_of(image)
    with open_session(whole, engine="onnxruntime") as session:
        expected = session.infer(image[None])[0][0]
    assert made.shape == expected.shape
    inner = slice(24, -24)  # a tile that exceeds the image has other pixels beyond its edge
    assert np.abs(made.astype(int) - expected)[inner, inner].max() <= 1


@pytest.mark.parametrize("factor", CSET5_BICUBIC)
def test_the_bicubic_reference_is_the_usual_one(factor: int, data_dir: Path) -> None:
    values = []
    for path in sorted((data_dir / "sr" / "CSet5").glob("*.png")):
        image = cv2.imread(str(path))
        assert image is not None
        target = np.asarray(
            image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor], np.uint8
        )
        small = shrunk(target, (target.shape[1] // factor, target.shape[0] // factor))
        large = cv2.resize(small, (target.shape[1], target.shape[0]), interpolation=cv2.INTER_CUBIC)
        values.append(psnr(luma(target), luma(np.asarray(large, np.uint8)), factor))
    assert np.mean(values) == pytest.approx(CSET5_BICUBIC[factor], abs=0.01)


def test_eval_makes_the_inputs_or_takes_them(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "small").mkdir()
    target = noise(101, 90)
    write_image(tmp_path / "large" / "a.png", target)
    write_image(tmp_path / "small" / "a.png", shrunk(np.asarray(target[:, :100]), (50, 45)))
    records = []
    for given in (["--images", "large"], ["--images", "small", "--annotations", "large"]):
        paths = [text if text.startswith("--") else str(tmp_path / text) for text in given]
        record = tmp_path / "record.json"
        arguments = ["eval", str(bundle), *paths, "--engine", "onnxruntime", "--record", str(record)]
        done = CliRunner().invoke(edgevision, arguments, catch_exceptions=False)
        assert "PSNR" in done.output
        assert "bicubic" in done.output
        records.append(json.loads(record.read_text()))
    assert records[0] == records[1]
    assert records[0]["psnr"] > 15


def test_what_does_not_fit_is_named(bundle: Path, tmp_path: Path) -> None:
    for name, size_wh in (("large", (100, 90)), ("small", (49, 45))):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", noise(*size_wh))
    with open_session(bundle, engine="onnxruntime") as session:
        pairs = find_pairs(session.spec, tmp_path / "small", tmp_path / "large")
        with pytest.raises(UsageError, match=r"is 49x45; expected 50x45, by its target"):
            list(measure_all(session, pairs))
        write_image(tmp_path / "small" / "b.png", noise(50, 45))
        with pytest.raises(UsageError, match=r"b\.png has no target: expected an image named b in"):
            find_pairs(session.spec, tmp_path / "small", tmp_path / "large")
    arguments = ["eval", str(bundle), "--images", str(tmp_path / "large"), "--threshold", "0.5"]
    assert isinstance(CliRunner().invoke(edgevision, arguments).exception, UsageError)


@pytest.mark.parametrize("size_wh", [(1, 1), (40, 16), (3, 90)])
def test_a_target_below_the_window_of_ssim_is_named(
    bundle: Path, tmp_path: Path, size_wh: tuple[int, int]
) -> None:
    write_image(tmp_path / "small.png", noise(*size_wh))
    write_image(tmp_path / "least.png", noise(17, 17))
    with open_session(bundle, engine="onnxruntime") as session:
        with pytest.raises(SourceError, match=r"small\.png is .*; expected at least 17x17.*remove the image"):
            list(measure_all(session, [ImagePair(tmp_path / "small.png")]))
        ((quality, _),) = measure_all(session, [ImagePair(tmp_path / "least.png")])
    assert quality.psnr > 15


def test_frames_in_nv12_are_measured(bundle: Path, tmp_path: Path) -> None:
    """In grey: chroma at half the size changes colours only."""
    planes = tmp_path / "planes"
    options = ExportOptions(random_weights=True, size_wh=(72, 64), layout="nv12")
    export_bundle(load_recipe("sr"), options, planes, lambda _: None)
    image = np.repeat(noise(100, 90)[..., :1], 3, axis=2)
    made = []
    for path in (bundle, planes):
        with open_session(path, engine="onnxruntime") as session:
            made.append(TiledSession(session).image_of(image).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 3
