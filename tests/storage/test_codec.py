"""Frozen dataclasses to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from edgevision.storage.codec import DecodeError, dataclass_from_json, json_from_dataclass


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...]
    ratio: float
    maybe: str | None = None

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise ValueError("ratio must not be negative")


VALUE = Outer(Inner((1, 2)), (Inner((3, 4), "b"),), 0.5)
JSON: dict[str, Any] = {
    "inner": {"size": [1, 2], "kind": "a"},
    "many": [{"size": [3, 4], "kind": "b"}],
    "ratio": 0.5,
    "maybe": None,
}


def test_the_form_in_json() -> None:
    assert json_from_dataclass(VALUE) == JSON
    assert dataclass_from_json(Outer, JSON) == VALUE


def test_defaults_may_be_absent_and_whole_numbers_are_floats() -> None:
    data = {"inner": {"size": [1, 2]}, "many": [], "ratio": 2}
    assert dataclass_from_json(Outer, data) == Outer(Inner((1, 2)), (), 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "$: unknown field 'extra'"),
        ({"ratio": "x"}, "$.ratio: expected float, found str"),
        ({"ratio": True}, "$.ratio: expected float, found bool"),
        ({"inner": {"size": [1]}}, "$.inner.size: expected 2 items, found 1"),
        ({"inner": {"size": [1, 2.5]}}, "$.inner.size[1]: expected int, found float"),
        ({"inner": {"size": [1, True]}}, "$.inner.size[1]: expected int, found bool"),
        ({"inner": {"size": [1, 2], "kind": "c"}}, "$.inner.kind: 'c' is not one of 'a', 'b'"),
        ({"inner": None}, "$.inner: expected an object, found null"),
        ({"many": {}}, "$.many: expected a list, found dict"),
        ({"maybe": 1}, "$.maybe: expected str, found int"),
        ({"ratio": -1.0}, "$: ratio must not be negative"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        dataclass_from_json(Outer, {**JSON, **change})
    assert str(caught.value) == message


def test_a_missing_field_is_named() -> None:
    with pytest.raises(DecodeError, match=r"\$: field 'ratio' is missing"):
        dataclass_from_json(Outer, {key: value for key, value in JSON.items() if key != "ratio"})
