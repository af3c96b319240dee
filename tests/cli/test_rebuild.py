"""`edgevision run --build` performs the build that the error message names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.builder import missing
from edgevision.bundle.folder import Bundle
from edgevision.cli import rebuild
from edgevision.cli.commands import build, run
from edgevision.contract.session import SessionOptions
from edgevision.engines.tensorrt.manifest import Rebuild, Refuse
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.errors import EngineError, UsageError


def called(
    monkeypatch: pytest.MonkeyPatch, decision: Any, bundle: Path
) -> tuple[list[tuple[Bundle, EngineRequest]], Any]:
    """What is built, and how the command ended."""
    built: list[tuple[Bundle, EngineRequest]] = []
    library = SimpleNamespace(name="TensorRT 10.3.0", dialect=SimpleNamespace(progress_monitor=True))

    def build(opened: Bundle, _: Any, request: EngineRequest, *__: Any) -> tuple[()]:
        built.append((opened, request))
        return ()

    monkeypatch.setattr(missing, "choose_engine", lambda *_: decision)
    monkeypatch.setattr(missing, "load_library", lambda *_: library)
    monkeypatch.setattr(missing, "running_here", lambda *_: None)
    monkeypatch.setattr("edgevision.builder.engines.build_engines", build)
    monkeypatch.setattr("edgevision.cli.commands.build.outcome_lines", lambda _: [])
    result = CliRunner().invoke(run.command, [str(bundle), "nowhere.mp4", "--build", "--engine", "tensorrt"])
    return built, result.exception


def test_the_requested_engine_is_built(brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = EngineRequest("fp16", dla_core=1, rebuild=True)
    decision = Rebuild("the engine is for SM 8.6", str(brightness_bundle), "tensorrt", request)
    built, _ = called(monkeypatch, decision, brightness_bundle)
    ((bundle, asked),) = built
    assert bundle.path == brightness_bundle
    assert asked == request


def test_an_error_that_a_build_cannot_fix_is_refused(
    brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, error = called(monkeypatch, Refuse("no GPU", "see doctor"), brightness_bundle)
    assert built == []
    assert isinstance(error, EngineError)
    assert str(error) == "no GPU; see doctor"


def test_an_engine_that_fits_is_kept(brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: Any = StoredEngine(Path("engine"), None)  # type: ignore[arg-type]  # not looked at
    built, _ = called(monkeypatch, fits, brightness_bundle)
    assert built == []


@pytest.mark.parametrize("engine", [None, "onnxruntime"])
def test_other_engines_are_not_built(brightness_bundle: Path, engine: str | None) -> None:
    with pytest.raises(UsageError, match=f"--build needs the engine tensorrt.*received {engine or 'none'}"):
        rebuild.rebuild_unfit(
            build.command.make_context("x", ["b"]), brightness_bundle, engine, SessionOptions()
        )
