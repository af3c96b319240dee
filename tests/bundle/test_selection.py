from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Speed, Verification, write_bundle
from edgevision.bundle.selection import MachineIdentity, choose_graph
from edgevision.contract.spec import FrameInput, ModelSpec, Precision, Provenance, classify_outputs
from edgevision.errors import BundleError, VerificationError

CLASS = "x86-64 AVX2"
HERE = MachineIdentity("this machine", CLASS)
PASSED, FAILED = (CheckRecord("score difference", value, "<=", 0.1) for value in (0.05, 0.5))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A float and an INT8 graph of which nothing is known yet."""
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    spec = ModelSpec("m", "classify", FrameInput((8, 8)), classify_outputs(2), ("a", "b"), provenance)
    golden = Golden(np.zeros((1, 8, 8, 3), np.uint8), (np.zeros((1, 2), np.float32),))
    return write_bundle(tmp_path / "b", spec, b"float", golden).add_graph("int8", b"int8")


def verified(
    bundle: Bundle,
    precision: Precision,
    check: CheckRecord,
    engine: str = "openvino",
    day: int = 2,
    machine_class: str | None = CLASS,
) -> Bundle:
    created = f"2026-01-{day:02}T00:00:00+00:00"
    record = Verification("verify", engine, f"{engine} 1", 4, (check,), created, machine_class)
    return bundle.with_verification(precision, record)


def measured(
    bundle: Bundle,
    ratio: float,
    machine: str = HERE.name,
    precision: Precision = "int8",
    engine: str = "openvino",
) -> Bundle:
    return bundle.with_speed(precision, Speed(engine, f"{engine} 1", machine, ratio, "2026-01-03"))


def chosen(bundle: Bundle, engine: str = "openvino") -> str:
    return choose_graph(Bundle.open(bundle.path), engine, HERE).precision


def test_an_unmeasured_graph_is_not_selected_by_default(bundle: Bundle) -> None:
    choice = choose_graph(bundle, "openvino", HERE)
    assert choice.precision == "float"
    assert choice.reason == "no other graph is verified and measured to be 5 % faster here: int8"


@pytest.mark.parametrize(("ratio", "expected"), [(1.04, "float"), (1.05, "int8"), (1.7, "int8")])
def test_the_gain_decides(bundle: Bundle, ratio: float, expected: str) -> None:
    assert chosen(measured(verified(bundle, "int8", PASSED), ratio)) == expected


def test_a_gain_without_verification_is_none(bundle: Bundle) -> None:
    assert chosen(measured(bundle, 2.0)) == "float"
    assert chosen(measured(verified(bundle, "int8", FAILED), 2.0)) == "float"


def test_a_gain_elsewhere_is_none_here(bundle: Bundle) -> None:
    fast = verified(bundle, "int8", PASSED)
    assert chosen(measured(fast, 2.0, "another machine")) == "float"
    assert chosen(measured(fast, 2.0, engine="onnxruntime")) == "float"


def test_the_fastest_of_several_is_selected(bundle: Bundle) -> None:
    bundle = verified(verified(bundle.add_graph("fp16", b"fp16"), "fp16", PASSED), "int8", PASSED)
    assert chosen(measured(measured(bundle, 1.3), 1.6, precision="fp16")) == "fp16"
    assert chosen(measured(bundle, 1.9)) == "int8"


def test_a_new_measurement_replaces_the_old_one(bundle: Bundle) -> None:
    bundle = measured(measured(verified(bundle, "int8", PASSED), 1.9), 1.0)
    assert [speed.ratio for speed in bundle.graph("int8").speeds] == [1.0]
    assert chosen(bundle) == "float"


def test_the_reason_states_speed_and_date(bundle: Bundle) -> None:
    reason = choose_graph(measured(verified(bundle, "int8", PASSED), 1.75), "openvino", HERE).reason
    assert (
        reason == "1.75 times as fast as float here, measured 2026-01-03, verified 2026-01-02T00:00:00+00:00"
    )


def test_a_disproved_graph_is_refused_with_the_reason(bundle: Bundle) -> None:
    bundle = verified(bundle, "int8", FAILED)
    with pytest.raises(VerificationError) as caught:
        choose_graph(bundle, "openvino", HERE, precision="int8")
    for text in (
        "failed verification in openvino",
        "openvino 1",
        "score difference 0.5",
        "--force",
    ):
        assert text in str(caught.value)
    choice = choose_graph(bundle, "openvino", HERE, precision="int8", force=True)
    assert choice.reason.startswith("requested; FORCED: it failed verification: score difference 0.5")


def test_a_disproved_float_graph_is_refused_as_well(bundle: Bundle) -> None:
    bundle = verified(bundle, "float", FAILED)
    with pytest.raises(VerificationError, match="the float graph of .* failed verification"):
        choose_graph(bundle, "openvino", HERE)
    assert choose_graph(bundle, "onnxruntime", HERE).precision == "float"
    assert "FORCED" in choose_graph(bundle, "openvino", HERE, force=True).reason


def test_the_latest_record_counts(bundle: Bundle) -> None:
    bundle = verified(bundle, "float", FAILED)
    assert choose_graph(verified(bundle, "float", PASSED, day=9), "openvino", HERE).precision == "float"


def test_a_graph_that_is_not_there_cannot_be_asked_for(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="holds no fp16 graph"):
        choose_graph(bundle, "openvino", HERE, precision="fp16")
