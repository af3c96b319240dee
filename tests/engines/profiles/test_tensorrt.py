"""Profiles of TensorRT: its profiler's calls and its inspector's JSON, which differs between versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines.profiles.tensorrt import InspectedLayer, inspected, layers_of
from edgevision.engines.profiles.turns import WARM_UP
from edgevision.engines.tensorrt import session as tensorrt
from tests.brightness import write_brightness_bundle
from tests.doubles import SIDE
from tests.engines.host_cuda import HostCudart
from tests.engines.host_tensorrt import LAYERS, HostTensorRt, store_engine
from tests.engines.profiles.graphs import residual

DETAILED: dict[str, list[dict[str, Any]]] = {
    "Layers": [
        {
            "Name": "__myl_Conv_myl0_1",
            "LayerType": "kgen",
            "Inputs": [{"Name": "x", "Dimensions": [1, 3], "Format/Datatype": "Half"}],
            "Metadata": "[ONNX Layer: Conv a]\x1e[ONNX Layer: Relu b]",
        },
        {"Name": "Reformatting CopyNode for Input Tensor 0", "LayerType": "Reformat", "Metadata": ""},
        {"Name": "Conv c + Relu e", "LayerType": "CaskConvolution", "Inputs": [{"Datatype": "Int8"}]},
        {"Name": "PWN(Sigmoid f, Mul g)", "LayerType": "PointWiseV2"},
    ]
}


def test_layers_are_assigned_by_metadata_or_by_the_names_in_theirs() -> None:
    known = inspected(json.dumps(DETAILED))
    names = [layer["Name"] for layer in DETAILED["Layers"]]
    call = [(str(name), ms) for name, ms in zip(names, (1.0, 0.5, 2.0, 0.25), strict=True)]
    layers = layers_of([call, [*call, (str(names[0]), 3.0)]], known, residual())
    assert [layer.nodes for layer in layers] == [
        ("Conv a", "Relu b"),
        (),
        ("Conv c", "Add d", "Relu e"),
        ("Sigmoid f", "Mul g", "Identity out"),
    ]
    assert [layer.precision for layer in layers] == ["fp16", None, "int8", None]
    assert layers[0].samples_ms == (1.0, 4.0)


def test_an_engine_without_detail_has_names_only() -> None:
    assert inspected('{"Layers": ["Conv c + Relu e"]}') == {
        "Conv c + Relu e": InspectedLayer("layer", (), None)
    }
    (layer,) = layers_of([[("Conv c + Relu e", 2.0)]], {}, residual())
    assert layer.nodes[:5] == ("Conv a", "Relu b", "Conv c", "Add d", "Relu e")


def test_a_session_is_profiled_in_a_context_of_its_own(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    write_brightness_bundle(bundle)
    stored, spec = store_engine(bundle / "engines" / "one", BatchRange(2, 2, 2))
    stored = replace(stored, manifest=replace(stored.manifest, precision="float"))
    library = HostTensorRt(host, spec)
    monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: library.library(flavour))
    frames = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    with tensorrt.open_engine(stored, spec, SessionOptions()) as session:
        (engine,) = library.engines
        profile = session.profile_layers([frames] * (WARM_UP + 4))
        assert [layer.name for layer in profile.layers] == list(LAYERS)
        assert all(layer.samples_ms == (0.5,) * 4 for layer in profile.layers)
        assert (len(profile.calls_ms), len(profile.plain_ms)) == (4, 4)
        assert [context.profiler is not None for context in engine.contexts] == [False, True]
