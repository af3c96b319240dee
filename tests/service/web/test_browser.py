"""The page in a browser: Chromium without a screen, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import parser

from edgevision.contract.results import Classification
from edgevision.contract.spec import FrameInput, ModelSpec, classify_outputs
from edgevision.contract.thresholds import ClassThresholds
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan, Readiness
from edgevision.service.web.options import PageOptions
from edgevision.service.web.server import PageServer, serve
from tests.doubles import PROVENANCE, BrightnessSession
from tests.service.web.conftest import Serving, ask, wait_until
from tests.service.web.fake_manager import FakeManager, result

from tests.browser import opened_browser  # isort: skip  # skips where playwright is missing

from playwright.sync_api import Browser, BrowserContext, Page, expect  # after the skip

pytestmark = pytest.mark.slow

SCRIPT = "<script>window.ran = 1</script>"
PATIENCE_MS = 30_000
LOOK = """() => {
  const canvas = document.querySelector(".camera .picture");
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
  let sum = 0;
  for (let i = 0; i < pixels.length; i += 97) sum = (sum * 31 + pixels[i]) >>> 0;
  return sum;
}"""
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@dataclass
class Visit:
    """A page with its console messages and requests."""

    page: Page
    messages: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture
def camera_manager() -> Iterator[CameraManager]:
    """Two cameras, in which one box is found whose score is the brightness in the middle."""
    cameras = [CameraPlan(SCRIPT, "demo:320x240@20"), CameraPlan("yard/ü", "demo:640x360@10")]
    camera_manager = CameraManager(lambda _: BrightnessSession(takes_s=0.01), cameras)
    camera_manager.start()
    yield camera_manager
    camera_manager.close()


def visit(context: BrowserContext, url: str) -> Visit:
    page = context.new_page()
    seen = Visit(page)
    page.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("websocket", lambda socket: seen.asked.append(socket.url))
    page.add_init_script(WATCH_POLICY)
    page.goto(url)
    return seen


def wait_for_video(page: Page) -> None:
    before = page.evaluate(LOOK)
    page.wait_for_function(f"(before) => ({LOOK})() !== before", arg=before, timeout=PATIENCE_MS)


def test_video_moves_and_controls_work(
    context: BrowserContext, serving: Serving, camera_manager: CameraManager
) -> None:
    server = serving(camera_manager)
    seen = visit(context, server.url)
    page = seen.page
    card = page.locator(".camera").first
    expect(card.locator(".state")).to_have_text("Live", timeout=PATIENCE_MS)
    wait_for_video(page)
    wait_for_video(page)
    first, second = card.locator(".picture").screenshot(), None
    for _ in range(20):
        second = card.locator(".picture").screenshot()
        if second != first:
            break
    assert second != first, "what is on the screen moves"

    def thresholds(*expected: float) -> bool:
        page.evaluate("1")  # lets the page work meanwhile
        return [camera.threshold for camera in camera_manager.cameras] == list(expected)

    page.get_by_role("slider", name=f"Threshold of {SCRIPT}").fill("1")
    wait_until(lambda: thresholds(1.0, 0.25), "one threshold is set")
    expect(card.locator(".seen")).to_have_text("", timeout=PATIENCE_MS)
    page.get_by_role("slider", name="Threshold, all").fill("0.01")
    wait_until(lambda: thresholds(0.01, 0.01), "all thresholds are set")
    expect(card.locator(".seen")).to_have_text("1 a", timeout=PATIENCE_MS)

    page.get_by_role("button", name=f"Stop {SCRIPT}").click()
    expect(card.locator(".state")).to_have_text("Stopped", timeout=PATIENCE_MS)
    assert [camera.state for camera in camera_manager.cameras] == ["stopped", "running"]
    page.get_by_role("button", name=f"Start {SCRIPT}").click()
    expect(card.locator(".state")).to_have_text("Live", timeout=PATIENCE_MS)
    wait_for_video(page)

    names = page.locator(".camera .name").all_text_contents()
    assert names == [SCRIPT, "yard/ü"]
    assert page.evaluate("window.ran") is None
    assert page.evaluate("window.violations") == []
    assert seen.messages == []
    here = (server.url, server.url.replace("http:", "ws:"))
    assert seen.asked
    assert all(url.startswith(here) for url in seen.asked)

    body = ask(server, "/metrics").body.decode()
    families = {family.name: family for family in parser.text_string_to_metric_families(body)}
    pictures = families["edgevision_page_pictures"].samples[0].value
    assert pictures > 5


def test_only_cards_in_view_are_fetched(
    context: BrowserContext, serving: Serving, camera_manager: CameraManager
) -> None:
    server = serving(camera_manager)
    page = visit(context, server.url).page
    wait_until(lambda: page.evaluate("1") and server._video.viewers == 2, "both cards are looked at")
    page.set_viewport_size({"width": 390, "height": 300})
    page.evaluate("window.scrollTo(0, 0)")
    wait_until(lambda: page.evaluate("1") and server._video.viewers == 1, "one card is out of view")


def test_the_page_reconnects_automatically(context: BrowserContext, camera_manager: CameraManager) -> None:
    first = serve(camera_manager, PageOptions(port=0))
    page = visit(context, first.url).page
    expect(page.locator("#readiness")).to_have_text("running", timeout=PATIENCE_MS)
    first.close()
    expect(page.locator("#connection")).to_contain_text("Connection lost", timeout=PATIENCE_MS)
    with serve(camera_manager, PageOptions(port=first.port)):
        expect(page.locator("#connection")).to_be_hidden(timeout=PATIENCE_MS)
        expect(page.locator("#readiness")).to_have_text("running", timeout=PATIENCE_MS)
        wait_for_video(page)


def test_the_token(context: BrowserContext, serving: Serving, camera_manager: CameraManager) -> None:
    server = serving(camera_manager, token="t" * 20)
    page = context.new_page()
    for path in ("", "?token=wrong"):
        answer = page.goto(server.url + path)
        assert answer is not None
        assert answer.status == 401
    assert page.locator(".camera").count() == 0
    page.get_by_label("Token").fill("t" * 20)
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#readiness")).to_have_text("running", timeout=PATIENCE_MS)
    assert page.url == server.url, "the token is not left in the address"
    assert page.evaluate("document.cookie") == ""
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    wait_for_video(page)


def test_progress_and_failure_are_shown(context: BrowserContext, serving: Serving) -> None:
    camera_manager = FakeManager(["cam"])
    camera_manager.fake.readiness = Readiness("building", 0.43, "building an engine")
    camera_manager.fake.session = None
    page = visit(context, serving(camera_manager).url).page
    expect(page.locator("#building-text")).to_have_text("building an engine: 43 %", timeout=PATIENCE_MS)
    assert page.locator("#building-share").evaluate("(bar) => bar.value") == 0.43
    camera_manager.fake.readiness = Readiness("running")
    expect(page.locator("#building")).to_be_hidden(timeout=PATIENCE_MS)
    camera_manager.fake.failure = RuntimeError("the <b>engine</b> broke")
    expect(page.locator("#failure")).to_contain_text("the <b>engine</b> broke", timeout=PATIENCE_MS)
    expect(page.locator(".sinks")).to_contain_text("mqtt: 7 written, 2 waiting, 3 lost, failing: refused")
    expect(page.locator(".counts")).to_contain_text("door in 3, out 2")


def test_on_a_phone_and_by_keyboard(browser: Browser, serving: Serving) -> None:
    camera_manager = FakeManager(["cam", "a name that is rather long and has" + "nowhere" * 12 + "to break"])
    server = serving(camera_manager)
    with browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme="dark"
    ) as context:
        page = visit(context, server.url).page
        slider = page.get_by_role("slider", name="Threshold of cam")
        slider.wait_for(timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for place in (slider, page.get_by_role("button", name="Stop cam")):
            box = place.bounding_box()
            assert box is not None
            assert box["height"] >= 44, "as large as a finger"
        slider.focus()
        page.keyboard.press("ArrowRight")
        wait_until(
            lambda: page.evaluate("1") and ("threshold", 0.26, "cam") in camera_manager.calls,
            "the key moves the slider",
        )
        page.get_by_role("button", name="Stop cam").focus()
        page.keyboard.press("Enter")
        wait_until(
            lambda: page.evaluate("1") and ("stopped", "cam") in camera_manager.calls,
            "the key stops the camera",
        )


def test_the_thresholds_of_the_bundle_come_back(context: BrowserContext, serving: Serving) -> None:
    camera_manager = FakeManager(["cam"])
    session = BrightnessSession()
    session.threshold = ClassThresholds((0.4,))
    camera_manager.fake.session = session
    page = visit(context, serving(camera_manager).url).page
    button = page.get_by_role("button", name="Threshold of cam: use the bundle's threshold of each class")
    button.click()
    expect(page.locator(".camera .threshold output")).to_have_text("by class", timeout=PATIENCE_MS)
    expect(button).to_be_hidden()
    assert camera_manager.calls == [("threshold", None, "cam")]


def test_a_classifier_shows_results_without_a_threshold(context: BrowserContext, serving: Serving) -> None:
    names = ("cat", "dog")
    spec = ModelSpec("c", "classify", FrameInput((64, 64)), classify_outputs(2), names, PROVENANCE)
    camera_manager = FakeManager(["cam"])
    camera_manager.fake.session = BrightnessSession(spec)
    server = serving(camera_manager)
    page = visit(context, server.url).page
    expect(page.locator("#readiness")).to_have_text("running", timeout=PATIENCE_MS)
    wait_until(lambda: page.evaluate("1") and server._results.clients == 1, "the page listens")
    camera_manager.emit("cam", result(found=Classification(np.array([0.2, 0.8], np.float32), names)))
    expect(page.locator(".seen")).to_have_text("dog 0.80 · cat 0.20", timeout=PATIENCE_MS)
    expect(page.locator(".camera .threshold")).to_be_hidden()


def test_the_client_limit_is_shown(context: BrowserContext, serving: Serving) -> None:
    server: PageServer = serving(FakeManager(["cam"]), max_clients=1)
    visit(context, server.url)
    wait_until(lambda: server._results.clients == 1, "the first page is in")
    second = visit(context, server.url).page
    expect(second.locator("#connection")).to_contain_text("retrying", timeout=PATIENCE_MS)
