"""The comparison of all engines, with sessions and a clock that only count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevision.benchmark import comparison
from edgevision.benchmark.comparison import ComparisonOptions, compare_engines
from edgevision.bundle.fastest import LEAST_ROUNDS, ROUNDS, fastest
from edgevision.bundle.folder import Bundle, Golden, write_bundle
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.device.cpu_class import cpu_class
from edgevision.device.names import DeviceName
from edgevision.engines import precisions
from edgevision.engines.fastest import BUILT
from edgevision.errors import EdgevisionError, EngineError, MissingExtraError, VerificationError
from tests.hardware import L4

ANSWER = np.array([[0.75, 0.25]], np.float32)
OPTIONS = ComparisonOptions("edgevision verify", seconds=2.0)


class Lab:
    """Engines whose calls take a set time on a clock of their own; notes every call and every opening."""

    def __init__(self, takes_ms: dict[str, float]) -> None:
        self.takes_ms = takes_ms
        self.now_ns = 0
        self.calls: list[str] = []
        self.opened: list[tuple[str, SessionOptions]] = []
        self.closed: list[str] = []
        self.refused: dict[str, EdgevisionError] = {}
        self.wrong: set[str] = set()
        self.load: Callable[[int], float] = lambda _: 1.0
        """Slow-down of the machine at a call."""

    def clock_ns(self) -> int:
        return self.now_ns

    def open(self, bundle: Bundle, engine: str, options: SessionOptions) -> Session:
        name = f"{engine} {options.precision}"
        self.opened.append((name, options))
        if name in self.refused:
            raise self.refused[name]
        return Timed(self, name, bundle.spec)

    def compare(self, bundle: Bundle, options: ComparisonOptions = OPTIONS) -> list[str]:
        """Compare; returns the names of the candidates and the chosen one at the end."""
        self.comparison = compare_engines(bundle, options, opener=self.open, clock_ns=self.clock_ns)
        chosen = fastest(self.comparison.timings)
        return [*(timing.name for timing in self.comparison.timings), f"chosen: {chosen.name}"]


class Timed(Session):
    def __init__(self, lab: Lab, name: str, spec: ModelSpec) -> None:
        engine = name.split()[0]
        super().__init__(spec, EngineInfo(engine, f"{engine} 1", "cpu"))
        self.lab, self.name = lab, name

    def _infer(self, frames: Frames) -> Outputs:
        lab = self.lab
        lab.now_ns += round(lab.takes_ms[self.name] * 1e6 * lab.load(len(lab.calls)))
        lab.calls.append(self.name)
        return (np.repeat(1 - ANSWER if self.name in lab.wrong else ANSWER, len(frames), axis=0),)

    def close(self) -> None:
        self.lab.closed.append(self.name)


@pytest.fixture(autouse=True)
def _two_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "compared_engines", lambda _: ("onnxruntime", "openvino"))
    monkeypatch.setattr(precisions, "cpu_computes", lambda: ())


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    spec = ModelSpec("m", "classify", FrameInput((8, 8)), classify_outputs(2), ("a", "b"), provenance)
    golden = Golden(np.zeros((2, 8, 8, 3), np.uint8), (np.repeat(ANSWER, 2, axis=0),))
    return write_bundle(tmp_path / "b", spec, b"float", golden).add_graph("int8", b"int8")


TAKES_MS = {"onnxruntime float": 20.0, "onnxruntime int8": 30.0, "openvino float": 15.0, "openvino int8": 8.0}


def test_the_fastest_of_all_is_chosen(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    assert lab.compare(bundle) == [*TAKES_MS, "chosen: openvino int8"]
    assert [timing.median_ms for timing in lab.comparison.timings] == list(TAKES_MS.values())
    assert {len(timing.rounds_ms) for timing in lab.comparison.timings} == {ROUNDS}
    assert lab.comparison.command == "edgevision verify"
    assert sorted(lab.closed) == sorted(TAKES_MS)


@pytest.mark.parametrize(("bf16_ms", "chosen"), [(6.0, "openvino bf16"), (11.0, "openvino int8")])
def test_bf16_is_a_candidate_where_the_cpu_computes_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, bf16_ms: float, chosen: str
) -> None:
    monkeypatch.setattr(precisions, "cpu_computes", lambda: ("bf16",))
    lab = Lab({**TAKES_MS, "openvino bf16": bf16_ms})
    assert lab.compare(bundle) == [*TAKES_MS, "openvino bf16", f"chosen: {chosen}"]
    (record,) = Bundle.open(bundle.path).graph("bf16").verifications
    assert (record.engine, record.machine_class, record.passed) == ("openvino", cpu_class(), True)
    assert [entry.precision for entry in Bundle.open(bundle.path).manifest.graphs] == ["float", "int8"]


def test_bf16_that_differs_from_the_source_model_is_excluded(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precisions, "cpu_computes", lambda: ("bf16",))
    lab = Lab({**TAKES_MS, "openvino bf16": 1.0})
    lab.wrong = {"openvino bf16"}
    assert lab.compare(bundle)[-1] == "chosen: openvino int8"
    assert [one.name for one in lab.comparison.excluded] == ["openvino bf16"]


@pytest.mark.parametrize(("tf32_ms", "chosen"), [(6.0, "tf32"), (9.9, "float")])
def test_tf32_is_a_candidate_on_a_gpu_that_computes_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tf32_ms: float, chosen: str
) -> None:
    monkeypatch.setattr(comparison, "compared_engines", lambda _: ("onnxruntime-cuda",))
    monkeypatch.setattr(precisions, "gpu_facts", lambda: L4)
    takes = {"onnxruntime-cuda float": 10.0, "onnxruntime-cuda int8": 30.0}
    lab = Lab({**takes, "onnxruntime-cuda tf32": tf32_ms})
    assert lab.compare(bundle) == [*takes, "onnxruntime-cuda tf32", f"chosen: onnxruntime-cuda {chosen}"]
    (record,) = Bundle.open(bundle.path).graph("tf32").verifications
    assert (record.engine, record.passed) == ("onnxruntime-cuda", True)
    lab = Lab({**takes, "onnxruntime-cuda tf32": 1.0})
    lab.wrong = {"onnxruntime-cuda tf32"}
    monkeypatch.setattr(comparison, "latest_verification", lambda *_: None)
    assert lab.compare(bundle)[-1] == "chosen: onnxruntime-cuda float", "its answers count first"


def test_candidates_run_in_turns_and_share_the_time(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    lab.compare(bundle)
    blocks = [name for name, before in zip(lab.calls, ["", *lab.calls], strict=False) if name != before]
    assert blocks[-4 * ROUNDS :] == list(TAKES_MS) * ROUNDS
    timed_ns = {name: Counter(lab.calls)[name] * ms for name, ms in TAKES_MS.items()}
    assert max(timed_ns.values()) < 2.5 * min(timed_ns.values())
    assert lab.now_ns < 2 * OPTIONS.seconds * 1e9, "warm-up and golden frames included"


def test_the_first_call_of_a_round_is_not_counted(bundle: Bundle) -> None:
    lab = Lab({"onnxruntime float": 10.0, "openvino float": 10.0})
    lab.refused = {f"{engine} int8": EngineError("no") for engine in ("onnxruntime", "openvino")}
    lab.load = lambda call: 5.0 if call and lab.calls[-1] != lab.calls[max(call - 2, 0)] else 1.0
    lab.compare(bundle)
    assert {timing.p90_ms for timing in lab.comparison.timings} <= {10.0, 50.0}
    assert [timing.median_ms for timing in lab.comparison.timings] == [10.0, 10.0]


def test_other_load_changes_nothing(bundle: Bundle) -> None:
    """The machine becomes slower and slower: the last rounds of all candidates take ten times as long."""
    lab = Lab(TAKES_MS)
    lab.load = lambda call: 1 + call / 20
    assert lab.compare(bundle)[-1] == "chosen: openvino int8"


@pytest.mark.parametrize(("openvino_ms", "chosen"), [(19.5, "onnxruntime"), (18.0, "openvino")])
def test_a_small_gain_changes_nothing(bundle: Bundle, openvino_ms: float, chosen: str) -> None:
    lab = Lab({**TAKES_MS, "openvino float": openvino_ms, "openvino int8": 40.0})
    assert lab.compare(bundle)[-1] == f"chosen: {chosen} float"


def test_what_failed_verification_is_excluded_and_recorded(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    lab.wrong = {"openvino int8"}
    assert lab.compare(bundle)[-1] == "chosen: openvino float"
    (excluded,) = lab.comparison.excluded
    assert (excluded.name, excluded.reason) == ("openvino int8", "failed verification")
    assert excluded.detail.startswith("score difference 0.5, must be <= 0.3")
    (record,) = [v for v in Bundle.open(bundle.path).graph("int8").verifications if v.engine == "openvino"]
    assert not record.passed
    again = Lab(TAKES_MS)
    again.compare(Bundle.open(bundle.path))
    assert [one.name for one in again.comparison.excluded] == ["openvino int8"], "its record counts"


def test_golden_frames_run_once_for_each_version_of_an_engine(bundle: Bundle) -> None:
    calls = []
    for _ in range(2):
        lab = Lab(TAKES_MS)
        lab.compare(Bundle.open(bundle.path))
        calls.append(len(lab.calls))
    assert calls[0] - calls[1] == 4 * 4, "two passes over two frames in each of four"


def test_an_engine_that_cannot_run_the_graph_is_named(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    lab.refused = {"onnxruntime int8": EngineError("no kernel for QLinearConv\nat line 1")}
    assert "onnxruntime int8" not in lab.compare(bundle)
    (excluded,) = lab.comparison.excluded
    assert (excluded.name, excluded.reason) == ("onnxruntime int8", "cannot run")
    assert excluded.detail == "no kernel for QLinearConv"


def test_an_engine_that_is_not_installed_is_left_out(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    lab.refused = {"onnxruntime float": MissingExtraError("onnxruntime", "cpu", "x")}
    assert lab.compare(bundle) == ["openvino float", "openvino int8", "chosen: openvino int8"]
    assert lab.comparison.excluded == ()


def test_nothing_to_compare(bundle: Bundle) -> None:
    lab = Lab(TAKES_MS)
    lab.wrong = set(TAKES_MS)
    with pytest.raises(VerificationError, match="no engine can run .*: onnxruntime float: score difference"):
        lab.compare(bundle)
    missing = Lab(TAKES_MS)
    missing.refused = {name: MissingExtraError("x", "cpu", "y") for name in TAKES_MS}
    with pytest.raises(MissingExtraError, match="edgevision verify needs onnxruntime"):
        missing.compare(bundle)
    assert len(lab.closed) == 4


def test_a_slow_network_gets_fewer_rounds(bundle: Bundle) -> None:
    lab = Lab({name: 40 * ms for name, ms in TAKES_MS.items()})
    assert lab.compare(bundle)[-1] == "chosen: openvino int8"
    assert {len(timing.rounds_ms) for timing in lab.comparison.timings} == {LEAST_ROUNDS}


def test_options_reach_the_engines(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DeviceName | None] = []

    def engines(device: DeviceName | None) -> tuple[str, ...]:
        asked.append(device)
        return ("tensorrt", "onnxruntime-cuda")

    monkeypatch.setattr(comparison, "compared_engines", engines)
    lab = Lab(dict.fromkeys((f"{e} {p}" for e in engines(None) for p in ("float", "int8")), 10.0))
    device = DeviceName("cuda", 1)
    lab.compare(bundle, ComparisonOptions("edgevision bench", 1.0, threads=2, device=device))
    assert asked == [None, device]
    assert {(o.threads, o.device) for _, o in lab.opened} == {(2, "cuda:1")}
    assert {timing.device for timing in lab.comparison.timings} == {"cuda:1"}
    assert (lab.comparison.facts.threads, lab.comparison.facts.device) == ("2", "cuda:1")
    forced = {name.split()[0]: options.force for name, options in lab.opened}
    assert forced == {"tensorrt": False, "onnxruntime-cuda": True}, "a built engine has its own record"
    assert "tensorrt" in BUILT
