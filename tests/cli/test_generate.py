"""`edgevision generate`, and the other commands on a bundle that makes images from noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.benchmark.paired.record import PairedRecord
from edgevision.benchmark.record_files import read_any_record
from edgevision.benchmark.soak.record import SoakRecord
from edgevision.cli.root import edgevision
from edgevision.contract.inputs import BatchRange
from edgevision.errors import UsageError
from edgevision.sinks.files.png import text_of
from tests.generators import SIDE, generator, write_generator


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("bundles") / "waves", generator(BatchRange(1, 2, 4))).path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, [str(argument) for argument in arguments], catch_exceptions=False)


def pixels(path: str) -> np.ndarray:
    image = cv2.imread(path)
    assert image is not None
    return image


def test_a_folder_and_a_grid_hold_the_same_images(bundle: Path) -> None:
    said = invoke("generate", bundle, "--count", 6, "--seed", 5, "-o", "images")
    assert "waves, float graph, onnxruntime" in said.output
    assert ": 6 images of seed 5 in " in said.output
    assert "wrote images\n" in said.output
    assert sorted(path.name for path in Path("images").iterdir()) == [f"s5-{n:05d}.png" for n in range(6)]
    invoke("generate", bundle, "--count", 6, "--seed", 5, "-o", "grid.png")
    grid = pixels("grid.png")
    assert grid.shape == (2 * SIDE + 2, 3 * SIDE + 4, 3)
    np.testing.assert_array_equal(grid[:SIDE, SIDE + 2 : 2 * SIDE + 2], pixels("images/s5-00001.png"))


def test_files_are_equal_bit_for_bit_whatever_the_count(bundle: Path) -> None:
    invoke("generate", bundle, "--count", 5, "-o", "five", "--label", "light")
    invoke("generate", bundle, "--count", 2, "--first", 3, "-o", "two", "--label", 2)
    for name in ("s0-00003.png", "s0-00004.png"):
        assert Path("five", name).read_bytes() == Path("two", name).read_bytes()


def test_labels_are_repeated_in_turn(bundle: Path) -> None:
    invoke("generate", bundle, "--count", 3, "--label", "dark", "--label", "1", "-o", "images")
    entries = [text_of(path.read_bytes()) for path in sorted(Path("images").iterdir())]
    assert [entry["edgevision:label"] for entry in entries] == ["0 dark", "1 middle", "0 dark"]


def test_metadata_is_on_by_default(bundle: Path) -> None:
    invoke("generate", bundle, "-o", "with.png")
    invoke("generate", bundle, "-o", "without.png", "--no-metadata")
    assert text_of(Path("with.png").read_bytes())["edgevision:model"] == "waves"
    assert text_of(Path("without.png").read_bytes()) == {}
    np.testing.assert_array_equal(pixels("with.png"), pixels("without.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "lihgt"), "waves has no class 'lihgt'; did you mean 'light'"),
        (("--label", "7"), "expected a label from 0 to 2; received 7"),
        (("-o", "a.gif"), r"output a\.gif is neither a folder nor a file named \*\.png"),
        (("--seed", str(2**64)), "the seed is 18446744073709551616; expected 0 to"),
    ],
)
def test_mistakes_leave_no_file(bundle: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        invoke("generate", bundle, "-o", "out", *arguments)
    assert list(Path().iterdir()) == []


def test_a_label_of_a_model_without_classes(tmp_path: Path) -> None:
    plain = write_generator(tmp_path / "plain", generator(classes=())).path
    with pytest.raises(UsageError, match="waves has no classes to choose from; received '3': omit the label"):
        invoke("generate", plain, "--label", 3, "-o", "out")


def test_a_detector_does_not_generate(brightness_bundle: Path) -> None:
    with pytest.raises(UsageError, match="which takes frames; run: edgevision run"):
        invoke("generate", brightness_bundle, "-o", "out")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "{}", "demo:", "--limit", "1"),
        ("live", "{}", "demo:"),
        ("explain", "{}", "image.png", "-o", "heat.png"),
    ],
)
def test_commands_of_frames_name_generate(bundle: Path, command: tuple[str, ...]) -> None:
    cv2.imwrite("image.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="edgevision generate"):
        invoke(*(part.replace("{}", str(bundle)) for part in command))


def test_a_deployment_names_generate(bundle: Path) -> None:
    Path("cameras.toml").write_text(
        f'[model]\nbundle = "{bundle}"\n[[camera]]\nname = "a"\naddress = "demo:"\n'
    )
    with pytest.raises(UsageError, match=r"cameras\.toml:2: model\.bundle: .*edgevision generate"):
        invoke("deploy", "cameras.toml", "--check")


def test_inspect_lists_the_inputs(bundle: Path) -> None:
    said = invoke("inspect", bundle).output
    assert (
        "noise      float32 [1:2:4,3,6,6]\nlabel      int32 [1:2:4], 0 to 2\nimage      uint8 [B,6,6,3]\n"
        in said
    )


def test_verify_compares_every_engine(bundle: Path) -> None:
    said = invoke("verify", bundle, "--seconds", 0).output
    assert "verify verification passed: onnxruntime" in said
    assert ", 4 images, " in said


def test_bench_times_noise_inference_and_output(bundle: Path) -> None:
    said = invoke("bench", bundle, "--engine", "onnxruntime", "--seconds", 0.2, "--rounds", 1).output
    assert "noise of seed 0, 6x6 images" in said
    stages = [
        line.split()[0] for line in said.splitlines() if line.startswith(("noise  ", "inference ", "output "))
    ]
    assert stages == ["noise", "inference", "output", "inference"]
    assert "images/s with all stages in turn" in said


def test_bench_compares_builds_on_noise(bundle: Path) -> None:
    pairs = ("--pairs", 2, "--max-pairs", 2, "--seconds", 0.2)
    invoke(
        "bench", bundle, "--engine", "onnxruntime", "--against", "openvino", *pairs, "--record", "pairs.json"
    )
    record = read_any_record(Path("pairs.json"))
    assert isinstance(record, PairedRecord)
    assert (record.base.engine.engine, record.new.engine.engine) == ("openvino", "onnxruntime")
    assert (record.new.input_wh, record.new.batch) == ((0, 0), 2)
    assert (record.settings.source, len(record.pairs)) == ("noise of seed 0", 2)


def test_loadgen_runs_on_noise(bundle: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    given = ("--engine", "onnxruntime", "--scenario", "offline", "--min-duration", 0.2)
    said = invoke("bench", bundle, *given).output
    assert "offline: " in said


def test_a_soak_makes_images(bundle: Path) -> None:
    said = invoke("bench", bundle, "--engine", "onnxruntime", "--soak", 0.01, "--record", "soak.json").output
    assert "soak of 0.01 min" in said
    record = read_any_record(Path("soak.json"))
    assert isinstance(record, SoakRecord)
    assert record.source == "noise of seed 0"
    assert sum(window.frames for window in record.windows) == record.inference.count > 0


@pytest.mark.parametrize(("option", "value"), [("--scenario", "camera"), ("--source", "demo.mp4")])
def test_bench_refuses_frames(bundle: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{option}.* on frames; the model makes images from noise"):
        invoke("bench", bundle, option, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--max-drop", "1"),
            "--max-drop is not the limit of task generate with these images; received a bundle of waves",
        ),
        (
            ("--calib", "."),
            "waves makes images from noise, which also calibrates and measures it: omit --calib",
        ),
        (("--eval-images", "."), "which also calibrates and measures it: omit --eval-images"),
    ],
)
def test_quantize_refuses_images(bundle: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        invoke("quantize", bundle, *arguments)


def test_psnr_of_equal_images_is_no_limit(bundle: Path) -> None:
    assert "60.0 is not in the range 0<x<60" in invoke("quantize", bundle, "--min-psnr", "60").output


def test_quantize_of_a_detector_keeps_its_own_limit(brightness_bundle: Path) -> None:
    with pytest.raises(UsageError, match="--min-psnr is not the limit of task"):
        invoke("quantize", brightness_bundle, "--calib", ".", "--min-psnr", "30")
    with pytest.raises(UsageError, match="the ranges of activations come from real images: pass --calib DIR"):
        invoke("quantize", brightness_bundle, "--precision", "fp16")
