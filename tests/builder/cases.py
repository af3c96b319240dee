"""Combinations of tests that build engines: a sample is slow, the rest exhaustive."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark import ParameterSet


def sampled_cases(
    names: Iterable[str], forms: Collection[str], sampled: Collection[tuple[str, str]]
) -> list[ParameterSet]:
    """Every name in every form; `sampled` are among the slow tests."""
    return [
        pytest.param(
            name, form, marks=pytest.mark.slow if (name, form) in sampled else pytest.mark.exhaustive
        )
        for name in names
        for form in forms
    ]
