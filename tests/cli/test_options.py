"""Accepted values and error messages of the shared option types."""

from __future__ import annotations

import click
import pytest

from edgevision.cli.commands.export import command
from edgevision.cli.options.suppression import check_nms_applies
from edgevision.cli.options.types import BATCH, KEYPOINTS, SIZE
from edgevision.contract.spec import BatchRange
from edgevision.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("640x480", (640, 480)), ("1920X1080", (1920, 1080)), ("640", (640, 640)), (" 1x1 ", (1, 1))],
)
def test_a_size_is_width_and_height(text: str, expected: tuple[int, int]) -> None:
    assert SIZE.convert(text, None, None) == expected
    assert SIZE.convert(expected, None, None) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "640x", "x480", "640x480x3", "0x480", "640x00", "0", "-1x5", "6.4x4"]
)
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected WIDTHxHEIGHT in pixels, such as 640x480"):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100000x2", "frames are 100000x2; expected sides of at most 65535 pixels"),
        ("100000", "frames of 100000x100000 have 10,000 million pixels; expected at most 67 million"),
    ],
)
def test_a_size_that_no_camera_has_is_refused(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter, match=message):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "expected"), [("1", BatchRange()), ("4", BatchRange(4, 4, 4)), ("1:2:8", BatchRange(1, 2, 8))]
)
def test_a_batch_is_a_number_or_a_range(text: str, expected: BatchRange) -> None:
    assert BATCH.convert(text, None, None) == expected
    assert BATCH.convert(expected, None, None) is expected


@pytest.mark.parametrize("text", ["", "0", "1:2", "8:4:1", "a"])
def test_an_invalid_batch_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="a range such as 1:4:8"):
        BATCH.convert(text, None, None)


@pytest.mark.parametrize(("text", "expected"), [("17x3", (17, 3)), (" 4X2 ", (4, 2)), ("017x3", (17, 3))])
def test_the_shape_of_keypoints(text: str, expected: tuple[int, int]) -> None:
    assert KEYPOINTS.convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", "17", "17x4", "0x3", "x3", "17x3x1", "-1x3"])
def test_an_invalid_shape_of_keypoints_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected their number, and 2"):
        KEYPOINTS.convert(text, None, None)


def test_options_of_nms_are_refused_for_a_task_without_nms() -> None:
    given = command.make_context("export", ["sr", "-o", "bundle", "--nms-steps", "4"])
    with pytest.raises(
        UsageError, match="--nms-steps is an option of NMS, and a model with the task translate"
    ):
        check_nms_applies(given, "translate")
    check_nms_applies(given, "detect")
    check_nms_applies(command.make_context("export", ["sr", "-o", "bundle"]), "translate")
