"""Quantization of networks that make images, measured by the float graph's images for the same noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.quantize import command
from edgevision.contract.inputs import BatchRange, Tensors
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError, VerificationError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.quantize.calibration.inputs import (
    CALIBRATION_SEED,
    MEASURING_SEED,
    CalibrationNoise,
    calibration_inputs,
)
from edgevision.quantize.options import EvalSet, QuantizeOptions
from edgevision.quantize.search.generated import EQUAL_PSNR, budget_of, psnr, trials_of
from edgevision.sources.image_files import write_image
from tests.doubles import detector
from tests.generators import GeneratorSession, generator, images_of, write_generator
from tests.graph.test_adopt_images import network

DYNAMIC = BatchRange(1, 4, 8)


def test_calibration_noise_comes_in_full_batches() -> None:
    noise = CalibrationNoise(generator(DYNAMIC).tensors, 6)
    batches = list(noise)
    assert [len(batch) for batch in batches] == [4, 4]
    np.testing.assert_array_equal(batches[1].arrays[0][1], batches[1].arrays[0][3])
    assert batches[0].arrays[1].tolist() == [0, 1, 2, 0]
    assert len(noise) == 6
    assert noise.origin(3) == "noise 3 of seed 1"
    assert CALIBRATION_SEED != MEASURING_SEED


def test_inputs_for_calibration_are_those_of_the_task(tmp_path: Path) -> None:
    made = calibration_inputs(generator(DYNAMIC), QuantizeOptions(calib_images=50), 9)
    assert len(made) == 9
    assert isinstance(made.for_timing(8), Tensors)
    with pytest.raises(UsageError, match="makes images from noise, which also calibrates it: omit --calib"):
        calibration_inputs(generator(), QuantizeOptions(calib=tmp_path))
    with pytest.raises(UsageError, match="come from real images: pass --calib DIR"):
        calibration_inputs(detector(), QuantizeOptions())


def test_psnr() -> None:
    black, one, white = (np.full((4, 4, 3), level, np.uint8) for level in (0, 1, 255))
    assert psnr(black, black) == EQUAL_PSNR
    assert psnr(black, white) == 0
    assert psnr(black, one) == pytest.approx(20 * np.log10(255))
    barely = black.copy()
    barely[0, 0, 0] = 1
    assert psnr(black, barely) == EQUAL_PSNR, "capped"
    assert budget_of(35, 0.9).max_drop == EQUAL_PSNR - 35


def test_a_trial_compares_with_the_float_images(tmp_path: Path) -> None:
    bundle = write_generator(tmp_path / "b", generator(DYNAMIC))
    (trial,) = trials_of(bundle, QuantizeOptions())

    class Darker(GeneratorSession):
        def _infer_tensors(self, tensors: Tensors) -> tuple[np.ndarray, ...]:
            return (np.where(images_of(tensors) > 0, images_of(tensors) - 1, 0).astype(np.uint8),)

    exact, darker = trial(GeneratorSession(bundle.spec)), trial(Darker(bundle.spec))
    assert exact.metric == "PSNR to the float images"
    assert (exact.whole, exact.images) == (EQUAL_PSNR, 64)
    assert 48 < darker.whole < 50
    with pytest.raises(UsageError, match="is measured by the float graph's images: omit --eval-images"):
        trials_of(bundle, QuantizeOptions(eval_sets=(EvalSet(tmp_path, None),)))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("torch")
    from edgevision.export.exporter import ExportOptions, export_bundle
    from tests.export.tiny_generators import CLASSES, Digits, recipe_of

    folder = tmp_path_factory.mktemp("digits")
    (folder / "tiny.py").write_text("# the recipe\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        recipe = recipe_of(Digits(), classes=CLASSES)
        return export_bundle(recipe, ExportOptions(batch=DYNAMIC), folder / "digits", lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_int8_keeps_the_minimum_of_psnr(digits: Bundle, tmp_path: Path, target: str) -> None:
    from edgevision.quantize.quantizer import quantize_int8

    options = QuantizeOptions(
        calib_images=32,
        budget=budget_of(38, 0.9),
        target=target,  # type: ignore[arg-type]  # of the table
        threads=1,
    )
    done = quantize_int8(digits, options, tmp_path / target, lambda _: None)
    assert done.record.metric == "PSNR to the float images"
    assert done.record.float_accuracy == EQUAL_PSNR
    assert 38 <= done.record.chosen.accuracy < EQUAL_PSNR
    assert all(record.passed for record in done.verifications)
    entry = done.bundle.graph("int8")
    precision = SessionOptions(precision="int8")
    with open_session(done.bundle.path, engine="onnxruntime", options=precision) as session:
        assert session.graph_sha256 == entry.file.sha256
        golden = digits.golden()
        assert isinstance(golden.inputs, Tensors)
        images = session.infer(golden.inputs)[0]
    measured = [psnr(one, other) for one, other in zip(images, golden.answers[0], strict=True)]
    assert 34 < float(np.mean(measured)) < EQUAL_PSNR
    with pytest.raises(VerificationError, match="PSNR to the float images"):
        quantize_int8(digits, QuantizeOptions(budget=budget_of(59.5, 0.9)), tmp_path / "none", lambda _: None)
    assert not (tmp_path / "none").exists()


@pytest.fixture
def inverter(tmp_path: Path) -> Bundle:
    """A network that inverts images of 64x48 px."""
    file = network(tmp_path / "style.onnx", 1, gain=-1.0, offset=1.0)
    return adopt_bundle(file, "image", AdoptOptions(), None, tmp_path / "b", lambda _: None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four random images of 64x48 px."""
    rng = np.random.default_rng(0)
    for place in range(4):
        write_image(tmp_path / "images" / f"{place}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
    return tmp_path / "images"


def test_images_without_targets_are_compared_with_the_float_images(inverter: Bundle, images: Path) -> None:
    options = QuantizeOptions(calib=images, eval_sets=(EvalSet(images, None, 3),))
    (trial,) = trials_of(inverter, options)
    with open_session(inverter.path, engine="onnxruntime") as session:
        scores = trial(session)
    assert (scores.metric, scores.whole, scores.images) == ("PSNR to the float images", EQUAL_PSNR, 3)


def test_images_with_targets_are_compared_with_these(inverter: Bundle, images: Path) -> None:
    (trial,) = trials_of(inverter, QuantizeOptions(calib=images, eval_sets=(EvalSet(images, images),)))
    with open_session(inverter.path, engine="onnxruntime") as session:
        scores = trial(session)
    assert scores.metric == "PSNR"
    assert scores.whole < 10


def refused(*arguments: object) -> None:
    command.main([str(argument) for argument in arguments], standalone_mode=False)


def test_the_limit_of_images_without_targets(inverter: Bundle, images: Path, tmp_path: Path) -> None:
    given = ("--calib", images, "--eval-images", images)
    with pytest.raises(UsageError, match="--max-drop is not the limit .* use --min-psnr"):
        refused(inverter.path, *given, "--max-drop", "1")
    with pytest.raises(UsageError, match="--min-psnr is not the limit .* use --max-drop"):
        refused(inverter.path, *given, "--annotations", images, "--min-psnr", "30")
    with pytest.raises(UsageError, match="--min-psnr is measured on images: pass --eval-images DIR"):
        refused(inverter.path, "--calib", images, "--min-psnr", "30")
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        refused(inverter.path, "--calib", images, "--eval-images", tmp_path / "nowhere")
