"""Images from noise: the same for the same seed, number and label, whatever else is made with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import edgevision
from edgevision.contract.inputs import BatchRange, tensors_for
from edgevision.errors import UsageError
from edgevision.inference.generation import (
    GenerateOptions,
    check_output,
    generate_each,
    image_grid,
    labels_of,
)
from edgevision.inference.model import Model
from edgevision.sinks.files.png import XMP_KEYWORD, text_of
from tests.doubles import BrightnessSession, detector
from tests.generators import CLASSES, SIDE, GeneratorSession, generator, images_of, write_generator

STATIC, DYNAMIC = BatchRange(4, 4, 4), BatchRange(1, 3, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("bundles") / "waves", generator(DYNAMIC)).path


@pytest.fixture
def model(bundle: Path) -> Model:
    return edgevision.load(bundle, engine="onnxruntime")


def test_an_image_is_that_of_its_seed_number_and_label(model: Model) -> None:
    made = model.generate("light", seed=9, count=4)
    tensors = tensors_for(model.spec.tensors, 9, range(4), [2] * 4)
    np.testing.assert_array_equal(made.images, images_of(tensors))
    assert [item.origin.number for item in made] == [0, 1, 2, 3]
    assert {item.origin.label_name for item in made} == {"light"}
    assert repr(made) == "<4 images of 6x6 made by waves>"
    assert repr(made[1:3]) == "<2 images of 6x6 made by waves>"
    assert "generate, 3 classes, from noise, float in onnxruntime" in repr(model)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_image_does_not_depend_on_the_count_or_the_other_images(bundle: Path, engine: str) -> None:
    pytest.importorskip(engine)
    with edgevision.load(bundle, engine=engine) as opened:
        many = opened.generate(seed=1, count=11).images
        for count in (1, 2, 7):
            np.testing.assert_array_equal(opened.generate(seed=1, count=count).images, many[:count])
        np.testing.assert_array_equal(opened.generate(seed=1, first=5, count=2).images, many[5:7])
        assert not np.array_equal(opened.generate(seed=2, count=11).images, many)


def test_engines_agree_within_one_level(bundle: Path) -> None:
    pytest.importorskip("openvino")
    both = [
        edgevision.load(bundle, engine=e).generate(seed=4, count=9).images
        for e in ("onnxruntime", "openvino")
    ]
    assert int(np.abs(both[0].astype(int) - both[1]).max()) <= 1


@pytest.mark.parametrize("batch", [STATIC, DYNAMIC, BatchRange()])
def test_every_call_has_the_usual_batch_size(batch: BatchRange) -> None:
    session = GeneratorSession(generator(batch))
    made = [item.image for item in generate_each(session, GenerateOptions(count=7))]
    assert set(session.batches) == {batch.opt}
    reference = GeneratorSession(generator())
    expected = [item.image for item in generate_each(reference, GenerateOptions(count=7))]
    np.testing.assert_array_equal(made, expected)


def test_without_a_label_every_class_comes_in_turn() -> None:
    options = GenerateOptions(count=5, first=1)
    assert [i.origin.label for i in generate_each(GeneratorSession(), options)] == [1, 2, 0, 1, 2]
    unconditional = GeneratorSession(generator(classes=()))
    assert [i.origin.label for i in generate_each(unconditional, options)] == [None] * 5


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [((), (0, 1, 2)), (("light", 0), (2, 0)), (("1",), (1,)), ((2,), (2,))],
)
def test_labels_by_number_and_name(wanted: tuple[int | str, ...], labels: tuple[int, ...]) -> None:
    assert labels_of(generator(), wanted) == labels


def test_names_that_are_numbers_are_names() -> None:
    assert labels_of(generator(classes=("7", "1", "0")), ("1", "0", "2")) == (1, 2, 2)


@pytest.mark.parametrize(
    ("spec", "wanted", "message"),
    [
        (
            generator(),
            "midle",
            r"waves has no class 'midle'; did you mean 'middle'\? classes: dark, middle, light",
        ),
        (generator(), "xyz", r"waves has no class 'xyz'; classes: dark, middle, light"),
        (generator(), "3", "waves has 3 classes; expected a label from 0 to 2; received 3"),
        (generator(), -1, "received -1"),
        (generator(classes=()), "3", "waves has no classes to choose from; received '3': omit the label"),
        (detector(), "a", "m is a model of task detect, which takes frames"),
    ],
)
def test_labels_that_a_model_lacks(spec: edgevision.ModelSpec, wanted: int | str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        labels_of(spec, (wanted,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 0}, "count is 0; expected at least 1"),
        ({"seed": -1}, "the seed is -1; expected 0 to"),
        ({"seed": 2**64}, "the seed is"),
        ({"first": 2**64 - 1, "count": 5}, "the number of the first image is"),
    ],
)
def test_impossible_options(given: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GenerateOptions(**given)  # type: ignore[arg-type]  # of the table


def test_a_model_of_frames_makes_nothing() -> None:
    with pytest.raises(UsageError, match="takes frames; run: edgevision run"):
        Model(BrightnessSession()).generate()


def test_a_folder_of_files_with_their_origin(model: Model, tmp_path: Path) -> None:
    made = model.generate(seed=3, count=2)
    files = made.save(tmp_path / "images")
    assert [path.name for path in files] == ["s3-00000.png", "s3-00001.png"]
    np.testing.assert_array_equal(cv2.imread(str(files[1])), made[1].image)
    entries = text_of(files[1].read_bytes())
    bundle_hash = model.session.graph_sha256
    assert bundle_hash is not None
    assert entries["Software"] == f"edgevision {edgevision.__version__}"
    assert entries["edgevision:model"] == "waves"
    assert entries["edgevision:graph-sha256"] == bundle_hash
    assert entries["edgevision:seed"] == "3"
    assert entries["edgevision:image"] == "1"
    assert entries["edgevision:label"] == "1 middle"
    assert entries["edgevision:engine"].startswith("onnxruntime")
    assert "digitalsourcetype/trainedAlgorithmicMedia" in entries[XMP_KEYWORD]


def test_metadata_can_be_left_out(model: Model, tmp_path: Path) -> None:
    made = model.generate(count=4)
    for path in (tmp_path / "grid.png", tmp_path / "images"):
        for file in made.save(path, metadata=False):
            assert text_of(file.read_bytes()) == {}
    made[0].save(tmp_path / "one.png", metadata=False)
    assert text_of((tmp_path / "one.png").read_bytes()) == {}


def test_a_grid_has_a_column_for_each_class(model: Model, tmp_path: Path) -> None:
    made = model.generate(seed=3, count=6)
    grid = made.grid()
    assert grid.shape == (2 * SIDE + 2, 3 * SIDE + 4, 3)
    np.testing.assert_array_equal(grid[SIDE + 2 :, :SIDE], made[3].image)
    assert (grid[SIDE : SIDE + 2] == 255).all()
    assert model.generate(0, count=10).grid().shape == (3 * SIDE + 4, 4 * SIDE + 6, 3)
    (file,) = made.save(tmp_path / "grid.png")
    entries = text_of(file.read_bytes())
    assert entries["edgevision:images"] == "0 to 5"
    assert entries["edgevision:labels"] == ", ".join(CLASSES * 2)
    assert "edgevision:image" not in entries
    assert "trainedAlgorithmicMedia" in entries[XMP_KEYWORD]


def test_a_grid_that_no_file_holds() -> None:
    tall = np.zeros((40_000, 10, 3), np.uint8)
    with pytest.raises(
        UsageError, match="a grid of 2 images of 10x40000 has 10x80002 pixels; expected at most 67"
    ):
        image_grid([tall, tall], 1)
    with pytest.raises(UsageError, match="received 0 images, 1 columns"):
        image_grid([], 1)


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    check_output(tmp_path / "new")
    check_output(tmp_path / "new" / "grid.png")
    for name, message in (
        ("a.jpg", "is neither a folder nor a file named"),
        ("file", "is a file; expected a folder"),
        ("folder.png", "is a folder; choose another name"),
    ):
        with pytest.raises(UsageError, match=message):
            check_output(tmp_path / name)
