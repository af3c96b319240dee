"""Plants a fault into each graph that is exported or adopted, and runs verification."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import torch

from edgevision.bundle.folder import Bundle, Golden
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session
from edgevision.contract.spec import FrameInput, NmsSpec
from edgevision.engines.opening import open_session
from edgevision.errors import VerificationError
from edgevision.export import adoption, exporter
from edgevision.export.adoption import adopt_bundle
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.frames import golden_frames
from edgevision.export.golden import network_input
from edgevision.graph import adopt as adopting
from edgevision.graph.adopt import AdoptOptions
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel, load_recipe
from edgevision.verification.golden import verify_session
from tests.graph import networks
from tests.verification.random_models import KINDS, write_model

Model = onnx.ModelProto
Options = dict[str, Any]
"""Keyword arguments of the functions of `edgevision.graph.graft`."""

FRAME_WH = (160, 100)
NMS = NmsSpec(candidates=400, max_detections=100)
GRAFTS = ("graft_detector", "graft_instances", "graft_classifier", "graft_segmenter")


def quiet(_: str) -> None:
    """Progress that is discarded."""


def _adopted(head: str, frame_wh: tuple[int, int] | None, path: Path) -> Bundle:
    makers: dict[str, Callable[..., Model]] = {
        **networks.DETECTORS,
        "end2end": networks.end2end,
        "yolov8-obb": networks.yolov8_obb,
    }
    file = path.parent / f"{path.name}.onnx"
    onnx.save(makers[head](), file)
    names = ("yes", "no") if head == "end2end" else ("cat", "dog", "eel")
    options = AdoptOptions(nms=NMS, frame_wh=frame_wh, classes=names)
    return adopt_bundle(file, head, options, None, path, quiet)


def _quantized(path: Path) -> Bundle:
    """A file whose values are quantized at run time."""
    file = path.parent / f"{path.name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_model(KINDS["yolov8 quantized at run time"], file)
    return adopt_bundle(file, "yolov8", AdoptOptions(nms=NMS), None, path, quiet)


def _exported(recipe: str, size_wh: tuple[int, int], frame_wh: tuple[int, int] | None, path: Path) -> Bundle:
    options = ExportOptions(random_weights=True, size_wh=size_wh, frame_wh=frame_wh, nms=NMS)
    chosen = load_recipe(recipe)
    if chosen.task == "segment":
        untrained = functools.partial(_spread, chosen.untrained)
        chosen = dataclasses.replace(chosen, untrained=untrained)
    return export_bundle(chosen, options, path, quiet)


def _spread(untrained: Callable[[], SourceModel]) -> SourceModel:
    """A random segmenter that sees all of its classes: new ones answer the same class everywhere."""
    source = untrained()
    frames = FrameInput((96, 64))
    picture, _ = network_input(golden_frames(None, frames), frames, PixelFormat("rgb"))
    last = [layer for layer in source.module.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    source.module.eval()
    with torch.no_grad():
        logits = source.module(picture)
        scale = 1 / logits.std(dim=(0, 2, 3))
        last.weight *= scale.view(-1, 1, 1, 1)
        last.bias.copy_((last.bias - logits.mean(dim=(0, 2, 3))) * scale)
    return source


BASES: dict[str, Callable[[Path], Bundle]] = {
    "yolov8": functools.partial(_adopted, "yolov8", None),
    "yolov8 of camera frames": functools.partial(_adopted, "yolov8", FRAME_WH),
    "yolov8 quantized at run time": _quantized,
    "yolov8-obb": functools.partial(_adopted, "yolov8-obb", None),
    "yolox": functools.partial(_adopted, "yolox", None),
    "end2end": functools.partial(_adopted, "end2end", FRAME_WH),
    "yolov5": functools.partial(_exported, "yolov5", (128, 96), None),
    "yolov5-seg": functools.partial(_exported, "yolov5-seg", (128, 96), None),
    "resnet": functools.partial(_exported, "resnet", (64, 64), None),
    "unet": functools.partial(_exported, "unet", (96, 64), None),
    "unet of camera frames": functools.partial(_exported, "unet", (96, 64), FRAME_WH),
}


@dataclass(frozen=True)
class Fault:
    """A mistake of a conversion: in the options of a graft, in the code of its nodes, or in the finished graph."""

    base: str
    options: Callable[[Options], Options] = lambda options: options
    code: tuple[tuple[object, str, object], ...] = ()
    """Module, attribute and what replaces it while the graph is made."""
    graph: Callable[[Model], Model] = lambda model: model
    network: Callable[[Model], Model] = lambda model: model


@contextlib.contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """While open, every graph that is exported or adopted has the fault."""

    def wrapped(honest: Callable[..., Model]) -> Callable[..., Model]:
        def graft(network: Model, **options: Any) -> Model:
            with contextlib.ExitStack() as stack:
                for target, attribute, replacement in fault.code:
                    if isinstance(target, str):
                        stack.enter_context(mock.patch(f"{target}.{attribute}", replacement))
                    else:
                        stack.enter_context(mock.patch.object(target, attribute, replacement))
                return fault.graph(honest(fault.network(network), **fault.options(options)))

        return graft

    with contextlib.ExitStack() as stack:
        for module in (adopting, exporter):
            for name in GRAFTS:
                if hasattr(module, name):
                    stack.enter_context(mock.patch.object(module, name, wrapped(getattr(module, name))))
        # Frames and graph stay those of the fault alone: no close-up by a faulty graph.
        stack.enter_context(mock.patch.object(exporter, "with_close_up", lambda graph, spec, frames: frames))
        stack.enter_context(mock.patch.object(adoption, "with_close_up", lambda graph, spec, frames: frames))
        yield


def planted_refusal(fault: Fault, folder: Path) -> str:
    """The error of an export with the fault; empty if it passes."""
    with planted(fault):
        try:
            BASES[fault.base](folder / "faulty")
        except VerificationError as error:
            return str(error)
    return ""


class OutputsAlone(Session):
    """A session that returns its outputs and shows nothing else, as an engine of TensorRT."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner.spec, inner.info)
        self.inner = inner

    def _infer(self, frames: Frames) -> Outputs:
        return self.inner.infer(frames)


class _CaughtGraph(Exception):  # noqa: N818  # stops the export where the graph is made
    pass


def faulty_graph(fault: Fault, folder: Path) -> Path:
    """The graph with the fault, before verification."""
    found: list[Model] = []

    def keep(graph: Model, *_: object, **__: object) -> None:
        found.append(graph)
        raise _CaughtGraph

    with (
        planted(fault),
        mock.patch.object(exporter, "verify_graph", keep),
        mock.patch.object(adoption, "verify_graph", keep),
        contextlib.suppress(_CaughtGraph),
    ):
        BASES[fault.base](folder / "faulty")
    file = folder / "faulty.model.onnx"
    onnx.save(found[0], file)
    return file


@functools.cache
def honest_golden(base: str) -> Golden:
    """Golden frames of a base without a fault."""
    with tempfile.TemporaryDirectory() as folder, planted(Fault(base)):
        return BASES[base](Path(folder) / "honest").golden()


def refused_by_outputs(fault: Fault, folder: Path) -> str:
    """Failures of an engine with the fault that shows only its outputs; empty if it passes."""
    with open_session(faulty_graph(fault, folder), engine="onnxruntime") as session:
        record = verify_session(OutputsAlone(session), honest_golden(fault.base))
    return record.failures
