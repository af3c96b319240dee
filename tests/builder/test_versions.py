"""The version table against the signatures of real bindings, and the builder's calls of each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgevision.builder.builder import BuildCallbacks, BuildJob, BuildStopped, BuiltPlan, build_plan
from edgevision.contract.spec import BatchRange, Precision
from edgevision.device.gpu import GpuFacts
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.versions import DIALECTS, Dialect, Flavour, dialect, supports_sm, table_lines
from edgevision.errors import EngineError
from tests.builder.recorded import VERSIONS, RecordedModule, Script, recorded_classes, working
from tests.doubles import detector
from tests.hardware import AGX_ORIN, recorded_card

REPOSITORY = Path(__file__).resolve().parents[2]
ORIN = AGX_ORIN
ADA = recorded_card("l4", free_mib=22000)


def flavour_of(version: str) -> Flavour:
    return "tensorrt-rtx" if version.startswith("rtx") else "tensorrt"


def row_of(version: str) -> Dialect:
    return dialect(flavour_of(version), version.split("-", 1)[1])


def members(version: str, cls: str) -> set[str]:
    return set(recorded_classes(version).get(cls, {}))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_every_row_has_real_bindings() -> None:
    """NVIDIA publishes no wheel of 11.4.1, which comes with JetPack: its flags are those of 11.4.0."""
    assert {row_of(version) for version in VERSIONS} == {row for row in DIALECTS if row.since != (11, 4, 1)}
    newest = dialect("tensorrt", "11.4.1")
    assert set(newest.dla_parser_flags) <= members("tensorrt-11.4.0.106", "OnnxParserFlag")


def test_flags_of_the_table_exist(version: str) -> None:
    row = row_of(version)
    assert {*row.network_flags, *row.dla_network_flags} <= members(version, "NetworkDefinitionCreationFlag")
    for entry in row.precisions:
        assert set(entry.flags) <= members(version, "BuilderFlag")
    assert set(row.dla_precision_flags) <= members(version, "BuilderFlag")
    assert set(row.constraint_flags) <= members(version, "BuilderFlag")
    assert set(row.dla_parser_flags) <= members(version, "OnnxParserFlag")
    assert not row.dla_calibrator or "get_batch" in members(version, row.dla_calibrator)
    assert set(row.capture_flags) <= members(version, "BuilderFlag")
    assert set(row.heavy_tactics) <= members(version, "TacticSource")


def test_what_a_version_can_is_what_its_bindings_have(version: str) -> None:
    row = row_of(version)
    assert row.progress_monitor == ("progress_monitor" in members(version, "IBuilderConfig"))
    assert row.parser_names_nodes == ("node_name" in members(version, "ParserError"))
    assert row.strongly_typed == ("STRONGLY_TYPED" in members(version, "NetworkDefinitionCreationFlag"))
    compute = {
        int(name[2:]) for name in members(version, "ComputeCapability") if re.fullmatch(r"SM\d+", name)
    }
    assert set(row.targets) == compute
    # Where weak typing is gone no flag may be asked for; where strong typing is not there yet they must be.
    has_flags = {"FP16", "INT8"} <= members(version, "BuilderFlag")
    assert has_flags or not any(entry.flags for entry in row.precisions)
    assert row.strongly_typed or {"FP16", "INT8"} <= {f for entry in row.precisions for f in entry.flags}
    # From 11 on, EXPLICIT_BATCH and the flags of precision are not there at all.
    explicit_batch = "EXPLICIT_BATCH" in members(version, "NetworkDefinitionCreationFlag")
    assert explicit_batch or row.network_flags == ()
    assert explicit_batch == has_flags


def test_recordings_match_the_library() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    from tests.builder.record_bindings import signatures

    recorded, here = recorded_classes(f"rtx-{trt.__version__}"), signatures(trt)
    # The package adds a member or two in Python to what its bindings have.
    assert {cls: {name: here[cls].get(name) for name in recorded[cls]} for cls in recorded} == recorded


def built(
    version: str, precision: Precision, gpu: GpuFacts | None, *, row: Dialect | None = None, **job: Any
) -> tuple[BuiltPlan, Script, list[str]]:
    """Build with a TensorRT made of that version's signatures; what it was called with is in the script."""
    script, messages = working(version), list[str]()
    module = RecordedModule(version, script)
    library = Library(flavour_of(version), version.split("-", 1)[1], row or row_of(version), module)
    spec = detector(BatchRange(1, 2, 4))
    asked = BuildJob(REPOSITORY / "README.md", spec, precision, gpu.sm if gpu else 89, **job)
    watch = BuildCallbacks(messages.append, lambda _: None, lambda: False)
    return build_plan(library, asked, gpu, watch), script, messages


def flags_set(script: Script) -> list[str]:
    return [arguments[0].name for arguments in script.made("IBuilderConfig", "set_flag")]


def network_flags(script: Script) -> int:
    (arguments,) = script.made("Builder", "create_network")
    return int(arguments[0])


# What NVIDIA's documentation says of each version, written down without looking at our table. Network flags are bits:
# EXPLICIT_BATCH is 1 << 0, STRONGLY_TYPED 1 << 1.
# docs.nvidia.com/deeplearning/tensorrt:
#   11.0.0/getting-started/release-notes-11/11.0.0.html   strongly typed by default, the flag is deprecated and ignored
#   11.0.0/api/migration/tensorrt-10x-to-11x-c-api.html   flags of precision are removed
#   11.4.1/inference-library/dla-strongly-typed-networks.html   how a DLA is asked for
# docs.nvidia.com/deeplearning/tensorrt-rtx/latest/getting-started/release-notes-1/1.2.html   what stream capture needs
# The warning of tensorrt_rtx 1.7 itself: timing caches do nothing since 1.2.
OBEY = "OBEY_PRECISION_CONSTRAINTS"
DOCUMENTED: dict[str, tuple[int, dict[str, list[str]], bool, bool]] = {
    "tensorrt-8.6.1": (1, {"float": [], "fp16": ["FP16", OBEY], "int8": ["FP16", "INT8", OBEY]}, True, False),
    "tensorrt-10.3.0": (2, {"float": [], "fp16": [], "int8": []}, True, True),
    "tensorrt-10.13.3.9": (2, {"float": [], "fp16": [], "int8": []}, True, True),
    "tensorrt-11.4.0.106": (0, {"float": [], "fp16": [], "int8": []}, True, True),
    "rtx-1.7.1.116": (0, {p: ["REQUIRE_USER_ALLOCATION"] for p in ("float", "fp16", "int8")}, False, True),
}


@pytest.mark.parametrize("precision", ["float", "fp16", "int8"])
@pytest.mark.parametrize("version", DOCUMENTED)
def test_the_builder_makes_the_calls_that_the_version_has(version: str, precision: Precision) -> None:
    network, flags, timing_cache, monitor = DOCUMENTED[version]
    gpu = None if version.startswith("rtx") else ADA
    plan, script, _ = built(version, precision, gpu, timing_cache=b"learned", workspace_mib=256, level=5)
    assert plan.plan == b"plan"
    assert network_flags(script) == network
    assert flags_set(script) == flags[precision]
    assert [a[0].name for a in script.made("IBuilderConfig", "clear_flag")] == ["TF32"]
    assert script.made("IBuilderConfig", "builder_optimization_level") == [(5,)]
    pools = {pool.name: size >> 20 for pool, size in script.made("IBuilderConfig", "set_memory_pool_limit")}
    # 22000 MiB of the card are free, and the library takes 875 of them at this level. TensorRT-RTX times nothing.
    assert pools == ({"WORKSPACE": 256, "TACTIC_DRAM": 21125} if gpu else {"WORKSPACE": 256})
    assert script.made("IBuilderConfig", "set_tactic_sources") == [], "a card has memory of its own"
    ((name, *shapes),) = script.made("IOptimizationProfile", "set_shape")
    assert (name, shapes) == ("frames", [(n, 64, 64, 3) for n in (1, 2, 4)])
    assert bool(script.made("IBuilderConfig", "progress_monitor")) == monitor
    assert script.made("IBuilderConfig", "create_timing_cache") == ([(b"learned",)] if timing_cache else [])
    assert plan.timing_cache == (b"cache" if timing_cache else b"")


def test_rtx_receives_its_target() -> None:
    _, script, _ = built("rtx-1.7.1.116", "int8", None)
    assert script.made("IBuilderConfig", "num_compute_capabilities") == [(1,)]
    ((target, index),) = script.made("IBuilderConfig", "set_compute_capability")
    assert (target.name, index) == ("SM89", 0)


@pytest.mark.parametrize(
    ("version", "network", "flags", "parser"),
    [
        ("tensorrt-8.6.1", 1, ["FP16", "INT8", "GPU_FALLBACK", OBEY], []),
        ("tensorrt-10.3.0", 0, ["FP16", "INT8", "GPU_FALLBACK", OBEY], []),
        ("tensorrt-11.4.0.106", 0, ["GPU_FALLBACK"], ["ADJUST_FOR_DLA"]),
    ],
)
def test_a_dla(version: str, network: int, flags: list[str], parser: list[str]) -> None:
    # The DLA of 11 begins with 11.4.1, whose bindings are those of 11.4.0.
    row = dialect("tensorrt", "11.4.1") if version == "tensorrt-11.4.0.106" else None
    _, script, messages = built(version, "int8", ORIN, row=row, dla_core=1)
    assert network_flags(script) == network
    assert flags_set(script) == flags
    assert [a[0].name for a in script.made("OnnxParser", "set_flag")] == parser
    assert [a[0].name for a in script.made("IBuilderConfig", "default_device_type")] == ["DLA"]
    assert script.made("IBuilderConfig", "DLA_core") == [(1,)]
    assert "DLA: 2 of 5 layers in 1 piece, the rest on the GPU" in messages
    on_gpu = [layer.name for layer, device in script.made("IBuilderConfig", "set_device_type")]
    assert on_gpu == ["pre/Cast_1", "post/Mul_1", "(Unnamed Layer* 4) [Shuffle]"]


def test_a_dla_in_fp16_asks_for_no_int8() -> None:
    _, script, _ = built("tensorrt-10.3.0", "fp16", ORIN, dla_core=0)
    assert flags_set(script) == ["FP16", "GPU_FALLBACK", OBEY]


@pytest.mark.parametrize("version", ["tensorrt-8.6.1", "tensorrt-10.3.0"])
def test_a_dla_receives_its_ranges_from_a_calibrator(version: str) -> None:
    ranges = b"TRT-8601-EntropyCalibration2\nframes: 3c010a14\n"
    _, script, _ = built(version, "int8", ORIN, dla_core=0, calibration=ranges)
    ((calibrator,),) = script.made("IBuilderConfig", "int8_calibrator")
    assert calibrator.read_calibration_cache() == ranges
    assert calibrator.get_batch(["frames"]) is None
    wanted = {"get_batch", "get_batch_size", "read_calibration_cache", "write_calibration_cache"}
    assert wanted <= members(version, "IInt8EntropyCalibrator2")


def test_a_gpu_without_fast_fp16_is_refused_where_types_do_not_decide() -> None:
    version = "tensorrt-8.6.1"
    script = working(version)
    script.answers["Builder", "platform_has_fast_fp16"] = False
    library = Library("tensorrt", "8.6.1", row_of(version), RecordedModule(version, script))
    job = BuildJob(REPOSITORY / "README.md", detector(), "fp16", 61)
    with pytest.raises(EngineError, match="this GPU \\(SM 6.1\\) has no fast FP16; use --precision float"):
        build_plan(library, job, ADA, BuildCallbacks(print, lambda _: None, lambda: False))


@pytest.mark.parametrize("version", ["tensorrt-8.6.1", "tensorrt-10.3.0"])
def test_a_timing_cache_of_another_gpu_is_left_out_or_refused(version: str) -> None:
    def job(file: Path | None) -> BuildJob:
        return BuildJob(
            REPOSITORY / "README.md", detector(), "float", 89, timing_cache=b"theirs", timing_cache_file=file
        )

    script = working(version)
    script.answers["IBuilderConfig", "set_timing_cache"] = False
    library = Library("tensorrt", version.split("-")[1], row_of(version), RecordedModule(version, script))
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    build_plan(library, job(None), ADA, watch)
    assert script.made("IBuilderConfig", "create_timing_cache") == [(b"theirs",), (b"",)]
    with pytest.raises(EngineError, match="mine.cache is not a timing cache of TensorRT .* for this GPU"):
        build_plan(library, job(Path("mine.cache")), ADA, watch)


def test_a_stopped_build_gives_back_what_it_learned() -> None:
    version = "tensorrt-10.13.3.9"
    script = working(version)
    script.answers["Builder", "build_serialized_network"] = lambda *_: None
    library = Library("tensorrt", "10.13.3.9", row_of(version), RecordedModule(version, script))
    job = BuildJob(REPOSITORY / "README.md", detector(), "float", 89)
    with pytest.raises(BuildStopped) as stopped:
        build_plan(library, job, ADA, BuildCallbacks(print, lambda _: None, lambda: True))
    assert stopped.value.timing_cache == b"cache"


def test_a_member_that_a_version_lacks_is_not_there() -> None:
    """The recorded stand-in refuses what the real bindings would: else the tests above could not fail."""
    module: Any = RecordedModule("tensorrt-8.6.1", Script())
    config = module.Builder(module.ILogger()).create_builder_config()
    with pytest.raises(AttributeError, match="progress_monitor"):
        config.progress_monitor = None
    with pytest.raises(AttributeError, match="STRONGLY_TYPED"):
        _ = module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    with pytest.raises(TypeError, match="set_flag: incompatible arguments"):
        config.set_flag(module.MemoryPoolType.WORKSPACE)
    with pytest.raises(TypeError, match="set_memory_pool_limit: incompatible arguments"):
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE)
    with pytest.raises(TypeError, match="builder_optimization_level"):
        config.builder_optimization_level = "3"


@pytest.mark.slow
def test_the_type_checker_finds_tensorrt(tmp_path: Path) -> None:
    """`mypy` is silent about our calls because they are right, not because it knows nothing of the library."""
    stubs = REPOSITORY / ".venv" / "stubs"
    if not stubs.is_dir():
        pytest.skip(f"tensorrt-stubs are not at {stubs}; make env puts them there")
    program = tmp_path / "wrong.py"
    program.write_text(
        "import tensorrt as trt\n"
        "def build(builder: trt.Builder, config: trt.IBuilderConfig) -> None:\n"
        "    config.set_memory_pool_limit(1, 2)\n"
        "    builder.create_netwerk(0)\n"
    )
    settings = ["--config-file", str(REPOSITORY / "pyproject.toml"), str(program)]
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *settings]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert 'incompatible type "int"; expected "MemoryPoolType"' in done.stdout
    assert '"Builder" has no attribute "create_netwerk"' in done.stdout


def test_versions_outside_the_table() -> None:
    with pytest.raises(
        EngineError, match="TensorRT 8.5.2 is not supported; the oldest that is: TensorRT 8.6"
    ):
        dialect("tensorrt", "8.5.2")
    assert dialect("tensorrt", "10.9.0.34").label == "TensorRT 10.8 to 10.16"
    assert dialect("tensorrt", "12.0").label == "TensorRT 11.4.1"
    assert dialect("tensorrt", "11.4.1.2+cuda13").label == "TensorRT 11.4.1"
    assert dialect("tensorrt", "11.4.0.106").label == "TensorRT 11.0 to 11.4.0"
    assert supports_sm("tensorrt", "10.4.0", 70)
    assert not supports_sm("tensorrt", "10.5.0", 70)
    assert not supports_sm("tensorrt", "8.6.1", 101)
    assert supports_sm("tensorrt", "10.13.3.9", 110)
    assert not supports_sm("tensorrt-rtx", "1.7.1.116", 87)


def test_the_documentation_shows_this_table() -> None:
    text = (REPOSITORY / "docs" / "tensorrt.md").read_text()
    assert "\n".join(table_lines()) in text
