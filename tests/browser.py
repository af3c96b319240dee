"""A browser for the tests of pages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

REQUIRED = bool(os.environ.get("EDGEVISION_REQUIRE_BROWSER"))
if not REQUIRED:
    pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, sync_playwright  # noqa: E402  # after the skip

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def opened_browser() -> Iterator[Browser]:
    """Skips where none is installed, fails there where EDGEVISION_REQUIRE_BROWSER is set."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        message = f"no browser: none of {', '.join(CHROMIUM)} is installed"
        if REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
