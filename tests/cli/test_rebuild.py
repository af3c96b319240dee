"""`edgevision run --rebuild`: what the refusal names is what is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.build import library as library_module
from edgevision.build.manifest import Rebuild, Refuse
from edgevision.build.store import StoredEngine
from edgevision.cli import build, rebuild, run
from edgevision.errors import EngineError, UsageError


def called(monkeypatch: pytest.MonkeyPatch, decision: Any, bundle: Path) -> tuple[list[dict[str, Any]], Any]:
    """What the build is asked for, and how the command ended."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("edgevision.build.store.choose_engine", lambda *_: decision)
    monkeypatch.setattr(library_module, "load_library", lambda *_: None)
    monkeypatch.setattr(library_module, "running_here", lambda _: None)
    monkeypatch.setattr(build.command, "callback", lambda **given: asked.append(given))
    result = CliRunner().invoke(
        run.command, [str(bundle), "nowhere.mp4", "--rebuild", "--engine", "tensorrt"]
    )
    return asked, result.exception


def test_the_named_command_is_run(brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"edgevision build {brightness_bundle} --engine tensorrt --graph fp16 --dla 1 --rebuild"
    asked, _ = called(monkeypatch, Rebuild("the engine is for SM 8.6", command), brightness_bundle)
    (given,) = asked
    assert given["bundle"] == brightness_bundle
    assert (given["engine"], given["graph"], given["dla"]) == ("tensorrt", "fp16", 1)
    assert given["rebuild"] is True


def test_what_building_cannot_mend_is_refused(
    brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, error = called(monkeypatch, Refuse("no GPU", "see doctor"), brightness_bundle)
    assert asked == []
    assert isinstance(error, EngineError)
    assert str(error) == "no GPU; see doctor"


def test_an_engine_that_fits_is_kept(brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: Any = StoredEngine(Path("engine"), None)  # type: ignore[arg-type]  # not looked at
    asked, _ = called(monkeypatch, fits, brightness_bundle)
    assert asked == []


@pytest.mark.parametrize("engine", [None, "onnxruntime"])
def test_other_engines_are_not_built(brightness_bundle: Path, engine: str | None) -> None:
    with pytest.raises(UsageError, match=f"--rebuild needs --engine tensorrt.*received {engine or 'none'}"):
        rebuild.rebuild_unfit(build.command.make_context("x", ["b"]), brightness_bundle, engine)
