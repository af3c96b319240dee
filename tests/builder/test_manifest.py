"""Manifests, and the documented table: can this machine run that engine?"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.bundle.folder import FileEntry
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.manifest import (
    EngineManifest,
    Platform,
    Rebuild,
    Refuse,
    Run,
    Running,
    decide,
    read_manifest,
)
from edgevision.engines.tensorrt.versions import Flavour
from edgevision.errors import BundleError
from tests.hardware import recorded

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "tensorrt.md"
GPUS = {
    "Orin Nano": (87, 0),
    "Orin NX": (87, 1),
    "AGX Orin": (87, 2),
    "Thor": (110, 0),
    "L4": (89, 0),
    "RTX 4090": (89, 0),
    "RTX 3090": (86, 0),
    "RTX 5090": (120, 0),
    "T4": (75, 0),
    "P4": (61, 0),
}
"""Compute capability and cores of DLA, from NVIDIA's own lists."""
JETSONS = {
    "Orin Nano": "orin-nano-super-jetpack-6.2.1",
    "Orin NX": "orin-nx-jetpack-6.2",
    "AGX Orin": "agx-orin-jetpack-7.2",
    "Thor": "agx-thor-jetpack-7.0",
}
"""Boards whose facts are recorded: CUDA calls three of them "Orin"."""
ANSWERS = {"run": Run, "rebuild": Rebuild, "refuse": Refuse}
Row = tuple[str, ...]


def rows() -> list[Row]:
    lines = re.findall(
        r"^\| ((?:TensorRT|RTX) [\d.]+ \|.*) \|$", DOCUMENTATION.read_text(), flags=re.MULTILINE
    )
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines]


def library(text: str) -> tuple[Flavour, str]:
    name, version = text.split()
    return ("tensorrt" if name == "TensorRT" else "tensorrt-rtx"), version


def machine(text: str) -> Platform:
    """A cell of the documentation: a GPU, and what is unusual."""
    gpu, *rest = (part.strip() for part in text.split(","))
    usual = {"cuda": "12.6", "driver": "560", "arch": "aarch64" if gpu in JETSONS else "x86_64"}
    system = "win32" if "win32" in rest else "linux"
    for part in rest:
        key, _, value = part.partition(" ")
        usual.update({"CUDA": {"cuda": value}, "driver": {"driver": value}}.get(key, {}))
        usual.update({"arch": part} if part == "aarch64" else {})
    if gpu == "no GPU":
        return Platform(system, usual["arch"])
    sm, cores = GPUS[gpu]
    for part in rest:
        counted = re.fullmatch(r"(\d) DLA cores?", part)
        cores = int(counted[1]) if counted else cores
    here = Platform(system, usual["arch"], gpu, sm, usual["driver"], usual["cuda"], cores)
    if gpu not in JETSONS:
        return here
    board = recorded(JETSONS[gpu])
    facts = board.gpu
    assert facts is not None
    assert facts.sm == sm
    return replace(
        here,
        device=facts.name,
        board=board.device.board,
        multiprocessors=facts.multiprocessors,
        memory_mib=facts.memory_mib,
    )


def manifest_of(built_by: str, built_on: str) -> EngineManifest:
    flavour, version = library(built_by)
    platform = machine(built_on)
    target = re.search(r"for SM (\d+)\.(\d)", built_on)
    core = re.search(r"\bDLA (\d)", built_on)
    sm = int(target[1] + target[2]) if target else platform.sm
    assert sm is not None
    return EngineManifest(
        "0.1.0",
        flavour,
        version,
        sm,
        platform,
        FileEntry("model.int8.onnx", "aa", 1),
        "int8",
        BatchRange(),
        FileEntry("model.plan", "bb", 1),
        (),
        dla_core=int(core[1]) if core else None,
    )


def test_the_table_has_forty_rows() -> None:
    assert len(rows()) >= 40
    assert len(set(rows())) == len(rows())
    assert {row[5] for row in rows()} == set(ANSWERS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: ", ".join(row[:5]))
def test_the_result_is_as_documented(row: Row) -> None:
    manifest = manifest_of(row[0], row[1])
    flavour, version = library(row[2])
    running = Running(flavour, version, machine(row[3]))
    graph = {"same": "aa", "changed": "cc", "none": None}[row[4]]
    decision = decide(manifest, running, bundle="mymodel", graph_sha256=graph)
    assert type(decision) is ANSWERS[row[5]]
    if isinstance(decision, Rebuild):
        core = manifest.dla_core
        dla = "" if core is None or core >= running.platform.dla_cores else f" --device dla:{core}"
        assert (
            decision.command == f"edgevision build mymodel --engine {flavour} --precision int8{dla} --rebuild"
        )
        assert str(decision) == f"{decision.reason}; rebuild: {decision.command}"
    if isinstance(decision, Refuse):
        assert decision.remedy
    if isinstance(decision, (Rebuild, Refuse)) and manifest.version != version:
        assert manifest.version in decision.reason
        assert version in decision.reason


def test_the_message_names_both_sides_and_the_command() -> None:
    manifest = manifest_of("TensorRT 10.3.0", "Orin Nano")
    running = Running("tensorrt", "10.13.0", machine("L4"))
    assert str(decide(manifest, running, bundle="yolov5n", graph_sha256="aa")) == (
        "the engine was built by TensorRT 10.3.0 for SM 8.7; this device has TensorRT 10.13.0 and SM 8.9;"
        " rebuild: edgevision build yolov5n --engine tensorrt --precision int8 --rebuild"
    )


@pytest.mark.parametrize(
    ("version", "flags", "answer"),
    [
        ("8.6.1", ("EXPLICIT_BATCH", "FP16"), Rebuild),
        ("8.6.1", ("EXPLICIT_BATCH", "FP16", "OBEY_PRECISION_CONSTRAINTS"), Run),
        ("8.6.1", ("EXPLICIT_BATCH",), Run),
        ("10.3.0", ("STRONGLY_TYPED",), Run),
        ("10.3.0", ("FP16", "INT8", "GPU_FALLBACK"), Rebuild),
    ],
)
def test_engines_that_may_suppress_in_fp16_are_built_again(
    version: str, flags: tuple[str, ...], answer: type
) -> None:
    """They were built before those layers were held, and their golden frames need not show it."""
    manifest = replace(manifest_of(f"TensorRT {version}", "AGX Orin"), flags=flags)
    decision = decide(manifest, Running("tensorrt", version, machine("AGX Orin")), graph_sha256="aa")
    assert isinstance(decision, answer)


@pytest.mark.parametrize(("version", "gpu"), [("8.6.1", "L4"), ("10.3.0", "RTX 3090")])
def test_fp8_that_cannot_be_built_is_no_rebuild(version: str, gpu: str) -> None:
    manifest = replace(manifest_of("TensorRT 10.13.3", "L4"), precision="fp8")
    decision = decide(manifest, Running("tensorrt", version, machine(gpu)), graph_sha256="aa")
    assert isinstance(decision, Refuse)
    assert "builds no fp8 engine" in decision.reason


def test_another_driver_is_reported() -> None:
    manifest = manifest_of("TensorRT 10.13.3", "L4, driver 570")
    decision = decide(manifest, Running("tensorrt", "10.13.3", machine("L4")), graph_sha256="aa")
    assert decision == Run("built with driver 570, runs with 560: the kernel selection may not be optimal")


def test_a_manifest_returns_from_its_file(tmp_path: Path) -> None:
    manifest = manifest_of("TensorRT 10.3.0", "AGX Orin, DLA 1")
    file = tmp_path / "engine.json"
    file.write_bytes(manifest.to_json())
    assert read_manifest(file) == manifest


def test_a_manifest_from_the_future_names_its_writer(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    newer = dataclasses.replace(manifest_of("TensorRT 10.3.0", "L4"), schema=2, edgevision="9.0")
    file.write_bytes(newer.to_json())
    with pytest.raises(
        BundleError, match="schema 2, written by edgevision 9.0; this version supports schemas up to 1"
    ):
        read_manifest(file)
