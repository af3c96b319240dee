"""Opening and building an engine, with a simulated builder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgevision.builder import missing
from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.progress import BuildProgress
from edgevision.engines.tensorrt.manifest import Rebuild, Refuse
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.errors import BundleError, EngineError, UsageError
from edgevision.service.config import engine as module
from edgevision.service.config.engine import engine_opener
from edgevision.service.config.settings import ModelSettings

Reports = list[tuple[str, float | None]]


class ActedLibrary:
    name = "TensorRT 10.3.0"


def opened(
    monkeypatch: pytest.MonkeyPatch, bundle: Path, decision: Any, model: ModelSettings, *, stop: bool = False
) -> tuple[Reports, list[EngineRequest], list[bool]]:
    """Reports while the engine was opened, the builds, and the stop requests to the builder."""
    reported: Reports = []
    requests: list[EngineRequest] = []
    stops: list[bool] = []

    def build(_: Any, __: Any, request: EngineRequest, watch: BuildCallbacks, ___: Any) -> None:
        requests.append(request)
        watch.report("nothing fits")
        watch.progress(BuildProgress(0.5, "tactics"))
        stops.append(watch.stop())

    monkeypatch.setattr(missing, "load_library", lambda *_: ActedLibrary())
    monkeypatch.setattr(missing, "running_here", lambda *_: None)
    monkeypatch.setattr(missing, "choose_engine", lambda *_: decision)
    monkeypatch.setattr(module, "build_engines", build)
    monkeypatch.setattr(
        module,
        "open_session",
        lambda path, **options: SimpleNamespace(path=path, options=options, selection="the engine"),
    )
    session: Any = engine_opener(bundle, model, lambda: stop)(
        lambda text, share: reported.append((text, share))
    )
    path, options = session.path, session.options
    assert (path, options["engine"]) == (bundle, model.engine)
    return reported, requests, stops


def model(**options: Any) -> ModelSettings:
    return ModelSettings(bundle="model", **options)


def test_an_engine_is_opened_with_its_options(brightness_bundle: Path) -> None:
    reported: Reports = []
    settings = model(engine="onnxruntime")
    with engine_opener(brightness_bundle, settings)(
        lambda text, share: reported.append((text, share))
    ) as session:
        assert session.spec.name == "brightness"
    assert reported == [("opening brightness", None)]
    with pytest.raises(BundleError):
        engine_opener(brightness_bundle / "gone", settings)(lambda *_: None)


def test_a_missing_engine_is_built_with_progress(
    monkeypatch: pytest.MonkeyPatch, brightness_bundle: Path
) -> None:
    request = EngineRequest(precision="fp16", dla_core=1, rebuild=True)
    decision = Rebuild("it is for SM 8.6", "m", "tensorrt", request)
    reported, requests, stops = opened(
        monkeypatch, brightness_bundle, decision, model(engine="tensorrt", build=True), stop=True
    )
    assert reported == [
        ("building the engine", 0.0),
        ("building the engine: tactics", 0.5),
        ("opening brightness", None),
    ]
    assert requests == [request]
    assert stops == [True]


def test_a_fitting_engine_is_kept(monkeypatch: pytest.MonkeyPatch, brightness_bundle: Path) -> None:
    fits: Any = StoredEngine(Path("engine"), None)  # type: ignore[arg-type]  # not looked at
    _, requests, _ = opened(monkeypatch, brightness_bundle, fits, model(engine="tensorrt", build=True))
    assert requests == []


def test_without_rebuild_nothing_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, brightness_bundle: Path
) -> None:
    refuse = Refuse("no GPU", "see doctor")
    _, requests, _ = opened(monkeypatch, brightness_bundle, refuse, model(engine="tensorrt"))
    assert requests == []


def test_an_error_that_a_build_cannot_fix_is_raised(
    monkeypatch: pytest.MonkeyPatch, brightness_bundle: Path
) -> None:
    with pytest.raises(EngineError, match="no GPU; see doctor"):
        opened(
            monkeypatch,
            brightness_bundle,
            Refuse("no GPU", "see doctor"),
            model(engine="tensorrt", build=True),
        )
    with pytest.raises(UsageError, match="needs the engine tensorrt or tensorrt-rtx; received none"):
        opened(monkeypatch, brightness_bundle, None, model(build=True))
