"""`edgevision encode`, `decode` and `interpolate` on the bundle of a small VAE with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError, SourceError, UsageError
from edgevision.inference.codes import Codes
from edgevision.sinks.files.png import text_of
from tests.autoencoders import small_vae, write_weights

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    weights = write_weights(folder / "vae.pt", small_vae())
    said = invoke("export", "vae", "--checkpoint", weights, "-o", folder / "vae")
    assert "encoder/model.onnx in onnxruntime:\nexport verification passed" in said.output
    assert "decoder/model.fp16.onnx in emulated fp16:\nexport verification passed" in said.output
    return folder / "vae"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(3):
        drawn = np.random.default_rng(number).integers(0, 256, (4, 4), np.uint8)
        cv2.imwrite(f"images/{number}.png", cv2.resize(drawn, (12, 12 + 4 * number)))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, [str(argument) for argument in arguments], catch_exceptions=False)


def pixels(path: str) -> np.ndarray:
    image = cv2.imread(path)
    assert image is not None
    return image


def test_a_folder_is_encoded_and_decoded(bundle: Path) -> None:
    said = invoke("encode", bundle, "images", "--check", "-o", "codes.npz").output
    assert "vae/encoder, float graph, onnxruntime" in said
    assert "13 bytes an image (6 values float16 and the class); the files of the images have " in said
    assert f"codes.npz has {Path('codes.npz').stat().st_size:,} bytes" in said
    assert "reconstruction: PSNR " in said
    codes = Codes.load("codes.npz")
    assert codes.names == ("0.png", "1.png", "2.png")
    assert codes.values.shape == (3, 6)
    assert "3 images" in invoke("decode", bundle, "codes.npz", "-o", "made").output
    assert sorted(path.name for path in Path("made").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert text_of(Path("made/00001.png").read_bytes())["edgevision:source"] == "1.png"
    psnr = cv2.PSNR(pixels("images/0.png"), pixels("made/00000.png"))
    one = invoke("encode", bundle, "images/0.png", "--check", "-o", "one.npz").output
    assert f"reconstruction: PSNR {psnr:.2f} dB" in one


def test_the_class_is_the_best_one_or_the_given_one(bundle: Path) -> None:
    found = {}
    for label in ("", "0", "1", "2"):
        invoke("encode", bundle, "images/0.png", "-o", "c.npz", *(("--label", label) if label else ()))
        found[label] = Codes.load("c.npz").labels[0]
        invoke("decode", bundle, "c.npz", "-o", f"made{label}")
    assert [found[label] for label in ("0", "1", "2")] == [0, 1, 2]
    errors = [
        ((pixels(f"made{n}/00000.png").astype(float) - pixels("images/0.png")) ** 2).mean() for n in "012"
    ]
    assert len(set(errors)) == 3
    assert found[""] == np.argmin(errors)
    invoke("decode", bundle, "c.npz", "--label", "1", "-o", "other")
    np.testing.assert_array_equal(pixels("other/00000.png"), pixels("made1/00000.png"))


def test_float32_codes_and_a_sheet(bundle: Path) -> None:
    said = invoke("encode", bundle, "images/0.png", "images", "--dtype", "float32", "-o", "codes.npz").output
    assert "25 bytes an image" in said
    assert len(Codes.load("codes.npz")) == 4
    invoke("decode", bundle, "codes.npz", "-o", "sheet.png", "--no-metadata")
    assert pixels("sheet.png").shape == (2 * 12 + 2, 2 * 12 + 2, 3)
    assert text_of(Path("sheet.png").read_bytes()) == {}


def test_interpolations_of_images_and_codes(bundle: Path) -> None:
    invoke("encode", bundle, "images", "--dtype", "float32", "-o", "codes.npz")
    invoke("interpolate", bundle, "images/0.png", "images/2.png", "--steps", 5, "-o", "sheet.png")
    assert pixels("sheet.png").shape == (12, 5 * 12 + 4 * 2, 3)
    entries = text_of(Path("sheet.png").read_bytes())
    assert (entries["edgevision:source"], entries["edgevision:other-source"]) == ("0.png", "2.png")
    invoke("interpolate", bundle, "codes.npz:0", "codes.npz:2", "--steps", 5, "-o", "steps")
    invoke("decode", bundle, "codes.npz", "-o", "ends")
    np.testing.assert_array_equal(pixels("steps/00000.png"), pixels("ends/00000.png"))
    np.testing.assert_array_equal(pixels("steps/00004.png"), pixels("ends/00002.png"))
    np.testing.assert_array_equal(pixels("sheet.png")[:, 14:26], pixels("steps/00001.png"))
    assert text_of(Path("steps/00001.png").read_bytes())["edgevision:share"] == "0.25"


def test_generate_inspect_and_verify_take_the_whole(bundle: Path) -> None:
    assert "1 images of seed 0" in invoke("generate", bundle, "-o", "made").output
    assert (
        f"encoder    a graph of its own: edgevision inspect {bundle}/encoder"
        in invoke("inspect", bundle).output
    )
    said = invoke("verify", bundle, "--seconds", 0).output
    assert "encoder: float graph\nverify verification passed" in said
    assert "decoder: fp16 graph\nverify verification passed" in said


def test_build_makes_an_engine_of_each_graph(bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    shutil.copytree(bundle, "vae")
    shutil.rmtree("vae/engines", ignore_errors=True)
    said = invoke("build", "vae", "--engine", "tensorrt-rtx", "--sm", 89, "--precision", "float").output
    assert said.count("-sm89-float-") == 3
    assert "vae/encoder:\n" in said
    for coder in Bundle.open("vae").coders:
        coder.without_graph("fp16")
    said = invoke("build", "vae", "--engine", "tensorrt-rtx", "--sm", 89, "--precision", "fp16").output
    assert said.count("-sm89-fp16-") == 1
    assert said.count("-sm89-float-") == 2


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("encode {b} images -o codes.txt", UsageError, r"codes\.txt is not a file named \*\.npz"),
        ("encode {b} images --label 3 -o c.npz", UsageError, "expected a label from 0 to 2; received 3"),
        ("encode {b} missing.png -o c.npz", SourceError, "no such file or folder: missing.png"),
        ("encode {b} broken.png -o c.npz", SourceError, "is not an image that OpenCV can decode"),
        ("encode {b}/encoder images -o c.npz", UsageError, "one graph of several; pass the bundle"),
        ("encode {b}/model.onnx images -o c.npz", UsageError, "is one graph; pass the bundle"),
        ("encode cnn images -o c.npz", UsageError, "cnn has no encoder; expected a bundle of an autoenc"),
        ("decode {b} broken.png -o out", SourceError, "broken.png is not a file of codes"),
        ("decode {b} other.npz -o out", UsageError, "codes have 2 values; vae decodes 6"),
        ("decode {b} label.npz -o out", UsageError, "expected labels from 0 to 2; the codes have 7"),
        ("decode {b} sha.npz -o out", UsageError, "made by weights with sha256 abcabcabcabc"),
        ("decode {b} good.npz --label x -o out", UsageError, "has no class 'x'"),
        ("decode {b} good.npz -o out.gif", UsageError, "neither a folder nor a file named"),
        ("decode cnn good.npz -o out", UsageError, "cnn has no encoder"),
        ("interpolate {b} images good.npz -o out", UsageError, "images holds 3 images: pass one image"),
        (
            "interpolate {b} good.npz images/0.png -o out",
            UsageError,
            "good.npz holds 2 codes: pass good.npz:N",
        ),
        ("interpolate {b} good.npz:0 good.npz:2 -o out", UsageError, "expected a number from 0 to 1"),
        ("interpolate {b} good.npz:0 good.npz:-1 -o out", UsageError, "expected a number from 0 to 1"),
        ("interpolate {b} sha.npz:0 good.npz:0 -o out", UsageError, "made by weights with sha256"),
    ],
)
def test_mistakes_leave_no_file(
    bundle: Path, command: str, error: type[EdgevisionError], message: str
) -> None:
    Path("broken.png").write_bytes(b"not a picture")
    values, names = np.zeros((2, 6), np.float32), ("a", "b")
    Codes(values, np.array([0, 1]), names).save("good.npz")
    Codes(values[:, :2], np.array([0, 1]), names).save("other.npz")
    Codes(values, np.array([0, 7]), names).save("label.npz")
    Codes(values, np.array([0, 1]), names, "abc" * 8).save("sha.npz")
    before = sorted(Path().iterdir())
    with pytest.raises(error, match=message):
        invoke(*command.format(b=bundle).split())
    assert sorted(Path().iterdir()) == before
