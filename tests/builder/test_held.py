"""Layers whose type a builder may not choose, and layers that stay on the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgevision.builder.dla import LOADABLES, place_on_dla
from edgevision.builder.held import held_layers, hold_in, named_layers
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.versions import dialect
from edgevision.errors import EngineError
from tests.builder.recorded import ILayer, ITensor, Member, RecordedModule, working

SINGLE = Member("DataType", "FLOAT", 0)


class Network:
    """A chain of layers: name, kind, and the type that each answers in; the first reads pixels of bytes."""

    def __init__(self, *layers: tuple[str, str, str]) -> None:
        self.layers: list[ILayer] = []
        before = ITensor(name="frames", dtype=Member("DataType", "UINT8", 0), shape=(1, 8, 8, 3))
        for index, (name, kind, dtype) in enumerate(layers):
            answer = ITensor(name=f"t{index}", dtype=Member("DataType", dtype, 0), shape=(1, 8))
            self.layers.append(self._layer(name, kind, before, answer))
            before = answer

    @staticmethod
    def _layer(name: str, kind: str, read: ITensor, answer: ITensor) -> ILayer:
        return ILayer(
            name=name,
            type=Member("LayerType", kind, 0),
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: read,
            get_output=lambda _: answer,
        )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> ILayer:
        return self.layers[index]

    def named(self, indices: Any) -> list[str]:
        return [self.layers[index].name for index in sorted(indices)]


class Config:
    """Where layers go; the DLA takes all but softmax."""

    def __init__(self) -> None:
        self.devices: dict[str, str] = {}

    def set_device_type(self, layer: ILayer, device: Member) -> None:
        self.devices[layer.name] = device.name

    def can_run_on_DLA(self, layer: ILayer) -> bool:  # noqa: N802  # as TensorRT calls it
        return bool(layer.type.name != "SOFTMAX")


@pytest.fixture(scope="module")
def library() -> Library:
    module = RecordedModule("tensorrt-8.6.1", working("tensorrt-8.6.1"))
    return Library("tensorrt", "8.6.1", dialect("tensorrt", "8.6.1"), module)


def test_the_contract_is_held_with_what_the_parser_added_to_it() -> None:
    network: Any = Network(
        ("pre/Cast_1", "CAST", "FLOAT"),
        ("/model.0/conv/Conv", "CONVOLUTION", "FLOAT"),
        ("post/Mul_3", "ELEMENTWISE", "FLOAT"),
        ("(Unnamed Layer* 7) [Shuffle]", "SHUFFLE", "FLOAT"),
        ("ONNXTRT_castHelper_2", "CAST", "FLOAT"),
    )
    assert network.named(held_layers(network)) == [
        "pre/Cast_1",
        "post/Mul_3",
        "(Unnamed Layer* 7) [Shuffle]",
        "ONNXTRT_castHelper_2",
    ]


def test_nodes_that_do_not_fit_fp16_are_held_by_name() -> None:
    network: Any = Network(
        ("/a/Exp", "UNARY", "FLOAT"),
        ("/a/Exp_1", "UNARY", "FLOAT"),
        ("/b/Conv", "CONVOLUTION", "FLOAT"),
    )
    assert network.named(held_layers(network, {"/a/Exp"})) == ["/a/Exp", "/a/Exp_1"]


def test_a_strongly_typed_graph_defines_its_float32_layers() -> None:
    network: Any = Network(
        ("/a/Conv", "CONVOLUTION", "HALF"),
        ("/a/Exp", "UNARY", "FLOAT"),
        ("weights", "CONSTANT", "FLOAT"),
    )
    assert network.named(held_layers(network)) == ["/a/Exp"]


def test_what_is_held_gets_float32_and_nothing_else_does(library: Library) -> None:
    network: Any = Network(
        ("pre/Cast_1", "CAST", "FLOAT"),
        ("/a/Conv", "CONVOLUTION", "FLOAT"),
        ("post/Mul_1", "ELEMENTWISE", "FLOAT"),
        ("post/Greater_1", "ELEMENTWISE", "BOOL"),
        ("post/Slice_1", "SLICE", "INT64"),
        ("post/const_1", "CONSTANT", "FLOAT"),
    )
    assert hold_in(library, network, held_layers(network), "FLOAT") == 3
    single = library.member("DataType", "FLOAT")
    assert [getattr(layer, "precision", None) for layer in network.layers[:4]] == [
        single,
        None,
        single,
        single,
    ]
    types = [getattr(layer, "output_types", {}) for layer in network.layers]
    assert types == [{0: single}, {}, {0: single}, {}, {}, {}]


def test_layers_kept_for_accuracy_are_no_int8_on_a_dla_either(library: Library) -> None:
    network: Any = Network(("/a/Conv", "CONVOLUTION", "FLOAT"), ("/b/Conv", "CONVOLUTION", "FLOAT"))
    assert hold_in(library, network, named_layers(network, {"/b/Conv"}), "HALF") == 1
    half = library.member("DataType", "HALF")
    assert [getattr(layer, "precision", None) for layer in network.layers] == [None, half]
    assert network.layers[1].output_types == {0: half}


def test_pre_and_post_processing_stay_on_the_gpu(library: Library) -> None:
    network: Any = Network(
        ("pre/Cast_1", "CAST", "FLOAT"),
        ("weights", "CONSTANT", "FLOAT"),
        ("/a/Conv", "CONVOLUTION", "HALF"),
        ("/b/Conv", "CONVOLUTION", "HALF"),
        ("post/Mul_1", "ELEMENTWISE", "FLOAT"),
    )
    config: Any = Config()
    placement = place_on_dla(library, config, network, held_layers(network))
    assert config.devices == {"pre/Cast_1": "GPU", "post/Mul_1": "GPU"}
    assert str(placement) == "DLA: 2 of 4 layers in 1 piece, the rest on the GPU"


def test_the_largest_pieces_stay_on_the_dla(library: Library) -> None:
    """Beyond what a core holds, TensorRT would leave whichever pieces come last to the GPU."""
    chain: list[tuple[str, str, str]] = []
    for piece in range(LOADABLES + 3):
        chain += [(f"/{piece}/Conv", "CONVOLUTION", "HALF")] * (1 if piece in (0, 4, 9) else 2)
        chain.append((f"/{piece}/Softmax", "SOFTMAX", "HALF"))
    network: Any = Network(*chain)
    config: Any = Config()
    placement = place_on_dla(library, config, network, ())
    assert sorted(config.devices) == ["/0/Conv", "/4/Conv", "/9/Conv"]
    assert (placement.pieces, placement.given_up, placement.taken) == (LOADABLES, 3, 2 * LOADABLES)
    assert str(placement).endswith("; 3 small pieces left to the GPU")


def test_a_dla_without_layers_is_reported(library: Library) -> None:
    network: Any = Network(("/a/Softmax", "SOFTMAX", "HALF"))
    config: Any = Config()
    with pytest.raises(EngineError, match="supports none of the 1 layers"):
        place_on_dla(library, config, network, ())


@pytest.mark.parametrize("recipe", ["yolov5", "yolov5-seg"])
def test_a_real_parser_s_suppression_is_held_whole(recipe: str, tmp_path: Path) -> None:
    """Every float between decoding and the answers: the parser is that of TensorRT-RTX, the same code."""
    trt = pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("torch")
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.models.recipe import load_recipe

    options = ExportOptions(random_weights=True, size_wh=(64, 64))
    bundle = export_bundle(load_recipe(recipe), options, tmp_path / "b", lambda _: None)
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file(str(bundle.graph_path()))
    held = held_layers(network)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    last = max(i for i, layer in enumerate(layers) if layer.name.startswith("/model."))
    for index, layer in enumerate(layers):
        floats = any(layer.get_output(i).dtype == trt.float32 for i in range(layer.num_outputs))
        if floats and layer.type != trt.LayerType.CONSTANT:
            contract = layer.name.startswith(("pre/", "post/")) or index > last
            assert (index in held) == contract, layer.name
