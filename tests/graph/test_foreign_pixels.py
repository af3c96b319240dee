"""Pixel formats from options and metadata."""

from __future__ import annotations

import pytest

from edgevision.errors import GraphError
from edgevision.graph.foreign.pixels import PixelChanges, choose_pixels, pixel_text, stated_pixels
from edgevision.graph.preprocess import PixelFormat

IMAGENET = PixelFormat("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, PixelChanges()),
        ({"mean": "[0.5, 0.5, 0.5]", "std": "0.5 0.5 0.5"}, PixelChanges(None, None, (0.5,) * 3, (0.5,) * 3)),
        ({"image_mean": "0.5"}, PixelChanges(None, None, (0.5, 0.5, 0.5))),
        ({"mean": "123.7,116.3,103.5"}, PixelChanges(None, 1.0, (123.7, 116.3, 103.5))),
        ({"std": "(255, 255, 255)"}, PixelChanges(None, 1.0, None, (255.0, 255.0, 255.0))),
        (
            {"model_info mean_values": "123.7 116.3 103.5", "model_info reverse_input_channels": "YES"},
            PixelChanges("rgb", 1.0, (123.7, 116.3, 103.5)),
        ),
        ({"color": "BGR"}, PixelChanges("bgr")),
        ({"rescale_factor": "0.00392156862745098"}, PixelChanges(None, 0.00392156862745098)),
        ({"mean": "a, b, c", "std": "1, 2"}, PixelChanges()),
        ({"mean": "nan, nan, nan"}, PixelChanges()),
        ({"std": "0, 0, 0", "color": "rgb"}, PixelChanges("rgb")),
        ({"mean": "9" * 1000}, PixelChanges()),
    ],
)
def test_metadata(entries: dict[str, str], expected: PixelChanges) -> None:
    assert stated_pixels(entries) == expected


def test_a_stated_normalisation_is_whole() -> None:
    assert PixelChanges(mean=(0.5, 0.5, 0.5)).over(IMAGENET) == PixelFormat("rgb", 1 / 255, (0.5, 0.5, 0.5))
    assert PixelChanges(scale=1.0).over(IMAGENET) == PixelFormat("rgb", 1.0)
    assert PixelChanges("bgr").over(IMAGENET) == PixelFormat(
        "bgr", IMAGENET.scale, IMAGENET.mean, IMAGENET.std
    )


def test_a_mean_in_other_units_names_the_scale() -> None:
    with pytest.raises(GraphError, match=r"lies outside .*0 to 1; for a mean in 0..255 add --scale 1"):
        PixelChanges(mean=(123.7, 116.3, 103.5)).over(IMAGENET)
    with pytest.raises(GraphError, match="positive scale and std"):
        PixelChanges(std=(0.0, 1.0, 1.0)).over(IMAGENET)


def test_options_go_before_metadata() -> None:
    stated = PixelChanges("bgr", 1.0)
    assert str(choose_pixels(PixelChanges(), PixelChanges(), IMAGENET, "assumed")).endswith(" (assumed)")
    assert str(choose_pixels(PixelChanges(), stated, IMAGENET, "assumed")) == (
        "BGR, value (stated in the file's metadata)"
    )
    assert str(choose_pixels(PixelChanges("rgb"), stated, IMAGENET, "assumed")) == "RGB, value (as chosen)"


def test_formats_in_words() -> None:
    assert pixel_text(IMAGENET) == "RGB, (value / 255 - 0.485 0.456 0.406) / 0.229 0.224 0.225"
    assert pixel_text(PixelFormat("bgr", 0.5, (0, 0, 0), (2, 2, 2))) == "BGR, value * 0.5 / 2 2 2"
