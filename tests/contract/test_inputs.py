"""Inputs of models that take no frames: their record, their noise, and the checks of a session."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevision.contract.inputs import (
    LARGEST_SEED,
    BatchRange,
    InputTensor,
    TensorInput,
    Tensors,
    sample_tensors,
    tensors_for,
)
from edgevision.contract.session import Session
from edgevision.contract.spec import ModelSpec
from edgevision.errors import EngineError, UsageError
from edgevision.storage.codec import DecodeError
from tests.doubles import BrightnessSession, detector
from tests.editors import editor, region
from tests.generators import GeneratorSession, generator, images_of

NOISE = TensorInput((InputTensor("noise", "noise", (2, 3)),))
FIRST_ROW = (-1.4470675, -0.9134207, -0.5155607)
"""Of the noise 3 of seed 7."""


def test_noise_is_a_function_of_seed_and_number() -> None:
    """Literal values: files that people made must stay reproducible."""
    (noise,) = tensors_for(NOISE, 7, [3], [0]).arrays
    assert noise.dtype == np.float32
    expected = np.random.Generator(np.random.Philox(key=[7, 3])).standard_normal((2, 3), np.float32)
    np.testing.assert_array_equal(noise[0], expected)
    np.testing.assert_allclose(noise[0, 0], FIRST_ROW, rtol=1e-6)
    together = tensors_for(NOISE, 7, range(5), [0] * 5).arrays[0]
    np.testing.assert_array_equal(together[3], noise[0])
    assert len({row.tobytes() for row in together}) == 5
    assert not np.array_equal(tensors_for(NOISE, 8, [3], [0]).arrays[0], noise)


def test_noise_is_normal() -> None:
    large = TensorInput((InputTensor("noise", "noise", (100, 100)),))
    (noise,) = sample_tensors(large, LARGEST_SEED, 4).arrays
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_samples_have_every_label_in_turn() -> None:
    noise, label = sample_tensors(generator().tensors, 0, 5).arrays
    assert noise.shape == (5, 3, 6, 6)
    assert label.dtype == np.int32
    assert label.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(("seed", "number"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**64)])
def test_seeds_have_64_bits(seed: int, number: int) -> None:
    with pytest.raises(UsageError, match="are 0 to 18446744073709551615; received"):
        tensors_for(NOISE, seed, [number], [0])


def test_tokens_are_those_of_the_text_or_numbers_of_the_seed() -> None:
    text = TensorInput((*NOISE.tensors, InputTensor("tokens", "tokens", (77,), 49408)))
    assert [spec.dtype for spec in text.specs] == ["float32", "int32"]
    given = np.arange(154, dtype=np.int32).reshape(2, 77)
    assert np.array_equal(tensors_for(text, 0, [0, 1], [0, 0], given).arrays[1], given)
    drawn, again = (tensors_for(text, 0, [0, 1], [0, 0]).arrays[1] for _ in range(2))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn[0], drawn[1])
    assert drawn.dtype == np.int32
    assert drawn.min() >= 0
    assert drawn.max() < 49408


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InputTensor("noise", "noise", (0, 3)), "expected positive sides"),
        (lambda: InputTensor("noise", "noise", (3,), 10), "expected 0 for noise and values only"),
        (lambda: InputTensor("label", "label", ()), "expected 0 for noise and values only"),
        (lambda: InputTensor("mask", "mask", (4, 4), 2), "for noise and values only, an image or a mask"),
        (lambda: InputTensor("original", "image", (4, 4)), r"expected \(H, W, 3\) for an image"),
        (lambda: TensorInput(()), "expected inputs of different names; received none"),
        (lambda: TensorInput(NOISE.tensors * 2), "received noise, noise"),
        (lambda: Tensors((np.zeros(2), np.zeros(3))), r"received lengths \[2, 3\]"),
    ],
)
def test_impossible_inputs(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]  # a function of the table


def test_regions_are_given_or_drawn() -> None:
    given = editor().tensors
    assert [(spec.name, spec.dtype) for spec in given.specs[1:3]] == [
        ("original", "uint8"),
        ("mask", "uint8"),
    ]
    one = region()
    tensors = tensors_for(given, 0, [0, 1], [0, 0], region=one)
    np.testing.assert_array_equal(tensors.arrays[1], [one.image] * 2)
    np.testing.assert_array_equal(tensors.arrays[2], [one.mask] * 2)
    plain = tensors_for(TensorInput(given.tensors[:1]), 0, [0, 1], [0, 0])
    np.testing.assert_array_equal(tensors.arrays[0], plain.arrays[0])
    (_, image, mask, _), again = sample_tensors(given, 0, 20).arrays, sample_tensors(given, 0, 20)
    np.testing.assert_array_equal(image, again.arrays[1])
    assert {int(part.sum()) for part in mask >= 128} == {12}
    assert len({part.tobytes() for part in mask}) > 5
    assert (image.min((1, 2, 3)) < 100).all()
    assert (image.max((1, 2, 3)) >= 150).all()


def test_a_generator_s_spec_survives_json_and_needs_a_newer_version() -> None:
    spec = generator(BatchRange(1, 2, 8))
    text = spec.to_json()
    assert ModelSpec.from_json(text) == spec
    assert json.loads(text)["schema"] == 2
    assert [tensor.name for tensor in spec.inputs] == ["noise", "label"]
    assert spec.with_batch(BatchRange(4, 4, 4)).batch.static


def test_specs_of_frames_are_written_as_before() -> None:
    """Bundles of this version stay readable for earlier ones."""
    data = json.loads(detector().to_json())
    assert data["schema"] == 1
    assert data["frames"]["size_wh"] == [64, 64]
    assert "input" not in data
    assert ModelSpec.from_json(json.dumps(data)) == detector()
    with pytest.raises(DecodeError, match="take tensors, others take frames"):
        ModelSpec.from_json(json.dumps({**data, "task": "generate", "nms": None}))


def test_frames_and_tensors_are_not_confused() -> None:
    with pytest.raises(
        UsageError, match="waves makes images from noise and takes no frames; run: edgevision gener"
    ):
        _ = generator().frames
    with pytest.raises(
        UsageError, match="m is a model of task detect, which takes frames; run: edgevision run"
    ):
        _ = detector().tensors
    with pytest.raises(UsageError, match="takes no frames"):
        GeneratorSession()([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(UsageError, match="takes frames"):
        BrightnessSession().infer(sample_tensors(generator().tensors, 0, 1))


def test_a_session_runs_tensors() -> None:
    session = GeneratorSession(generator(BatchRange(1, 2, 4)))
    tensors = sample_tensors(session.spec.tensors, 0, 3)
    np.testing.assert_array_equal(session.infer(tensors)[0], images_of(tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda noise, label: (noise[:, :2], label), r"expected noise float32 \['1:2:4', 3, 6, 6\]"),
        (lambda noise, label: (noise.astype(np.float64), label), "received float64"),
        (lambda noise, label: (noise, label.astype(np.int64)), "received float32"),
        (lambda noise, label: (noise,), "inputs do not fit waves"),
        (lambda noise, label: (noise.repeat(5, 0), label.repeat(5)), "inputs do not fit waves"),
        (lambda noise, label: (noise, label + 3), "label of waves is 3 to 3; expected 0 to 2"),
        (lambda noise, label: (noise, label - 1), "label of waves is -1 to -1; expected 0 to 2"),
    ],
)
def test_wrong_tensors_are_refused(change: object, message: str) -> None:
    session = GeneratorSession(generator(BatchRange(1, 2, 4)))
    arrays = sample_tensors(session.spec.tensors, 0, 1).arrays
    with pytest.raises(UsageError, match=message):
        session.infer(Tensors(change(*arrays)))  # type: ignore[operator]  # a function of the table


def test_an_engine_without_support_says_so() -> None:
    class OnlyFrames(BrightnessSession):
        pass

    session: Session = OnlyFrames(generator())
    with pytest.raises(
        EngineError, match="brightness runs only models that take frames; received waves, of task"
    ):
        session.infer(sample_tensors(generator().tensors, 0, 1))
