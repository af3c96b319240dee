"""Metrics of generated images, against sets whose values follow from the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.evaluation.generation import feature_distance, generation_accuracy, precision_and_recall

RNG = np.random.default_rng(0)
SET = (RNG.normal(size=(500, 6)) @ RNG.normal(size=(6, 6))).astype(np.float32)


def test_a_set_has_no_distance_to_itself() -> None:
    assert feature_distance(SET, SET) == pytest.approx(0, abs=1e-5)


def test_the_distance_of_a_shift_is_its_square() -> None:
    assert feature_distance(SET, SET + 0.5) == pytest.approx(6 * 0.25, rel=1e-4)


def test_the_distance_of_a_scale() -> None:
    """C and 4 C have the means m and 2 m: |m|^2 + tr (C + 4 C - 2 * 2 C)."""
    expected = float(SET.mean(0) @ SET.mean(0)) + np.trace(np.cov(SET, rowvar=False))
    assert feature_distance(SET, 2 * SET) == pytest.approx(expected, rel=1e-4)


def test_the_distance_of_covariances_that_do_not_commute() -> None:
    """(C1 C2)^(1/2) of 2 x 2 matrices: its trace is (tr C1 C2 + 2 det(C1 C2)^(1/2))^(1/2)."""
    first = RNG.normal(size=(400, 2)) @ np.array([[2.0, 0.3], [0.0, 1.0]])
    second = RNG.normal(size=(300, 2)) @ np.array([[0.5, 0.0], [0.9, 1.5]])
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shared = np.sqrt(np.trace(c1 @ c2) + 2 * np.sqrt(np.linalg.det(c1 @ c2)))
    apart = first.mean(0) - second.mean(0)
    expected = apart @ apart + np.trace(c1) + np.trace(c2) - 2 * shared
    assert feature_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_of_a_missing_mode() -> None:
    """Real images in two clusters, generated ones only in one of them, and in a place of their own."""
    left, right, away = (RNG.normal(size=(200, 3)) + place for place in (-20.0, 20.0, 60.0))
    real, made = np.concatenate((left, right)), np.concatenate((left + 0.01, left - 0.01, away, away))
    precision, recall = precision_and_recall(real, made)
    assert precision == pytest.approx(0.5)
    assert recall == pytest.approx(0.5)


def test_equal_sets_are_covered() -> None:
    assert precision_and_recall(SET, SET) == (1.0, 1.0)


def test_all_metrics() -> None:
    asked = np.arange(500) % 5
    predicted = asked.copy()
    predicted[:5] = 0  # four of them are wrong
    found = generation_accuracy(SET + 0.1, predicted, asked, real=SET, others=SET + 0.05, class_count=6)
    assert found.agreement == pytest.approx(1 - 4 / 500)
    assert found.classes == (104, 99, 99, 99, 99, 0)
    assert found.ratio == pytest.approx(4, rel=0.01)
    assert (found.images, found.precision, found.recall) == (500, 1.0, 1.0)


def test_sets_that_do_not_compare() -> None:
    labels = np.zeros(400, np.int64)
    with pytest.raises(UsageError, match="400 generated images .* compared with 500 real ones"):
        generation_accuracy(SET[:400], labels, labels, real=SET, others=SET, class_count=2)
    with pytest.raises(UsageError, match="two or more images"):
        feature_distance(SET[:1], SET)
    with pytest.raises(UsageError, match="more than 3 images; received 500 and 2"):
        precision_and_recall(SET, SET[:2])
