"""The encoder and the decoder of a VAE, exported apart and verified against PyTorch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgevision.bundle.folder import Bundle
from edgevision.contract.inputs import BatchRange, Tensors, sample_tensors
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import coder_openers, open_session
from edgevision.errors import BundleError, RecipeError, UsageError, VerificationError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.generators import coders
from edgevision.export.half import with_fp16
from edgevision.export.network import onnx_from_inputs
from edgevision.export.recognition import recipe_of
from edgevision.fleet.package import keep, package
from edgevision.inference.coding import Autoencoder
from edgevision.models.recipe import SourceModel, load_recipe
from edgevision.verification.golden import verify_session
from tests.autoencoders import small_vae, write_weights

DYNAMIC = BatchRange(1, 2, 4)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))


def export(channels: int = 1, batch: BatchRange | None = None) -> tuple[Bundle, list[str]]:
    lines: list[str] = []
    weights = write_weights(Path("vae.pt"), small_vae(channels))
    options = ExportOptions(checkpoint=weights, batch=batch or BatchRange())
    return export_bundle(load_recipe("vae"), options, Path("bundle"), lines.append), lines


def exported(change: Any) -> Bundle:
    """The bundle of a source model that was changed."""
    recipe = load_recipe("vae")

    def untrained() -> SourceModel:
        source: SourceModel = change(recipe.untrained())
        return source

    options = ExportOptions(random_weights=True)
    return export_bundle(replace(recipe, untrained=untrained), options, Path("bundle"), lambda _: None)


def pictures(count: int) -> np.ndarray:
    drawn = np.random.default_rng(3).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return np.stack([cv2.resize(image, (12, 12)) for image in drawn])


@pytest.mark.parametrize(
    ("channels", "batch"),
    [
        pytest.param(1, DYNAMIC, id="grey, dynamic"),
        pytest.param(3, BatchRange(), id="colour, static"),
    ],
)
def test_the_graphs_answer_as_pytorch(channels: int, batch: BatchRange) -> None:
    bundle, lines = export(channels, batch)
    assert [line.split(":")[0] for line in lines[-2:]] == ["encoder", "decoder"]
    vae, images = small_vae(channels), pictures(batch.max)
    encoder, decoder = (bundle.coder(name) for name in ("encoder", "decoder"))
    assert [(t.name, t.dtype, t.shape) for t in encoder.spec.inputs] == [("image", "uint8", (-1, 12, 12, 3))]
    assert [(t.name, t.dtype, t.shape) for t in encoder.spec.outputs] == [("code", "float32", (-1, 6))]
    assert [(t.name, t.dtype) for t in decoder.spec.inputs] == [("code", "float32"), ("label", "int32")]
    assert [(t.name, t.dtype, t.shape) for t in decoder.spec.outputs] == [("image", "uint8", (-1, 12, 12, 3))]
    rgb = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    given = rgb if channels == 3 else rgb.mean(1, keepdims=True)
    with torch.no_grad():
        mean, _ = vae.encoder(torch.from_numpy(np.ascontiguousarray(given)))
        labels = np.arange(len(images), dtype=np.int32) % 3
        raw = vae.decoder(mean, torch.from_numpy(labels)).numpy()
    levels = np.rint(raw.clip(0, 1) * 255).repeat(3 // channels, 1)[:, ::-1].transpose(0, 2, 3, 1)
    for engine in ("onnxruntime", "openvino"):
        with open_session(encoder.path, engine=engine) as session:
            (codes,) = session.infer(Tensors((images,)))
        np.testing.assert_allclose(codes, mean.numpy(), atol=1e-4 * float(mean.abs().max()))
        with open_session(decoder.path, engine=engine) as session:
            (made,) = session.infer(Tensors((mean.numpy(), labels)))
        assert np.abs(made.astype(int) - levels).max() <= 1


def test_the_generator_works_as_before_and_records_are_complete() -> None:
    bundle, _ = export()
    vae, tensors = small_vae(), sample_tensors(bundle.spec.tensors, 5, 1)
    with open_session(bundle.path) as session:
        (image,) = session.infer(tensors)
        assert sorted(session.coders) == ["decoder", "encoder"]
    with torch.no_grad():
        raw = vae(*(torch.from_numpy(array) for array in tensors.arrays)).numpy()
    assert np.abs(image[0, ..., 0].astype(int) - np.rint(raw[0, 0] * 255)).max() <= 1
    for one in bundle.coders:
        with_fp16(one, lambda _: None)
    for one in Bundle.open(bundle.path).coders:
        assert [entry.precision for entry in one.manifest.graphs] == ["float", "fp16"]
        assert all(record.passed for entry in one.manifest.graphs for record in entry.verifications)
        assert len(one.golden().inputs) == 12  # the generator's images and the photographs
        assert one.golden().answers[0].std() > 0
        with open_session(one.path, engine="onnxruntime") as session:
            assert verify_session(session, one.golden()).passed


def test_an_autoencoder_of_a_bundle() -> None:
    bundle, _ = export()
    with Autoencoder(bundle.spec, coder_openers(bundle, "onnxruntime", SessionOptions())) as model:
        codes = model.codes(pictures(1))
        assert model.images(codes, np.zeros(1, np.int32)).shape == (1, 12, 12, 3)
        assert len(model.source_sha256) == 64


def test_the_recipe_is_recognised() -> None:
    assert recipe_of(write_weights(Path("vae.pt"), small_vae(1))).name == "vae"


def test_a_wrong_graph_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(module: Any, *given: Any, **options: Any) -> Any:
        class Brighter(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = module

            def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
                found: torch.Tensor = self.inner(*inputs) * 1.02
                return found

        return onnx_from_inputs(Brighter(), *given, **options)

    monkeypatch.setattr(coders, "onnx_from_inputs", wrong)
    with pytest.raises(VerificationError, match="vae/encoder was not written"):
        export()
    assert not Path("bundle").exists()
    assert not list(Path().glob(".bundle*"))


def test_an_encoder_of_another_output() -> None:
    class Maps(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.float()

    with pytest.raises(RecipeError, match=r"the encoder of vae returns torch.float32 \[12, 28, 28, 3\]"):
        exported(lambda source: replace(source, encoder=Maps()))
    assert not Path("bundle").exists()


def test_a_source_without_coders_has_an_older_manifest() -> None:
    bundle = exported(lambda source: replace(source, encoder=None))
    data = json.loads((bundle.path / "bundle.json").read_bytes())
    assert "coders" not in data
    assert data["schema"] == 2
    assert bundle.coders == ()
    with pytest.raises(BundleError, match="holds no encoder; bundles of the recipe vae hold one"):
        bundle.coder("encoder")


def test_coders_belong_to_their_bundle() -> None:
    bundle, _ = export()
    data = json.loads((bundle.path / "bundle.json").read_bytes())
    assert data["schema"] == 4
    bundle.check_files()
    graph = bundle.path / "decoder" / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content + b"\0")
    with pytest.raises(BundleError, match="model.onnx was modified"):
        bundle.check_files()
    graph.write_bytes(content)
    data["coders"][0]["sha256"] = "0" * 64
    (bundle.path / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match="encoder belongs to another export"):
        Bundle.open(bundle.path).check_files()
    data["coders"][0]["name"] = "../decoder"
    (bundle.path / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"coders\[0\]\.name"):
        Bundle.open(bundle.path)


def test_a_fleet_gets_the_generator_alone() -> None:
    bundle, _ = export()
    packed = package(bundle)
    sent = Bundle.open(keep(packed.digest, packed.data))
    sent.check_files()
    assert sent.coders == ()
    assert sent.manifest.schema == 2


def test_parts_take_no_frames_and_are_not_edited() -> None:
    bundle, _ = export()
    with pytest.raises(UsageError, match="vae/encoder is one graph of several and takes no frames"):
        _ = bundle.coder("encoder").spec.frames
