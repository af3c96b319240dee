from __future__ import annotations

import numpy as np
import pytest

from edgevision.train.data.anchors import fit_anchors, fitness, ratio_fit


def test_ratio_fit_is_the_worse_side() -> None:
    got = ratio_fit(np.array([[10.0, 10.0]]), np.array([[10.0, 10.0], [20.0, 10.0], [5.0, 40.0]]))
    assert got == pytest.approx(np.array([[1.0, 0.5, 0.25]]))


def test_fitness_counts_unmatched_boxes_as_nothing() -> None:
    sizes = np.array([[10.0, 10.0], [100.0, 100.0]])
    assert fitness(sizes, np.array([[10.0, 10.0]])) == pytest.approx(0.5)


def test_anchors_find_the_clusters_and_come_sorted() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[10.0, 20.0], [50.0, 40.0], [200.0, 100.0]])
    sizes = np.concatenate([centre * np.exp(rng.normal(0, 0.05, (200, 2))) for centre in centres])
    found = fit_anchors(sizes, 3)
    assert found == pytest.approx(centres, rel=0.1)
    assert fitness(sizes, found) > 0.9


def test_anchors_are_a_function_of_the_seed() -> None:
    sizes = np.random.default_rng(1).uniform(5, 200, (300, 2))
    assert np.array_equal(fit_anchors(sizes, 9, seed=1), fit_anchors(sizes, 9, seed=1))


def test_the_search_improves_on_k_means() -> None:
    sizes = np.random.default_rng(1).lognormal(3, 1, (500, 2))
    assert fitness(sizes, fit_anchors(sizes, 9)) > fitness(sizes, fit_anchors(sizes, 9, generations=0))
