"""SIGKILL at random moments of a build: no half-written engine, and the next build succeeds with the stored timings."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevision.engines.tensorrt.store import stored_engines
from tests.builder.acted import LAYERS
from tests.builder.recorded import recorded_classes

KILLS = 30
REPOSITORY = Path(__file__).resolve().parents[2]


def started(*words: object) -> subprocess.Popen[str]:
    """A process that has reported the start of its build."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("memory:", "began")):
            return process
    raise AssertionError(f"{words} ended before it built")


def finished(*words: object) -> tuple[float, str]:
    """Seconds from the beginning of an undisturbed build to its end, and what it said."""
    process = started(*words)
    began = time.perf_counter()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return time.perf_counter() - began, output


def check_shelf(bundle: Path) -> None:
    """Whatever has a name is whole."""
    found = stored_engines(bundle)
    assert not found.problems
    for engine in found.engines:
        assert len(engine.plan()) == engine.manifest.plan.size_bytes


def kill_often(bundle: Path, *words: object) -> None:
    """Kill this many builds, each at a random moment of the time that one takes."""
    longest, _ = finished(*words)
    moments, kills = random.Random(0), 0
    while kills < KILLS:
        process = started(*words)
        time.sleep(moments.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
        else:
            longest *= 0.8  # the build was done before
        check_shelf(bundle)


def leftovers(bundle: Path) -> list[str]:
    return sorted(path.name for path in (bundle / "engines").iterdir() if ".partial" in path.name)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_thirty_kills_of_a_real_builder(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.models.recipe import load_recipe

    bundle = tmp_path / "b"
    export_bundle(load_recipe("resnet"), ExportOptions(random_weights=True), bundle, lambda _: None)
    words = ("edgevision", "build", bundle, "--engine", "tensorrt-rtx", "--sm", "86,89", "--rebuild")
    kill_often(bundle, *words)
    finished(*words)
    assert len(stored_engines(bundle).engines) == 2
    check_shelf(bundle)
    assert not leftovers(bundle)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_keep_the_timing_cache(brightness: Path) -> None:
    """TensorRT-RTX times nothing, so this builder is acted, by the signatures of TensorRT 10.3."""
    assert "set_timing_cache" in recorded_classes("tensorrt-10.3.0")["IBuilderConfig"]
    words = ("tests.builder.acted", brightness)
    kill_often(brightness, *words)
    _, output = finished(*words)
    assert f"timed 0 of {LAYERS} layers" in output
    (engine,) = stored_engines(brightness).engines
    use = engine.manifest.timing_cache
    assert use is not None
    assert use.bytes_before == use.bytes_after > 0
    assert not leftovers(brightness)
