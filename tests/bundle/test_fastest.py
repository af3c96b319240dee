"""Which of several timed engines is used: the first one unless another is faster beyond noise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgevision.bundle.fastest import LEAST_ROUNDS, ROUNDS, Timing, fastest, gain, is_faster
from edgevision.contract.spec import Precision


def timed(engine: str, rounds_ms: Sequence[float], precision: Precision = "float") -> Timing:
    middle = sorted(rounds_ms)[len(rounds_ms) // 2]
    return Timing(engine, f"{engine} 1", precision, "cpu", tuple(rounds_ms), middle, max(rounds_ms))


STEADY = timed("onnxruntime", [10.0] * ROUNDS)


@pytest.mark.parametrize(
    ("rounds_ms", "faster"),
    [
        ([8.0] * 9, True),
        ([9.6] * 9, False),  # 4 % is below the least gain
        ([10.0] * 9, False),
        ([8.0] * 8 + [30.0], True),  # one disturbed round
        ([8.0] * 7 + [30.0] * 2, False),  # 37 of 512 equal pairs look like this
        ([5.0] * 5 + [11.0] * 4, False),  # twice as fast in the median, and no pattern
        ([20.0] * 9, False),
    ],
)
def test_faster_beyond_noise(rounds_ms: list[float], faster: bool) -> None:
    other = timed("openvino", rounds_ms)
    assert is_faster(other, STEADY) is faster
    assert fastest([STEADY, other]) is (other if faster else STEADY)


def test_rounds_are_compared_pair_by_pair() -> None:
    """Other load that slows whole rounds hides nothing, and a slow machine makes no candidate slow."""
    load = [1.0, 3.0, 1.0, 2.0, 5.0, 1.0, 1.0, 4.0, 2.0]
    reference = timed("onnxruntime", [10 * factor for factor in load])
    other = timed("openvino", [8 * factor for factor in load])
    assert gain(other, reference) == pytest.approx(1.25)
    assert is_faster(other, reference)


@pytest.mark.parametrize(("count", "possible"), [(LEAST_ROUNDS, True), (LEAST_ROUNDS - 1, False)])
def test_too_few_rounds_show_nothing(count: int, possible: bool) -> None:
    assert is_faster(timed("b", [1.0] * count), timed("a", [10.0] * count)) is possible


def test_the_order_of_preference_decides_between_equals() -> None:
    equal = timed("openvino", [7.9] * 9, "int8")
    first = timed("openvino", [8.0] * 9)
    assert fastest([STEADY, first, equal]) is first
    assert fastest([STEADY, equal, first]) is equal
    assert fastest([STEADY]) is STEADY
