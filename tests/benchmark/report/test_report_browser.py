"""The report in Chromium, where one is installed: no request, no message, nothing wider than the screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.report.page import page
from edgevision.benchmark.report.rows import Accuracy, report_rows
from tests.benchmark.report.records import write_all

from tests.browser import opened_browser  # isort: skip  # skips where playwright is missing

from playwright.sync_api import Browser  # after the skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page with every part."""
    folder = tmp_path_factory.mktemp("report")
    rows = report_rows([write_all(folder / "records")], {})
    measured = [replace(row, accuracy=Accuracy("AP", 20.0 + n)) for n, row in enumerate(rows)]
    file: Path = folder / "report.html"
    file.write_text(page(measured, "Report"))
    return file.as_uri()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_loads_nothing_and_fits(browser: Browser, report: str, width: int, scheme: str) -> None:
    messages: list[str] = []
    asked: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        shown = context.new_page()
        shown.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        shown.on("console", lambda message: messages.append(message.text))
        shown.on("pageerror", lambda error: messages.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(report)
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(12, 16, 20)" if scheme == "dark" else "rgb(243, 245, 247)")
        outside = shown.evaluate(
            "[...document.querySelectorAll('.scatter i, .bar i')].filter("
            "(one) => one.getBoundingClientRect().right > innerWidth).length"
        )
        assert outside == 0
        shown.emulate_media(media="print", color_scheme="dark" if scheme == "dark" else "light")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert messages == []
    assert asked == [report]
