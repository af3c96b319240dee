"""The search on simulated models with known damage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgevision.evaluation.bootstrap import Scores, TopOne
from edgevision.quantize.search.search import Budget, Search, SearchResult

IMAGES = 4000


class Model:
    """Each layer in INT8 spoils its own share of the images."""

    def __init__(self, damage: dict[str, float]) -> None:
        self.damage = damage
        self.measured: list[frozenset[str]] = []

    def scores(self, kept_float: frozenset[str]) -> list[Scores]:
        self.measured.append(kept_float)
        hits = np.ones(IMAGES, bool)
        hits[: IMAGES // 5] = False
        start = IMAGES // 5
        for layer, share in self.damage.items():
            lost = round(share * IMAGES / 100)
            if layer not in kept_float:
                hits[start : start + lost] = False
            start += lost
        return [TopOne(list(hits))]


def search(
    damage: dict[str, float], macs: dict[str, int], max_drop: float, order: Sequence[str] | None = None
) -> tuple[SearchResult, Model]:
    model = Model(damage)
    reference = model.scores(frozenset(damage))
    model.measured.clear()
    ordered = order or sorted(damage, key=lambda layer: -damage[layer] / macs[layer])
    return Search(model.scores, macs, Budget(max_drop)).run(reference, ordered), model


EQUAL = dict.fromkeys("abcdefgh", 10)


def test_all_stays_in_int8_where_nothing_is_lost() -> None:
    result, model = search(dict.fromkeys("abcdefgh", 0.0), EQUAL, 0.5)
    assert result.chosen is not None
    assert (result.chosen.kept_float, result.chosen.low_share) == ((), 1.0)
    assert len(model.measured) == 1


def test_a_front_has_points_even_where_the_first_graph_is_good() -> None:
    model = Model(dict.fromkeys("abcdefgh", 0.01))
    reference = model.scores(frozenset(model.damage))
    result = Search(model.scores, EQUAL, Budget(0.5)).run(reference, "abcdefgh", least_points=3)
    assert [len(candidate.kept_float) for candidate in result.candidates] == [0, 1, 2]
    assert result.chosen == result.candidates[0]


def test_the_worst_layers_go_back() -> None:
    damage = dict.fromkeys("abcdefgh", 0.01) | {"c": 2.0, "f": 1.0}
    result, _ = search(damage, EQUAL, 0.5)
    assert result.chosen is not None
    assert result.chosen.kept_float == ("c", "f")
    assert result.chosen.low_share == pytest.approx(0.75)
    assert result.metric == "top-1"
    assert result.float_accuracy == pytest.approx(80)


def test_a_dear_layer_returns_to_int8_if_it_was_not_needed() -> None:
    damage = dict.fromkeys("abcdefgh", 0.0) | {"c": 2.0}
    result, _ = search(damage, EQUAL | {"h": 100}, 0.5, order=("h", "c", "a", "b", "d", "e", "f", "g"))
    assert result.chosen is not None
    assert result.chosen.kept_float == ("c",)


def test_a_random_gain_does_not_count_as_accuracy() -> None:
    """A drop of 0.45 points measured on so few images may well be more than 0.5."""
    result, _ = search({"a": 0.45, "b": 0.0}, {"a": 1, "b": 1}, 0.5)
    first = result.candidates[0]
    assert first.drop.points == pytest.approx(0.45)
    assert 0.5 < first.drop.sure < 0.8
    assert result.chosen is not None
    assert result.chosen.kept_float == ("a",)


def test_a_budget_that_cannot_be_kept_chooses_nothing() -> None:
    result, model = search({"a": 3.0, "b": 3.0, "c": 3.0}, {"a": 1, "b": 1, "c": 1}, 0.5)
    assert result.chosen is None
    assert frozenset() in model.measured
    assert frozenset("abc") not in model.measured  # all in float would be no INT8 graph


def test_no_graph_is_measured_twice() -> None:
    damage = dict.fromkeys("abcdefgh", 0.3)
    _, model = search(damage, EQUAL, 0.5)
    assert len(model.measured) == len(set(model.measured))


def test_layers_that_go_together_are_tried_together() -> None:
    model = Model(dict.fromkeys("abcdefgh", 0.0) | {"a": 1.0, "b": 1.0, "c": 1.0})
    reference = model.scores(frozenset(model.damage))
    model.measured.clear()
    result = Search(model.scores, EQUAL, Budget(0.5)).run(reference, "abcdefgh", first=3)
    assert result.chosen is not None
    assert result.chosen.kept_float == ("a", "b", "c")
    assert [len(kept) for kept in model.measured[:2]] == [0, 3]
