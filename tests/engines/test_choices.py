"""The stored comparison of engines: where it is kept, and when it is ignored."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevision.bundle.fastest import ROUNDS, Excluded, Timing
from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Verification, write_bundle
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import FrameInput, ModelSpec, Precision, Provenance, classify_outputs
from edgevision.device.cpu_class import cpu_class
from edgevision.engines import choices, opening
from edgevision.engines.choices import (
    ComparedOn,
    EngineComparison,
    facts_here,
    store_comparison,
    stored_comparison,
)
from edgevision.engines.fastest import Selected, select_fastest
from edgevision.storage import atomic


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    spec = ModelSpec("m", "classify", FrameInput((8, 8)), classify_outputs(2), ("a", "b"), provenance)
    golden = Golden(np.zeros((1, 8, 8, 3), np.uint8), (np.zeros((1, 2), np.float32),))
    return write_bundle(tmp_path / "b", spec, b"float", golden).add_graph("int8", b"int8")


def timed(engine: str, ms: float, precision: Precision = "float", device: str = "cpu") -> Timing:
    return Timing(engine, f"{engine} 1", precision, device, (ms,) * ROUNDS, ms, ms)


ON_CPU = (
    timed("onnxruntime", 20.0),
    timed("onnxruntime", 30.0, "int8"),
    timed("openvino", 15.0),
    timed("openvino", 10.0, "int8"),
)
ON_GPU = (timed("tensorrt", 2.0, "int8", "cuda:0"), timed("onnxruntime-cuda", 4.0, device="cuda:0"))


def compared(
    bundle: Bundle,
    timings: tuple[Timing, ...] = ON_CPU,
    *,
    facts: ComparedOn | None = None,
    created: str = "2026-11-30T08:00:00+00:00",
    excluded: tuple[Excluded, ...] = (),
) -> EngineComparison:
    return EngineComparison(
        created, "edgevision verify", facts or facts_here(bundle, None, None), timings, excluded
    )


def selected_here(bundle: Bundle, engine: str | None, options: SessionOptions) -> Selected | None:
    """As `open_session` selects."""
    comparison = stored_comparison(bundle, options.threads, options.device)
    return None if comparison is None else select_fastest(comparison, bundle, engine, options)


def test_it_is_kept_outside_of_the_bundle(bundle: Bundle) -> None:
    before = {path: path.read_bytes() for path in bundle.path.iterdir()}
    comparison = compared(bundle)
    path = store_comparison(bundle, comparison)
    assert path is not None
    assert path.parent.name == "choices"
    assert stored_comparison(bundle, None, None) == comparison
    assert {path: path.read_bytes() for path in bundle.path.iterdir()} == before


def test_a_copy_of_the_bundle_has_it_and_another_graph_has_not(bundle: Bundle, tmp_path: Path) -> None:
    store_comparison(bundle, compared(bundle))
    bundle.path.rename(tmp_path / "moved")
    moved = Bundle.open(tmp_path / "moved")
    assert stored_comparison(moved, None, None) is not None
    assert stored_comparison(moved.add_graph("int8", b"other int8"), None, None) is None


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("machine", "another CPU, 8 cores", "machine: another CPU, 8 cores then, "),
        ("cpu_class", "aarch64 NEON", "cpu class: aarch64 NEON then, "),
        ("libraries", "openvino 1.0", "libraries: openvino 1.0 then, "),
        ("built_engines", "0123", "built engines: 0123 then, none now"),
        ("edgevision", "0.0.1", "edgevision: 0.0.1 then, "),
    ],
)
def test_other_facts_and_it_is_ignored(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, fact: str, value: str, said: str
) -> None:
    facts = replace(facts_here(bundle, None, None), **{fact: value})
    store_comparison(bundle, compared(bundle, facts=facts))
    with caplog.at_level(logging.INFO, "edgevision"):
        assert stored_comparison(bundle, None, None) is None
    assert f"the comparison of engines of 2026-11-30 is ignored: {said}" in caplog.text


def test_machines_that_share_a_cache_keep_their_own(bundle: Bundle) -> None:
    here = compared(bundle)
    other = compared(bundle, ON_CPU[:1], facts=replace(here.facts, machine="another"))
    store_comparison(bundle, here)
    store_comparison(bundle, other)
    assert stored_comparison(bundle, None, None) == here
    newer = compared(bundle, ON_CPU[:2])
    store_comparison(bundle, newer)
    assert stored_comparison(bundle, None, None) == newer
    assert len(choices._read(bundle)) == 2, "a newer one replaces an older one of its machine"


def test_threads_and_devices_have_their_own(bundle: Bundle) -> None:
    whole = compared(bundle)
    one_thread = compared(bundle, ON_CPU[:1], facts=facts_here(bundle, 1, None))
    store_comparison(bundle, whole)
    store_comparison(bundle, one_thread)
    assert stored_comparison(bundle, 1, None) == one_thread
    assert stored_comparison(bundle, 2, None) is None
    assert stored_comparison(bundle, None, "cpu") == whole, "it covers every device"
    on_cpu = compared(bundle, ON_CPU[2:], facts=facts_here(bundle, None, "cpu"))
    store_comparison(bundle, on_cpu)
    assert stored_comparison(bundle, None, "cpu") == on_cpu
    assert stored_comparison(bundle, None, None) == whole


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"comparisons": [{}]}', '{"comparisons": 1}', "\xff"]
)
def test_a_damaged_file_counts_as_none(bundle: Bundle, content: str) -> None:
    path = store_comparison(bundle, compared(bundle))
    assert path is not None
    path.write_text(content, "latin-1")
    assert stored_comparison(bundle, None, None) is None
    assert store_comparison(bundle, compared(bundle)) == path
    assert stored_comparison(bundle, None, None) is not None


def test_a_graph_that_the_bundle_does_not_hold_counts_as_damage(bundle: Bundle) -> None:
    store_comparison(bundle, compared(bundle, (timed("onnxruntime", 1.0, "fp8"),)))
    assert stored_comparison(bundle, None, None) is None


def test_an_engine_of_another_name_is_not_opened(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    store_comparison(bundle, compared(bundle, (timed("nonsense", 1.0),)))
    monkeypatch.setattr(opening, "_open_first", lambda *_: "the first engine")
    opened: object = opening.open_session(bundle.path)
    assert opened == "the first engine"


def test_a_cache_that_cannot_be_written_is_said(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic, "write_file", refuse)
    assert store_comparison(bundle, compared(bundle)) is None
    assert "set EDGEVISION_CACHE to a writable folder" in caplog.text


@pytest.mark.parametrize(
    ("engine", "options", "expected"),
    [
        (None, SessionOptions(), "tensorrt int8"),
        (None, SessionOptions(iou_threshold=0.6), "onnxruntime-cuda float"),  # constants of a built engine
        (None, SessionOptions(score_floor=0.001), "onnxruntime-cuda float"),
        (None, SessionOptions(device="cpu"), "openvino int8"),
        (None, SessionOptions(device="cpu", precision="float"), "openvino float"),
        ("onnxruntime", SessionOptions(), "onnxruntime float"),
        ("openvino", SessionOptions(), "openvino int8"),
        ("onnxruntime-tensorrt", SessionOptions(), None),
        (None, SessionOptions(precision="fp16"), None),
        (None, SessionOptions(threads=1), None),
    ],
)
def test_the_fastest_that_the_options_permit(
    bundle: Bundle, engine: str | None, options: SessionOptions, expected: str | None
) -> None:
    store_comparison(bundle, compared(bundle, (*ON_CPU, *ON_GPU)))
    selected = selected_here(bundle, engine, options)
    assert (None if selected is None else selected.timing.name) == expected


@pytest.mark.parametrize(("bf16_ms", "expected"), [(7.0, "openvino bf16"), (10.5, "openvino int8")])
def test_bf16_is_selected_where_it_was_the_fastest(bundle: Bundle, bf16_ms: float, expected: str) -> None:
    store_comparison(bundle, compared(bundle, (*ON_CPU, timed("openvino", bf16_ms, "bf16"))))
    selected = selected_here(bundle, None, SessionOptions())
    assert selected is not None
    assert selected.timing.name == expected
    wrong = CheckRecord("score difference", 0.4, "<=", 0.05)
    record = Verification("verify", "openvino", "openvino 1", 1, (wrong,), "2026-12-01", cpu_class())
    bundle.with_verification("bf16", record)
    selected = selected_here(Bundle.open(bundle.path), None, SessionOptions())
    assert selected is not None
    assert selected.timing.name == "openvino int8", "a later verification failed"


def test_a_cpu_that_lost_bf16_is_another_machine(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "cpu_computes", lambda: ("bf16",))
    store_comparison(bundle, compared(bundle, (*ON_CPU, timed("openvino", 7.0, "bf16"))))
    assert stored_comparison(bundle, None, None) is not None
    monkeypatch.setattr(choices, "cpu_computes", lambda: ())
    assert stored_comparison(bundle, None, None) is None


def test_the_reason_names_the_command_the_day_and_the_others(bundle: Bundle) -> None:
    excluded = (Excluded("openvino", "int8", "failed verification", "mean score difference 0.4"),)
    store_comparison(bundle, compared(bundle, ON_CPU[:3], excluded=excluded))
    selected = selected_here(bundle, None, SessionOptions())
    assert selected is not None
    assert selected.reason == (
        "openvino float, 15.0 ms a call: the fastest that passed verification (measured by `edgevision verify` on"
        " 2026-11-30; onnxruntime float 20.0 ms; onnxruntime int8 30.0 ms; openvino int8 failed verification)"
    )


def test_a_graph_that_failed_verification_since_is_not_used(bundle: Bundle) -> None:
    store_comparison(bundle, compared(bundle))
    wrong = CheckRecord("score difference", 0.5, "<=", 0.1)
    record = Verification("verify", "openvino", "openvino 1", 1, (wrong,), "2026-12-01", cpu_class())
    selected = selected_here(bundle.with_record("int8", record), None, SessionOptions())
    assert selected is not None
    assert selected.timing.name == "openvino float"
    elsewhere = replace(record, machine_class="aarch64 NEON")
    selected = selected_here(bundle.with_record("int8", elsewhere), None, SessionOptions())
    assert selected is not None
    assert selected.timing.name == "openvino int8"


def test_faster_but_within_noise_is_said(bundle: Bundle) -> None:
    store_comparison(bundle, compared(bundle, (ON_CPU[0], timed("openvino", 19.5))))
    selected = selected_here(bundle, None, SessionOptions())
    assert selected is not None
    assert selected.reason == (
        "onnxruntime float, 20.0 ms a call: no other that passed verification is faster beyond noise (measured by"
        " `edgevision verify` on 2026-11-30; openvino float 19.5 ms)"
    )
