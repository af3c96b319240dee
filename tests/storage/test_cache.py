"""The cache folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.storage.cache import cache_folder


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"EDGEVISION_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/edgevision"),
        ({}, "/home/me/.cache/edgevision"),
    ],
)
def test_the_environment_names_the_cache(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("EDGEVISION_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
