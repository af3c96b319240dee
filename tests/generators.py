"""A small generator as an ONNX graph, the same in numpy, and its bundle: no training and no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.bundle.folder import Bundle, Golden, write_bundle
from edgevision.contract.inputs import BatchRange, InputTensor, TensorInput, Tensors, sample_tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import METADATA_KEY, ModelSpec, translate_outputs
from tests.doubles import PROVENANCE

SIDE = 6
CLASSES = ("dark", "middle", "light")
STEP = np.float32(60)
"""Levels between two classes."""


def generator(batch: BatchRange | None = None, classes: tuple[str, ...] = CLASSES) -> ModelSpec:
    noise = InputTensor("noise", "noise", (3, SIDE, SIDE))
    label = (InputTensor("label", "label", (), len(classes)),) if classes else ()
    given = TensorInput((noise, *label), batch or BatchRange())
    return ModelSpec("waves", "generate", given, translate_outputs((SIDE, SIDE)), classes, PROVENANCE)


def images_of(tensors: Tensors) -> np.ndarray:
    """What the graph makes: 16 times the noise, brighter by `STEP` for each class."""
    noise, *labels = tensors.arrays
    levels = noise * np.float32(16) + np.float32(60)
    for label in labels:
        levels = levels + label.astype(np.float32).reshape(-1, 1, 1, 1) * STEP
    images: np.ndarray = np.rint(np.clip(levels, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return images


def generator_graph(spec: ModelSpec) -> onnx.ModelProto:
    """A graph of the contract that makes `images_of`."""
    count: int | str = spec.batch.max if spec.batch.static else "batch"
    nodes = [
        helper.make_node("Mul", ["noise", "gain"], ["scaled"], name="network/gain"),
        helper.make_node("Add", ["scaled", "base"], ["levels"], name="network/base"),
    ]
    if spec.classes:
        nodes += [
            helper.make_node("Cast", ["label"], ["label_float"], name="network/cast", to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["label_float", "column"], ["classes"], name="network/column"),
            helper.make_node("Mul", ["classes", "step"], ["offset"], name="network/step"),
            helper.make_node("Add", ["levels", "offset"], ["bright"], name="network/offset"),
        ]
    last = "bright" if spec.classes else "levels"
    nodes += [
        helper.make_node("Max", [last, "zero"], ["low"], name="post/low"),
        helper.make_node("Min", ["low", "white"], ["high"], name="post/high"),
        helper.make_node("Round", ["high"], ["whole"], name="post/round"),
        helper.make_node("Transpose", ["whole"], ["last"], name="post/last", perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["last"], ["image"], name="post/image", to=TensorProto.UINT8),
    ]
    constants = {"gain": 16.0, "base": 60.0, "step": float(STEP), "zero": 0.0, "white": 255.0}
    stored = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    stored.append(numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "column"))
    types = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8}
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, types[t.dtype], [count, *t.shape[1:]]) for t in tensors]
        for tensors in (spec.inputs, spec.outputs)
    )
    graph = helper.make_graph(nodes, spec.name, inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    return model


def write_generator(path: Path, spec: ModelSpec | None = None) -> Bundle:
    """A bundle of the graph, with golden images."""
    spec = spec or generator()
    tensors = sample_tensors(spec.tensors, 0, 4)
    golden = Golden(tensors, (images_of(tensors),))
    return write_bundle(path, spec, generator_graph(spec).SerializeToString(), golden)


class GeneratorSession(Session):
    """The graph in numpy."""

    def __init__(self, spec: ModelSpec | None = None) -> None:
        super().__init__(spec or generator(), EngineInfo("numpy", "numpy", "cpu"))
        self.batches: list[int] = []

    def _infer(self, frames: Frames) -> Outputs:
        raise AssertionError("a generator takes no frames")

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        self.batches.append(len(tensors))
        return (images_of(tensors),)
