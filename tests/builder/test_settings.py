"""Settings of a builder, end to end from a bundle to an engine's manifest, on simulated boards and cards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from edgevision.builder.activations import Activations, activations
from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.bundle.folder import Bundle
from edgevision.device.gpu import GpuFacts
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.manifest import EngineManifest
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import open_engine
from edgevision.engines.tensorrt.versions import Flavour, dialect
from edgevision.errors import EngineError
from tests.builder.recorded import Member, RecordedModule, Script, working
from tests.hardware import L4, recorded_gpu

ORIN = recorded_gpu("orin-nano-jetpack-6.0", free_mib=300)
CARD = L4
ALL_SOURCES = 0b11111
"""CUBLAS, CUBLAS_LT, CUDNN, EDGE_MASK_CONVOLUTIONS and JIT_CONVOLUTIONS, as 8.6 has them by default."""


class Workshop:
    """One bundle, one recorded TensorRT, one GPU."""

    def __init__(self, bundle: Path, version: str, gpu: GpuFacts) -> None:
        self.bundle, self.gpu = bundle, gpu
        self.script: Script = working(version)
        self.script.answers["IBuilderConfig", "get_tactic_sources"] = self._sources
        flavour: Flavour = "tensorrt-rtx" if version.startswith("rtx") else "tensorrt"
        number = version.split("-", 1)[1]
        module = RecordedModule(version, self.script)
        self.library = Library(flavour, number, dialect(flavour, number), module)
        self.messages: list[str] = []

    def _sources(self, _: Any) -> int:
        set_before = self.script.made("IBuilderConfig", "set_tactic_sources")
        return int(set_before[-1][0]) if set_before else ALL_SOURCES

    def build(self, **request: Any) -> EngineManifest:
        watch = BuildCallbacks(self.messages.append, lambda _: None, lambda: False)
        wanted = EngineRequest("float", **request)
        with mock.patch("edgevision.builder.engines.gpu_facts", return_value=self.gpu):
            (outcome,) = build_engines(
                Bundle.open(self.bundle), self.library, wanted, watch, lambda _, engine: engine.manifest
            )
        return open_engine(outcome.engine.folder).manifest

    def fails(self, times: int) -> None:
        """Let the first builds fail."""
        answers: list[bytes | None] = [None] * times + [b"plan"] * 3
        self.script.answers["Builder", "build_serialized_network"] = lambda *_: answers.pop(0)


def test_8_6_leaves_heavy_libraries_out_on_a_board(brightness: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-8.6.1", ORIN)
    made = workshop.build(memory_mib=4000)
    assert workshop.script.made("IBuilderConfig", "set_tactic_sources") == [(0b11000,)]
    assert made.flags[-3:] == ("without CUBLAS", "without CUBLAS_LT", "without CUDNN")


@pytest.mark.parametrize(("version", "gpu"), [("tensorrt-8.6.1", CARD), ("tensorrt-10.3.0", ORIN)])
def test_a_card_and_later_versions_are_left_as_they_are(
    brightness: Path, version: str, gpu: GpuFacts
) -> None:
    workshop = Workshop(brightness, version, gpu)
    workshop.build(memory_mib=4000)
    assert workshop.script.made("IBuilderConfig", "set_tactic_sources") == []


def test_a_network_that_needs_them_gets_them(brightness: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-8.6.1", ORIN)
    workshop.fails(1)
    made = workshop.build(memory_mib=4000)
    assert workshop.script.made("IBuilderConfig", "set_tactic_sources")[-1] == (ALL_SOURCES,)
    assert "without CUDNN" not in made.flags
    assert workshop.messages[-1] == (
        "the build failed with these settings: without CUBLAS, without CUBLAS_LT, without CUDNN; building again"
        " without them"
    )
    workshop.fails(2)
    with pytest.raises(EngineError, match="cannot build"):
        workshop.build(memory_mib=4000, rebuild=True)


def test_the_builder_is_bounded_by_what_is_free(brightness: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVISION_BUILD_MEMORY_MIB", "3000")
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    workshop.build()
    pools = {
        p.name: size >> 20 for p, size in workshop.script.made("IBuilderConfig", "set_memory_pool_limit")
    }
    assert pools == {"WORKSPACE": 1840, "TACTIC_DRAM": 2300}
    assert any(line.startswith("memory: the build fits: needs about 764 MiB") for line in workshop.messages)


def test_a_specified_memory_does_not_change_the_plan(brightness: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    workshop.build(memory_mib=4000)
    workshop.build(memory_mib=5000)
    assert len(workshop.script.made("Builder", "build_serialized_network")) == 1


def test_rtx_asks_for_what_stream_capture_needs(brightness: Path) -> None:
    workshop = Workshop(brightness, "rtx-1.7.1.116", CARD)
    assert "REQUIRE_USER_ALLOCATION" in workshop.build().flags
    workshop.fails(1)
    made = workshop.build(rebuild=True)
    assert "REQUIRE_USER_ALLOCATION" not in made.flags
    cleared = [arguments[0].name for arguments in workshop.script.made("IBuilderConfig", "clear_flag")]
    assert cleared.count("REQUIRE_USER_ALLOCATION") == 1
    assert workshop.messages[-1].startswith("the build failed with these settings: REQUIRE_USER_ALLOCATION")


def test_the_real_rtx_builds_with_it(brightness: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    library = load_library("tensorrt-rtx", "this test")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    (outcome,) = build_engines(
        Bundle.open(brightness), library, EngineRequest(sms=(89,)), watch, lambda _, engine: engine.manifest
    )
    assert outcome.engine.manifest.flags == ("REQUIRE_USER_ALLOCATION",)


def tensor(name: str, mib: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, shape=(-1, mib, 1024, 256), dtype=Member("DataType", "FLOAT", 0))


def layer(inputs: list[Any], outputs: list[Any], kind: str = "CONVOLUTION") -> SimpleNamespace:
    return SimpleNamespace(
        type=Member("LayerType", kind, 0),
        num_inputs=len(inputs),
        num_outputs=len(outputs),
        get_input=lambda index: inputs[index],
        get_output=lambda index: outputs[index],
    )


def test_activations_live_from_their_layer_to_their_last_reader() -> None:
    frames, skip, small, back = (
        tensor("frames", 1),
        tensor("skip", 40),
        tensor("small", 10),
        tensor("back", 40),
    )
    weights, answer = tensor("weights", 500), tensor("answer", 1)
    layers = [
        layer([], [weights], "CONSTANT"),
        layer([frames], [skip]),
        layer([skip, weights], [small]),
        layer([small, None], [back]),
        layer([skip, back], [answer]),
    ]
    network: Any = SimpleNamespace(
        num_layers=len(layers), num_inputs=1, get_layer=layers.__getitem__, get_input=lambda _: frames
    )
    # The skip connection is kept while "small" and "back" are made: 40 + 10 + 40. Weights are counted elsewhere.
    assert activations(network, batch=1) == Activations(90, 81)
    assert activations(network, batch=2) == Activations(180, 162)
