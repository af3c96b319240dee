"""Parsing of lines and zones."""

from __future__ import annotations

import pytest

from edgevision.analytics.places import Line, PlaceText, Zone, parse_place
from edgevision.errors import UsageError

SIZE = (768, 576)


def test_numbers_above_one_are_pixels() -> None:
    assert parse_place("560,150,560,440", "line 1").line(SIZE) == Line("line 1", (560, 150), (560, 440))


def test_numbers_up_to_one_are_shares_of_width_and_height() -> None:
    assert parse_place("door = 0.5,0,0.5,1", "line 1").line(SIZE) == Line("door", (384, 0), (384, 576))


def test_one_number_above_one_makes_all_of_them_pixels() -> None:
    assert parse_place("0,0,1,2", "x").line(SIZE).end_xy == (1, 2)


def test_a_zone_keeps_the_order_of_its_corners() -> None:
    assert parse_place("0,0,10,0,10,10", "z").zone(SIZE) == Zone("z", ((0, 0), (10, 0), (10, 10)))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2", "a,b,c,d", "1,2,3,nan", "=1,2,3,4", "1;2;3;4"])
def test_an_invalid_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected pairs of numbers"):
        parse_place(text, "line 1")


@pytest.mark.parametrize("numbers", [(0, 0, 769, 10), (-1, 0, 5, 5), (0, 0, 10, 577)])
def test_a_point_outside_the_frame_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="outside the frame; expected at most 768x576"):
        PlaceText("l", numbers).line(SIZE)


def test_a_line_without_length_is_refused() -> None:
    with pytest.raises(UsageError, match="expected two different points"):
        Line("l", (5, 5), (5, 5))


@pytest.mark.parametrize(
    "corners",
    [((0, 0), (10, 10), (10, 0), (0, 10)), ((0, 0), (5, 5), (10, 10))],
    ids=["sides cross", "no area"],
)
def test_an_invalid_polygon_is_refused(corners: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(UsageError, match="expected its corners in order"):
        Zone("z", corners)


def test_two_corners_are_no_zone() -> None:
    with pytest.raises(UsageError, match="three or more"):
        parse_place("0,0,10,10", "z").zone(SIZE)


def test_a_hollow_polygon_is_a_zone() -> None:
    assert len(Zone("u", ((0, 0), (9, 0), (9, 9), (6, 9), (6, 3), (3, 3), (3, 9), (0, 9))).corners) == 8
