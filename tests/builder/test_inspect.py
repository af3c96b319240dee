"""Inspector JSON in each version's format."""

from __future__ import annotations

import json

import pytest

from edgevision.builder.inspect import delivered, engine_layers, type_in
from edgevision.engines.tensorrt.manifest import LayerCount

# As NVIDIA's Engine Inspector page and its migration guide to 11 show them.
TEN = {
    "Layers": [
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Outputs": [
                {
                    "Name": "a",
                    "Dimensions": [1, 8],
                    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8",
                }
            ],
        },
        {
            "Name": "conv2",
            "LayerType": "CaskConvolution",
            "Outputs": [
                {"Name": "b", "Dimensions": [1, 8], "Format/Datatype": "Row major linear FP16 format"}
            ],
        },
        {"Name": "shape", "LayerType": "Shape", "Outputs": []},
    ],
    "Bindings": ["frames", "boxes"],
}
ELEVEN = {
    "Layers": [
        {
            "Name": "conv",
            "LayerType": "gemm",
            "Outputs": [
                {
                    "Name": "FP16 in a name",
                    "Dimensions": [1],
                    "DataType": "Float",
                    "Format": "Row major linear",
                }
            ],
        }
    ],
    "I/O Tensors": [{"Name": "frames", "IOMode": "Input", "DataType": "UInt8", "Dimensions": [1]}],
}
NAMES_ONLY = {"Layers": ["conv + relu", "head"], "Bindings": []}


def test_layers_of_ten() -> None:
    assert set(engine_layers(json.dumps(TEN))) == {
        LayerCount("caskconvolution", "int8", 1),
        LayerCount("caskconvolution", "float16", 1),
        LayerCount("shape", "unknown", 1),
    }


def test_layers_of_eleven() -> None:
    assert engine_layers(json.dumps(ELEVEN)) == (LayerCount("gemm", "float32", 1),)


def test_layers_without_detail() -> None:
    assert engine_layers(json.dumps(NAMES_ONLY)) == (LayerCount("layer", "unknown", 2),)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}'])
def test_no_such_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"no layers|Expecting value"):
        engine_layers(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Row major linear FP32", "float32"),
        ("Two wide channel vectorized row major FP16 format", "float16"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("Int8", "int8"),
        ("UInt8", "uint8"),
        ("FP8", "float8"),
        ("Int64", "int64"),
        ("Bool", "bool"),
        ("N/A due to dynamic shapes", "unknown"),
    ],
)
def test_types(text: str, name: str) -> None:
    assert type_in(text) == name


def test_what_was_asked_for_must_be_delivered() -> None:
    half, single = LayerCount("conv", "float16", 3), LayerCount("conv", "float32", 9)
    assert delivered((half, single), "fp16")
    assert not delivered((single,), "fp16")
    assert not delivered((half, single), "int8")
    assert delivered((single,), "float")
    assert delivered((LayerCount("layer", "unknown", 2),), "int8"), "an engine with unknown types passes"
