"""Windows."""

from __future__ import annotations

import cv2
import pytest

from edgevision.errors import SinkError
from edgevision.sinks import window
from edgevision.sinks.window import WindowSink
from tests.sinks.results import processed


def test_error_on_a_headless_opencv_names_the_fix() -> None:
    with pytest.raises(SinkError, match="pip uninstall opencv-python-headless && pip install opencv-python"):
        WindowSink("title")


class FakeScreen:
    """OpenCV's windows: remembers what was shown, and answers keys in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int]) -> None:
        self.shown: list[int] = []
        self.keys = keys
        self.visible = True
        monkeypatch.setattr(window, "why_no_window", lambda _: None)
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, image: self.shown.append(int(image[0, 0, 0])))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.keys.pop(0) if self.keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: float(self.visible))


@pytest.mark.parametrize("key", [ord("q"), window.ESCAPE])
def test_a_key_closes_the_window(monkeypatch: pytest.MonkeyPatch, key: int) -> None:
    screen = FakeScreen(monkeypatch, [-1, ord("x"), key])
    with WindowSink("title") as sink:
        for number in range(5):
            sink.write(processed(number))
        assert sink.closed
    assert screen.shown == [0, 20, 40]


def test_the_user_closes_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch, [])
    sink = WindowSink("title")
    sink.write(processed())
    screen.visible = False
    sink.write(processed())
    assert sink.closed


def test_an_image_stays_until_a_key_or_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch, [-1, -1, -1, ord(" ")])
    wishes = iter([False, False, False, True])
    sink = WindowSink("title", hold=True, stop=lambda: next(wishes))
    sink.write(processed())
    assert screen.keys == []
    sink.write(processed(1))
    assert screen.shown == [0, 20]
    assert not sink.closed
