"""Images to codes and back: labels, sizes, files of codes and interpolations."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.contract.inputs import BatchRange
from edgevision.errors import BundleError, SourceError, UsageError
from edgevision.inference.codes import Codes, joined
from edgevision.inference.coding import (
    EncodeOptions,
    decode_each,
    encode_each,
    interpolate_each,
    interpolation,
)
from edgevision.inference.inputs import InputImage
from edgevision.inference.model import Model
from edgevision.sinks.files.png import XMP_KEYWORD, text_of
from tests.autoencoders import BlockGenerator, block_autoencoder, blocks, coder_sessions
from tests.generators import GeneratorSession

VALUES = np.array([[0.2, 0.4, 0.6, 0.8], [0.8, 0.6, 0.4, 0.2], [0.2, 0.2, 0.8, 0.8]], np.float32)
LABELS = np.array([0, 1, 1])


def shown() -> list[InputImage]:
    return [InputImage(image, f"/photos/{n}.png") for n, image in enumerate(blocks(VALUES, LABELS))]


def encoded(options: EncodeOptions | None = None, images: list[InputImage] | None = None) -> Codes:
    batches = list(encode_each(block_autoencoder(), images or shown(), options or EncodeOptions()))
    return joined([batch.codes for batch in batches])


def codes_of(values: np.ndarray, labels: Any = None, names: Any = None, sha256: str = "") -> Codes:
    count = len(values)
    return Codes(values, np.zeros(count, int) if labels is None else labels, names or ("",) * count, sha256)


def test_an_image_gets_its_code_and_the_class_that_decodes_best() -> None:
    codes = encoded()
    np.testing.assert_allclose(codes.values, VALUES, atol=1e-3)
    assert codes.values.dtype == np.float16
    assert codes.labels.tolist() == [0, 1, 1]
    assert codes.labels.dtype == np.uint8
    assert codes.names == ("0.png", "1.png", "2.png")
    assert codes.bytes_per_image == 4 * 2 + 1
    assert encoded(EncodeOptions(dtype="float32")).bytes_per_image == 17
    assert encoded(EncodeOptions("plain")).labels.tolist() == [0, 0, 0]
    assert encoded(EncodeOptions(1)).labels.tolist() == [1, 1, 1]


def test_psnr_is_that_of_the_stored_codes() -> None:
    def measured(label: int | None) -> tuple[float, ...]:
        found = encode_each(block_autoencoder(), shown()[:1], EncodeOptions(label, check=True))
        return next(found).psnr

    assert measured(0) == (100.0,)
    assert measured(1) == pytest.approx((10 * np.log10(255**2 / 20**2),))
    assert next(encode_each(block_autoencoder(), shown(), EncodeOptions())).psnr == ()


def test_batches_are_filled_up_and_do_not_change_the_codes() -> None:
    sessions = coder_sessions(BatchRange(2, 2, 4))
    batches = list(encode_each(block_autoencoder(sessions), shown(), EncodeOptions()))
    assert [len(batch.codes) for batch in batches] == [2, 1]
    assert sessions["encoder"].batches == [2, 2]
    codes = joined([batch.codes for batch in batches])
    assert np.array_equal(codes.values, encoded().values)
    made = [item.image for item in decode_each(block_autoencoder(sessions), codes)]
    assert np.array_equal(made, [image.frame_bgr for image in shown()])


def test_another_size_is_stretched() -> None:
    (image,) = blocks(VALUES[:1], LABELS[:1])
    wide = cv2.resize(image, (16, 8), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_allclose(encoded(images=[InputImage(wide, "")]).values, VALUES[:1], atol=2e-3)


def test_a_decoded_image_states_its_origin() -> None:
    made = list(decode_each(block_autoencoder(), encoded()))
    entries = text_of(made[1].png())
    assert entries["edgevision:source"] == "1.png"
    assert entries["edgevision:label"] == "1 chequered"
    assert entries["edgevision:model"] == "blocks"
    assert "trainedAlgorithmicMedia" in entries[XMP_KEYWORD]
    assert "edgevision:seed" not in entries
    assert text_of(made[1].png(metadata=False)) == {}
    hostile = codes_of(VALUES[:1], names=("a\0b\udcff/../x",))
    (item,) = decode_each(block_autoencoder(), hostile)
    assert text_of(item.png())["edgevision:source"] == "ab?/../x"
    assert item.origin.file_stem == "00000"


def test_an_interpolation_includes_its_ends() -> None:
    model, codes = block_autoencoder(), encoded(EncodeOptions(dtype="float32"))
    line = interpolation(codes[0], codes[1], 5)
    assert line.shares == (0.0, 0.25, 0.5, 0.75, 1.0)
    np.testing.assert_allclose(line.codes.values[1], 0.75 * VALUES[0] + 0.25 * VALUES[1], atol=2e-3)
    assert line.codes.labels.tolist() == [0, 0, 1, 1, 1]
    made = list(interpolate_each(model, line))
    ends = [item.image for item in decode_each(model, codes[:2])]
    assert np.array_equal(made[0].image, ends[0])
    assert np.array_equal(made[-1].image, ends[1])
    entries = text_of(made[1].png())
    assert [entries[f"edgevision:{name}"] for name in ("source", "other-source", "share")] == [
        "0.png",
        "1.png",
        "0.25",
    ]
    assert {item.origin.label for item in interpolate_each(model, line, "plain")} == {0}


@pytest.mark.parametrize(
    ("first", "second", "steps", "message"),
    [
        (codes_of(VALUES[:1]), codes_of(VALUES[:1]), 1, "at least 2 images, its ends; received 1"),
        (codes_of(VALUES), codes_of(VALUES[:1]), 3, "takes two codes; received 3 and 1"),
        (codes_of(VALUES[:1]), codes_of(VALUES[:1, :2]), 3, "expected codes of one model"),
        (codes_of(VALUES[:1], sha256="a"), codes_of(VALUES[:1], sha256="b"), 3, "of several models"),
    ],
)
def test_unsuitable_interpolations(first: Codes, second: Codes, steps: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        interpolation(first, second, steps)


def test_a_file_keeps_the_codes(tmp_path: Path) -> None:
    codes = codes_of(VALUES.astype(np.float16), LABELS.astype(np.uint8), ("a", "ä.png", ""), "ab12")
    codes.save(tmp_path / "new" / "codes.npz")
    found = Codes.load(tmp_path / "new" / "codes.npz")
    assert np.array_equal(found.values, codes.values)
    assert found.values.dtype == np.float16
    assert np.array_equal(found.labels, LABELS)
    assert (found.names, found.source_sha256) == (codes.names, "ab12")
    assert found[-1].names == ("",)
    assert len(found[1:]) == 2
    with pytest.raises(UsageError, match=r"is not a file named \*\.npz"):
        codes.save(tmp_path / "codes.bin")


def archive(**changes: Any) -> bytes:
    arrays: dict[str, Any] = {
        "codes": VALUES,
        "labels": LABELS,
        "names": np.array(["a", "b", "c"]),
        "source_sha256": np.array(""),
    }
    memory = io.BytesIO()
    np.savez(memory, allow_pickle=True, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return memory.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", SourceError, "is not a file of codes"),
        (b"\x89PNG", SourceError, "is not a file of codes: .*edgevision encode BUNDLE IMAGES"),
        (archive()[:200], SourceError, "is not a file of codes"),
        (archive(labels=None), SourceError, "labels"),
        (archive(codes=np.array([{}, {}, {}])), SourceError, "allow_pickle"),
        (archive(names=np.arange(3)), SourceError, "names are int64"),
        (archive(codes=VALUES[0]), UsageError, r"codes are float32 \[4\]; expected .* \[N, K\]"),
        (archive(codes=VALUES.astype(int)), UsageError, "codes are int64"),
        (archive(codes=VALUES * np.nan), UsageError, "codes contain NaN"),
        (archive(labels=LABELS[:2]), UsageError, "labels of 3 codes are int64"),
        (archive(labels=LABELS / 2), UsageError, "labels of 3 codes are float64"),
        (archive(names=np.array(["a"])), UsageError, "3 codes have 1 names"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, error: type[Exception], message: str) -> None:
    path = tmp_path / "codes.npz"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        Codes.load(path)
    assert str(path) in str(raised.value)


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision.inference.codes.MOST_BYTES", 500)
    memory = io.BytesIO()
    np.savez_compressed(memory, codes=np.zeros((1000, 1000), np.float32))
    (tmp_path / "codes.npz").write_bytes(memory.getvalue())
    with pytest.raises(SourceError, match="it unpacks to 4,000,128 bytes; expected at most 500"):
        Codes.load(tmp_path / "codes.npz")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*: No such file"):
        Codes.load(tmp_path / "codes.npz")


def test_codes_beyond_float16_name_the_remedy() -> None:
    with pytest.raises(UsageError, match="exceed float16: store them as float32"):
        sessions = coder_sessions()
        sessions["encoder"]._run = lambda images: np.full((len(images), 4), 1e5, np.float32)
        list(encode_each(block_autoencoder(sessions), shown(), EncodeOptions()))


def test_codes_of_another_model() -> None:
    model = block_autoencoder()
    for codes, message in (
        (codes_of(VALUES[:, :3]), "codes have 3 values; blocks decodes 4: pass the bundle"),
        (codes_of(VALUES, np.array([0, 2, 1])), "expected labels from 0 to 1; the codes have 2"),
        (codes_of(VALUES, np.array([0, -1, 1])), "the codes have -1"),
    ):
        with pytest.raises(UsageError, match=message):
            list(decode_each(model, codes))
    with pytest.raises(UsageError, match="expected a label from 0 to 1; received 2"):
        list(decode_each(model, codes_of(VALUES), 2))
    with pytest.raises(UsageError, match="has no class 'plane'; did you mean 'plain'"):
        encoded(EncodeOptions("plane"))


def test_a_model_in_python(tmp_path: Path) -> None:
    images = [image.frame_bgr for image in shown()]
    with Model(BlockGenerator()) as model:
        codes = model.encode(images)
        assert codes.labels.tolist() == [0, 1, 1]
        assert repr(codes) == "<3 codes of 4 values, 9 bytes each>"
        codes.save(tmp_path / "codes.npz")
        assert np.array_equal(model.decode(tmp_path / "codes.npz").images, images)
        line = model.interpolate(images[0], codes[1], 4)
        assert np.array_equal(line.images[[0, -1]], images[:2])
        assert line.grid().shape == (4, 4 * 4 + 3 * 2, 3)
        decoder = model._autoencoder.decoder
        with pytest.raises(UsageError, match="no images were received"):
            model.encode([])
    assert getattr(decoder, "closed") is True  # noqa: B009  # of the fake


def test_models_without_coders() -> None:
    with pytest.raises(UsageError, match="waves has no encoder; expected a bundle of an autoencoder"):
        Model(GeneratorSession()).encode(shown()[0].frame_bgr)
    sessions = coder_sessions()
    swapped = {"encoder": sessions["decoder"], "decoder": sessions["encoder"]}
    with pytest.raises(BundleError, match="the encoder of blocks takes values, label; expected image"):
        list(encode_each(block_autoencoder(swapped), shown(), EncodeOptions()))
