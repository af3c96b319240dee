"""Interleaved pairs in real processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.builds import BuildRecord, Contender
from edgevision.benchmark.paired.against import unequal_inputs
from edgevision.benchmark.paired.pairs import (
    PairOptions,
    TimedPair,
    rounded_percent,
    run_pairs,
    undisturbed_median_ms,
)
from edgevision.benchmark.timing import Samples
from edgevision.contract.session import EngineInfo, Session
from edgevision.errors import EngineError
from tests.benchmark.paired.builds import frames_in, open_dying, refuse, sleeping


def test_pairs_time_both_builds_in_random_order(tmp_path: Path) -> None:
    seen: list[int] = []

    def each(number: int, pair: TimedPair) -> None:
        seen.append(number)
        assert pair.base.count >= 2

    base, new = sleeping(tmp_path, 0.002), sleeping(tmp_path, 0.03)
    pairs = run_pairs(base, new, PairOptions(pairs=4, seconds=0.2, turns=2, seed=1), each)
    assert seen == [1, 2, 3, 4]
    assert {pair.base_first for pair in pairs} == {True, False}
    for pair in pairs:
        before, after = pair.medians_ms()
        assert before >= 2
        assert after >= 30
        assert after > before
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("opener", "message"),
    [
        (refuse, r"broken: no such card$"),
        (open_dying, r"broken: the measuring process ended with code 3"),
    ],
)
def test_a_build_that_fails_is_an_error_and_ends_both_processes(
    tmp_path: Path, opener: Callable[[], Session], message: str
) -> None:
    broken = Contender("broken", opener, frames_in(tmp_path))
    with pytest.raises(EngineError, match=message):
        run_pairs(sleeping(tmp_path, 0.001), broken, PairOptions(pairs=1, seconds=0.2))
    assert multiprocessing.active_children() == []


def test_groups_end_when_decided_and_at_the_last_one(tmp_path: Path) -> None:
    base, new = sleeping(tmp_path, 0.001), sleeping(tmp_path, 0.001)
    options = PairOptions(pairs=2, seconds=0.02, turns=1, groups=3)
    for least, count, seen in ((2, 2, [2]), (4, 4, [2, 4]), (99, 6, [2, 4])):
        looks: list[int] = []

        def decided(pairs: Sequence[TimedPair], least: int = least, looks: list[int] = looks) -> bool:
            looks.append(len(pairs))
            return len(pairs) >= least

        assert len(run_pairs(base, new, options, decided=decided)) == count
        assert looks == seen


@pytest.mark.parametrize("settings", [{"pairs": 0}, {"turns": 0}, {"seconds": 0.0}, {"groups": 0}])
def test_settings_that_measure_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must have pairs >= 1"):
        PairOptions(**settings)  # type: ignore[arg-type]  # of two types


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (0.0812, "8.1 % slower"),
        (-0.03, "3.0 % faster"),
        (0.0, "0.0 % slower"),
        (float("inf"), "any amount slower"),
        (-1.0, "any amount faster"),
    ],
)
def test_a_change_as_text(change: float, text: str) -> None:
    assert rounded_percent(change) == text


def test_interrupted_calls_do_not_move_the_value_of_a_pair() -> None:
    calls = [1_000_000 + 10_000 * n for n in range(20)]
    quiet = undisturbed_median_ms(Samples(tuple(calls)))
    assert quiet == Samples(tuple(calls)).percentile_ms(50) == 1.09
    for interrupted in (10, 30, 100):
        busy = Samples((*calls, *[20_000_000] * interrupted))
        assert undisturbed_median_ms(busy) == quiet
    slower = Samples(tuple(round(1.08 * call) for call in calls))
    assert undisturbed_median_ms(slower) == pytest.approx(1.08 * quiet)
    assert undisturbed_median_ms(Samples((7_000_000,))) == 7.0


def test_inputs_of_different_sizes_are_stated() -> None:
    engine = EngineInfo("onnxruntime", "onnxruntime 1.2", "cpu")
    base = BuildRecord("a", "m", None, "float", engine, (640, 640), 1)
    assert unequal_inputs(base, base) == ()
    (warning,) = unequal_inputs(base, replace(base, input_wh=(416, 416)))
    assert warning.startswith("the networks' inputs differ: base 640x640, new 416x416")
