"""A model called with images in common forms."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import edgevision
from edgevision.errors import SourceError, UsageError
from edgevision.inference.inputs import images_of
from edgevision.sources.image_files import read_image, write_image
from tests.brightness import SIDE, write_brightness_bundle
from tests.inference.clips import write_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edgevision.Model]:
    """Detects one lamp whose score is the brightness of the image."""
    path = tmp_path_factory.mktemp("model") / "lamp"
    write_brightness_bundle(path)
    with edgevision.load(path, threshold=0.05) as opened:
        yield opened


def grey(level: int, side: int = SIDE) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), level, np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    write_image(path, grey(128))
    return path


def test_every_form_of_one_image_gives_one_prediction(model: edgevision.Model, file: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    forms: list[Any] = [
        file,
        str(file),
        grey(128),
        grey(128)[:, :, 0],
        grey(128)[:, :, :1],
        np.dstack([grey(128), grey(255)[:, :, 0]]),
        pil.open(file),
        pil.open(file).convert("L"),
        grey(128)[:, ::-1],
    ]
    for form in forms:
        prediction = model(form)
        assert isinstance(prediction, edgevision.Prediction)
        (found,) = prediction
        assert (found.name, found.label) == ("lamp", 0)
        assert found.score == pytest.approx(128 / 255, abs=0.01)


def test_several_images_give_a_list(model: edgevision.Model, file: Path) -> None:
    write_image(file.with_name("b.png"), grey(255))
    expected = pytest.approx([128 / 255, 1.0], abs=0.01)
    for several in (
        [file, grey(255)],
        (grey(128), grey(255)),
        (image for image in (grey(128), grey(255))),
        np.stack([grey(128), grey(255)]),
        file.parent,
        str(file.parent / "*.png"),
    ):
        found: Any = model(several)
        assert [prediction[0].score for prediction in found] == expected
    assert model([]) == []


def test_explain_shows_the_region_that_the_score_depends_on(model: edgevision.Model, file: Path) -> None:
    explanation = model.explain(file, class_name="lamp", masks=60)
    assert explanation.heat.shape == (SIDE, SIDE)
    assert explanation.target.name == "lamp"
    assert explanation.target.score == pytest.approx(128 / 255, abs=0.01)
    assert edgevision.draw_explanation(grey(128), explanation).dtype == np.uint8
    with pytest.raises(UsageError, match="no class 'cat'"):
        model.explain(file, class_name="cat")
    with pytest.raises(UsageError, match="one image"):
        model.explain(file.parent)


def test_a_file_with_the_characters_of_a_pattern_is_one_image(
    model: edgevision.Model, tmp_path: Path
) -> None:
    path = tmp_path / "a[1].png"
    write_image(path, grey(128))
    assert isinstance(model(path), edgevision.Prediction)


def test_colours_are_those_that_were_named() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 200
    assert next(images_of(red)).frame_bgr[0, 0].tolist() == [0, 0, 200]
    assert next(images_of(red[:, :, ::-1], "rgb")).frame_bgr[0, 0].tolist() == [0, 0, 200]
    pil = pytest.importorskip("PIL.Image")
    assert next(images_of(pil.fromarray(red[:, :, ::-1]))).frame_bgr[0, 0].tolist() == [0, 0, 200]
    rgba = np.dstack([red[:, :, ::-1], np.full((4, 4), 255, np.uint8)])
    assert next(images_of(pil.fromarray(rgba, "RGBA"))).frame_bgr[0, 0].tolist() == [0, 0, 200]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]; expected uint8"),
        (np.zeros((3, 9, 9), np.uint8), r"pass image.transpose\(1, 2, 0\)"),
        (np.zeros((0, 9, 3), np.uint8), "without pixels"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), "expected a path"),
        (7, "received int"),
        (None, "received NoneType"),
        (b"bytes", "received bytes"),
        ({"image": 1}, "received dict"),
        ([[1, 2], [3, 4]], "received list inside a list"),
        ("demo:", "live source: use for frame, prediction in model.stream"),
    ],
)
def test_error_on_what_is_no_image(model: edgevision.Model, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model(value)


def test_error_on_a_file_that_does_not_exist(model: edgevision.Model) -> None:
    with pytest.raises(SourceError, match="no such file"):
        model("nosuch.jpg")
    with pytest.raises(UsageError, match="expected a confidence from 0 to 1"):
        model(grey(1), threshold=25)
    with pytest.raises(UsageError, match="edgevision.load"):
        model.session("a.jpg")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"session\(\[image\]\)\[0\]"):
        model.session(grey(3))  # type: ignore[arg-type]


def test_a_prediction_is_a_sequence(model: edgevision.Model, tmp_path: Path) -> None:
    prediction = model(grey(200))
    assert len(prediction) == 1
    assert prediction[0].box_xyxy == pytest.approx((16, 16, 48, 48), abs=16)
    assert len(prediction[:0]) == len(prediction[[False]]) == 0
    assert repr(prediction[0]).startswith("lamp 0.78 at ")
    assert repr(prediction) == f"<1 lamp in an image ({SIDE}x{SIDE})>"
    assert repr(prediction[:0]) == f"<nothing in an image ({SIDE}x{SIDE})>"
    before = prediction.frame_bgr.copy()
    assert not np.array_equal(prediction.plot(), before)
    np.testing.assert_array_equal(prediction.frame_bgr, before)
    assert read_image(prediction.save(tmp_path / "found.png")).shape == before.shape
    assert prediction._repr_png_().startswith(b"\x89PNG")
    assert prediction.to_dict()["detections"][0]["class"] == "lamp"
    detections = prediction.result
    assert isinstance(detections, edgevision.Detections)
    assert [part.scores.tolist() for part in detections] == [detections.scores.tolist()]
    with pytest.raises(IndexError):
        prediction[1]
    if importlib.util.find_spec("pandas"):
        assert list(prediction.to_pandas().columns) == ["label", "name", "score", "x1", "y1", "x2", "y2"]


def test_the_threshold_is_the_model_s_or_the_call_s(model: edgevision.Model) -> None:
    assert len(model(grey(20))) == 1
    assert len(model(grey(20), threshold=0.5)) == 0
    assert repr(model).startswith(f"<brightness: detect, 1 classes, {SIDE}x{SIDE}, float in onnxruntime ")


def clip(path: Path, frames: int) -> Path:
    return write_clip(path, [grey(10 * number + 20) for number in range(frames)], "MJPG")


def test_a_video_is_streamed_whole_and_left_early(model: edgevision.Model, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", 9)
    pairs = list(model.stream(path))
    assert [prediction.index for _, prediction in pairs] == list(range(9))
    assert all(frame.shape == (SIDE, SIDE, 3) for frame, _ in pairs)
    scores = [prediction[0].score for _, prediction in pairs]
    assert scores == sorted(scores)
    assert sum(1 for _ in model.stream(path, limit=4)) == 4
    before = set(threading.enumerate())
    for _frame, prediction in model.stream(path):
        assert prediction.index == 0
        break
    assert set(threading.enumerate()) <= before
    with pytest.raises(UsageError, match="is a video"):
        model(path)
    with pytest.raises(SourceError):
        next(model.stream(tmp_path / "nosuch.avi"))


def test_a_live_source_is_streamed_until_the_loop_is_left(model: edgevision.Model) -> None:
    ages = []
    for _frame, prediction in model.stream("demo:160x120@50"):
        ages.append(prediction.age_ms)
        if len(ages) == 5:
            break
    assert all(age is not None and age < 1000 for age in ages)


def test_an_error_of_a_stream_reaches_the_loop(model: edgevision.Model, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", 2)
    outside = edgevision.AnalyticsOptions(lines=("0,0,500,500",))
    pytest.importorskip("trackers")
    with pytest.raises(UsageError, match="outside the frame"):
        list(model.stream(path, analytics=outside))


def test_two_hundred_concurrent_requests_match_sequential_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    write_brightness_bundle(tmp_path / "lamp")
    monkeypatch.setenv("MODEL", str(tmp_path / "lamp"))
    path = Path(__file__).resolve().parents[2] / "examples" / "web_service.py"
    spec = importlib.util.spec_from_file_location("web_service", path)
    assert spec is not None
    assert spec.loader is not None
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    bodies = [cv2.imencode(".png", grey(level))[1].tobytes() for level in range(56, 256)]
    with testclient.TestClient(service.app) as client:

        def ask(body: bytes) -> Any:
            return client.post("/predict", content=body, headers={"content-type": "image/png"}).json()

        one_by_one = [ask(body) for body in bodies]
        with ThreadPoolExecutor(20) as pool:
            at_once = list(pool.map(ask, bodies))
        assert client.post("/predict", content=b"no image").status_code == 400
    assert at_once == one_by_one
    assert one_by_one[-1]["detections"][0]["score"] == pytest.approx(1.0, abs=0.01)
