"""From a bundle to stored engines, with the real TensorRT-RTX where needed and a simulated TensorRT for timing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.builder.builder import BuildCallbacks, BuildStopped
from edgevision.builder.engines import Outcome, build_engines
from edgevision.builder.proof import verify_engine
from edgevision.bundle.folder import Bundle, CheckRecord, Verification, write_bundle
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.manifest import Platform, Running
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine, open_engine, stored_engines
from edgevision.errors import BundleError, EngineError, GraphError, UsageError
from tests.builder.acted import LAYERS, ActedBuilder, build

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return load_library("tensorrt-rtx", "this test")


def watch(messages: list[str] | None = None) -> BuildCallbacks:
    return BuildCallbacks((messages if messages is not None else []).append, lambda _: None, lambda: False)


def build_rtx(bundle: Path, rtx: Library, request: EngineRequest) -> tuple[Outcome, ...]:
    return build_engines(Bundle.open(bundle), rtx, request, watch(), lambda b, e: verify_engine(b, e, None))


def test_engines_for_two_gpus(brightness: Path, rtx: Library) -> None:
    outcomes = build_rtx(brightness, rtx, EngineRequest(sms=(89, 120)))
    assert [outcome.engine.manifest.sm for outcome in outcomes] == [89, 120]
    for outcome in outcomes:
        made = open_engine(outcome.engine.folder).manifest
        assert made == outcome.engine.manifest
        assert made.graph == Bundle.open(brightness).graph("float").file
        assert [t.name for t in made.tensors] == ["frames", "boxes", "scores", "labels"]
        assert made.tensors[0].dtype == "uint8"
        assert made.timing_cache is None
        assert made.verification is None
    Bundle.open(brightness).check_files()
    names = sorted(path.name for path in (brightness / "engines").iterdir())
    assert names == sorted([".lock", *[outcome.engine.folder.name for outcome in outcomes]])


def test_what_is_there_is_not_built_again(brightness: Path, rtx: Library) -> None:
    request = EngineRequest(sms=(89,))
    (first,) = build_rtx(brightness, rtx, request)
    (again,) = build_rtx(brightness, rtx, request)
    assert (first.built, again.built) == (True, False)
    (deeper,) = build_rtx(brightness, rtx, EngineRequest(sms=(89,), level=1))
    assert deeper.engine.folder != first.engine.folder
    (rebuilt,) = build_rtx(brightness, rtx, EngineRequest(sms=(89,), rebuild=True))
    assert rebuilt.built
    assert rebuilt.engine.folder == first.engine.folder


def test_a_damaged_engine_is_built_again(brightness: Path, rtx: Library) -> None:
    (first,) = build_rtx(brightness, rtx, EngineRequest(sms=(89,)))
    first.engine.plan_path.write_bytes(b"damaged")
    (again,) = build_rtx(brightness, rtx, EngineRequest(sms=(89,)))
    assert again.built
    assert again.engine.plan()


def test_a_device_finds_its_engine(brightness: Path, rtx: Library) -> None:
    build_rtx(brightness, rtx, EngineRequest(sms=(89, 120)))
    machine = Platform(sys.platform, os.uname().machine, "RTX 4090", 89, "560", "12.6")
    chosen = choose_engine(Bundle.open(brightness), Running("tensorrt-rtx", rtx.version, machine))
    assert isinstance(chosen, StoredEngine)
    assert chosen.manifest.sm == 89
    other = choose_engine(Bundle.open(brightness), Running("tensorrt", "10.3.0", machine), "int8")
    assert str(other) == (
        f"{brightness} holds no tensorrt engine of precision int8;"
        f" rebuild: edgevision build {brightness} --engine tensorrt --precision int8"
    )


def test_targets_that_cannot_be(brightness: Path, rtx: Library) -> None:
    with pytest.raises(UsageError, match="CUDA found no GPU; name the compute capabilities to build for"):
        build_rtx(brightness, rtx, EngineRequest())
    with pytest.raises(
        UsageError, match=r"does not support SM 8.7 \(--sm 87\); it supports 75, 80, 86, 89, 120, 121"
    ):
        build_rtx(brightness, rtx, EngineRequest(sms=(87,)))
    with pytest.raises(EngineError, match="does not support a DLA"):
        build_rtx(brightness, rtx, EngineRequest(sms=(89,), dla_core=0))
    with pytest.raises(UsageError, match="times no kernels during a build; remove --timing-cache"):
        build_rtx(brightness, rtx, EngineRequest(sms=(89,), timing_cache=Path("x")))
    with pytest.raises(
        UsageError, match="builds only for the installed GPU, Orin of SM 8.7, not for --sm 89"
    ):
        build(brightness, ActedBuilder(), sms=(89,))
    with pytest.raises(UsageError, match="a DLA computes only in FP16 and INT8; received float"):
        build(brightness, ActedBuilder(), dla_core=0)
    with pytest.raises(BundleError, match="holds no int8 graph"):
        build_rtx(brightness, rtx, EngineRequest("int8", sms=(89,)))
    assert not (brightness / "engines").exists() or not stored_engines(brightness).engines


def test_a_dla_needs_its_ranges_and_a_core(brightness: Path) -> None:
    bundle = Bundle.open(brightness)
    bundle.add_graph("int8", bundle.graph_path("float").read_bytes())
    with pytest.raises(EngineError, match="Orin has 2 DLA cores; received --device dla:2"):
        build(brightness, ActedBuilder(), "int8", dla_core=2)
    with pytest.raises(
        BundleError, match=r"from .*/calibration.cache: .*quantize .* --write-calibration-cache"
    ):
        build(brightness, ActedBuilder(), "int8", dla_core=1)
    (brightness / "calibration.cache").write_text("TRT-8601-EntropyCalibration2\nframes: 3c010a14\n")
    (outcome,) = build(brightness, ActedBuilder(), "int8", dla_core=1)
    made = outcome.engine.manifest
    assert (
        made.dla == "DLA: 2 of 5 layers in 1 piece, the rest on the GPU; INT8 ranges from calibration.cache"
    )
    assert made.flags == ("FP16", "INT8", "GPU_FALLBACK", "OBEY_PRECISION_CONSTRAINTS")
    assert made.held_in_float32 == 3
    assert made.dla_core == 1


def test_new_ranges_make_a_new_engine(brightness: Path) -> None:
    bundle = Bundle.open(brightness)
    bundle.add_graph("int8", bundle.graph_path("float").read_bytes())
    names = []
    for scale in ("3c010a14", "3c010a15"):
        (brightness / "calibration.cache").write_text(f"TRT-8601-EntropyCalibration2\nframes: {scale}\n")
        (outcome,) = build(brightness, ActedBuilder(), "int8", dla_core=1)
        assert outcome.built
        names.append(outcome.engine.folder.name)
    assert names[0] != names[1]


def test_no_graph_is_left_for_a_dla(brightness: Path) -> None:
    bundle = Bundle.open(brightness)
    wrong = Verification(
        "verify", "onnxruntime", "x", 4, (CheckRecord("difference", 1.0, "<=", 0.1),), "2026"
    )
    bundle.add_graph("fp16", bundle.graph_path("float").read_bytes(), (wrong,))
    with pytest.raises(
        UsageError, match="holds no usable graph for a DLA, .*: build without --device, or quantize"
    ):
        build(brightness, ActedBuilder(), "auto", dla_core=0)


def test_a_dla_takes_no_batch_that_varies(brightness: Path) -> None:
    bundle = Bundle.open(brightness)
    graph = bundle.graph_path("float").read_bytes()
    frames = replace(bundle.spec.frames, batch=BatchRange(1, 2, 4))
    several = brightness.with_name("several")
    write_bundle(several, replace(bundle.spec, input=frames), graph, bundle.golden())
    Bundle.open(several).add_graph("fp16", graph)
    with pytest.raises(UsageError, match=r"a DLA needs a static batch; the graph has 1:2:4: .* --batch 2"):
        build(several, ActedBuilder(), "fp16", dla_core=0)


def test_a_graph_called_fp16_that_is_float_is_refused(brightness: Path, rtx: Library) -> None:
    bundle = Bundle.open(brightness)
    bundle.add_graph("fp16", bundle.graph_path("float").read_bytes())
    with pytest.raises(GraphError, match="is stored as fp16, but none of its 11 layers computes in it"):
        build_rtx(brightness, rtx, EngineRequest("fp16", sms=(89,)))


def test_timings_are_kept_from_build_to_build(brightness: Path, tmp_path: Path) -> None:
    first, second, third = ActedBuilder(), ActedBuilder(), ActedBuilder()
    build(brightness, first)
    build(brightness, second, rebuild=True)
    assert (len(first.timed), len(second.timed)) == (LAYERS, 0)
    (cache,) = (brightness / "engines").glob("timing-*.cache")
    assert cache.name == "timing-tensorrt-10.3.0-orin-16-multiprocessors-61-4-gib.cache"
    chosen = tmp_path / "mine.cache"
    (outcome,) = build(brightness, third, rebuild=True, timing_cache=chosen)
    assert len(third.timed) == LAYERS
    assert json.loads(chosen.read_bytes()) == list(range(LAYERS))
    use = outcome.engine.manifest.timing_cache
    assert use is not None
    assert (use.file, use.bytes_before) == ("mine.cache", 0)


def test_a_stopped_build_writes_no_engine_and_keeps_its_timings(brightness: Path) -> None:
    acted = ActedBuilder()
    with pytest.raises(BuildStopped):
        build(brightness, acted, stop=True)
    assert not stored_engines(brightness).engines
    (cache,) = (brightness / "engines").glob("timing-*.cache")
    assert json.loads(cache.read_bytes()) == [0]
    resumed = ActedBuilder()
    build(brightness, resumed)
    assert resumed.timed == list(range(1, LAYERS))


def test_what_killed_builds_left_is_swept_and_nothing_else(brightness: Path) -> None:
    root = brightness / "engines"
    for name in (
        ".tensorrt-10.3.0-sm87-float-00.partial-abc",
        ".tensorrt-rtx-1-sm89-int8-00.replaced-abc",
        "mine",
    ):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x")
    (root / ".timing-tensorrt.abc.partial.cache").write_text("x")
    (root / ".notes").write_text("mine")
    build(brightness, ActedBuilder())
    kept = {path.name for path in root.iterdir() if not path.name.startswith(("tensorrt", "timing"))}
    assert kept == {".lock", ".notes", "mine"}


def test_an_engine_that_fails_verification_is_not_kept(brightness: Path, rtx: Library) -> None:
    def refuse(_: Bundle, engine: StoredEngine) -> None:
        assert engine.plan()
        raise EngineError("wrong answers")

    with pytest.raises(EngineError, match="wrong answers"):
        build_engines(Bundle.open(brightness), rtx, EngineRequest(sms=(89,)), watch(), refuse)  # type: ignore[arg-type]  # never returns
    assert [path.name for path in (brightness / "engines").iterdir()] == [".lock"]


def test_two_processes_do_not_collide(brightness: Path) -> None:
    words = [sys.executable, "-m", "tests.builder.acted", str(brightness)]
    both = [
        subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    timed = sorted(int(output.split("timed ")[1].split()[0]) for output, _ in outputs)
    assert timed == [0, LAYERS], "the second one waited, and found what the first had learned"
    (engine,) = stored_engines(brightness).engines
    assert engine.plan()


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(brightness: Path) -> None:
    (brightness / "engines").write_text("in the way")
    with pytest.raises(BundleError, match=r"cannot write .*/engines: File exists; give it to this user"):
        build(brightness, ActedBuilder())
    assert (brightness / "engines").read_text() == "in the way"


def test_a_bundle_of_another_user(brightness: Path) -> None:
    """In a process of its own, which gives up root's rights where it has them."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "b"
        shutil.copytree(brightness, bundle)
        for path in (Path(folder), bundle):
            path.chmod(0o555)
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom tests.builder.acted import ActedBuilder, build\n"
            "if os.geteuid() == 0: os.seteuid(65534)\n"
            f"build(Path({str(bundle)!r}), ActedBuilder())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("edgevision.errors.BundleError: cannot write ")
        assert f"{bundle}/engines: Permission denied; give it to this user (chown -R $USER {bundle})" in last
        assert not (bundle / "engines").exists()
        for path in (Path(folder), bundle):
            path.chmod(0o755)
