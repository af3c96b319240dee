"""Editing: the region of the mask is filled, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.inputs import BatchRange, Region
from edgevision.errors import UsageError
from edgevision.inference.editing import EditOptions, edit, mask_of_image
from edgevision.inference.generation import GenerateOptions, generate_each
from edgevision.inference.model import Model
from edgevision.sinks.files.png import XMP_KEYWORD, text_of
from tests.editors import HEIGHT, WIDTH, EditorSession, editor, filled, region
from tests.generators import GeneratorSession


def test_the_region_is_filled_and_the_rest_is_kept() -> None:
    session, given = EditorSession(), region()
    made = edit(session, given, EditOptions("light", seed=3)).image
    outside = given.mask < 128
    assert np.array_equal(made[outside], given.image[outside])
    assert (made[~outside] >= 100).all()
    assert not np.array_equal(made, edit(session, given, EditOptions("light", seed=4)).image)
    assert np.array_equal(made, edit(session, given, EditOptions(1, seed=3)).image)


def test_a_batch_repeats_the_image() -> None:
    session = EditorSession(editor(batch=BatchRange(2, 3, 4)))
    made = edit(session, region(), EditOptions()).image
    (batch,) = session.batches
    assert len(batch) == 3
    assert np.array_equal(filled(batch)[2], made)


@pytest.mark.parametrize(
    ("classes", "label", "expected"),
    [
        (("dark", "light", "any"), None, 2),
        (("dark", "light", "any"), "dark", 0),
        ((), None, None),
    ],
)
def test_without_a_label_any_class_may_appear(
    classes: tuple[str, ...], label: str | None, expected: int | None
) -> None:
    assert edit(EditorSession(editor(classes)), region(), EditOptions(label)).origin.label == expected


def test_a_model_without_any_needs_a_label() -> None:
    session = EditorSession(editor(("dark", "light")))
    with pytest.raises(UsageError, match="patches needs a class; pass a label, one of dark, light"):
        edit(session, region(), EditOptions())
    assert edit(session, region(), EditOptions("light")).origin.label == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: replace(r, image=np.zeros((4, 8, 3), np.uint8)),
            "patches takes an image of 8x6 pixels; received 8x4: scale or crop it",
        ),
        (
            lambda r: replace(r, mask=np.full((6, 4), 255, np.uint8)),
            "takes a mask of 8x6 pixels; received 4x6",
        ),
        (lambda r: replace(r, image=r.image.astype(float)), "received 8x6 of float64"),
        (lambda r: replace(r, mask=r.mask // 2), "the mask selects no pixel; .* received at most 127"),
    ],
)
def test_unsuitable_images_and_masks(change: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit(EditorSession(), change(region()), EditOptions())  # type: ignore[operator]  # a function of the table


def test_unsuitable_options_and_models() -> None:
    with pytest.raises(UsageError, match="has no class 'lihgt'; did you mean 'light'"):
        edit(EditorSession(), region(), EditOptions("lihgt"))
    with pytest.raises(UsageError, match="patches takes no text: omit it"):
        edit(EditorSession(), region(), EditOptions(text="a cat"))
    with pytest.raises(UsageError, match="makes whole images from noise; run: edgevision generate"):
        edit(GeneratorSession(), region(), EditOptions())
    with pytest.raises(UsageError, match="patches fills a region of an image; run: edgevision edit"):
        list(generate_each(EditorSession(), GenerateOptions()))
    with pytest.raises(UsageError, match="takes no frames; run: edgevision edit BUNDLE IMAGE --mask MASK"):
        _ = editor().frames


def test_files_and_their_origin(tmp_path: Path) -> None:
    given, model = region(), Model(EditorSession())
    cv2.imwrite(str(tmp_path / "photo.png"), given.image)
    cv2.imwrite(str(tmp_path / "mask.png"), given.mask)
    made = model.edit(tmp_path / "photo.png", tmp_path / "mask.png", "dark", seed=5)
    expected = edit(model.session, given, EditOptions("dark", seed=5))
    assert np.array_equal(made.image, expected.image)
    made.save(tmp_path / "out.png")
    entries = text_of((tmp_path / "out.png").read_bytes())
    assert entries["edgevision:source"] == "photo.png"
    assert entries["edgevision:label"] == "0 dark"
    assert entries["edgevision:seed"] == "5"
    assert "digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in entries[XMP_KEYWORD]
    assert "edgevision:source" not in expected.origin.entries()


def test_a_mask_is_the_brightest_channel() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[2, 3] = (0, 0, 255)
    assert mask_of_image(image)[2, 3] == 255
    assert Region(image, mask_of_image(image)).mask.sum() == 255
