"""Adopts a third-party ONNX model: adds the graph contract to it."""

from __future__ import annotations

import ast
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import onnx

import edgevision
from edgevision.contract.spec import (
    BatchRange,
    Fit,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
    problem_of_size,
    utc_now,
)
from edgevision.errors import GraphError
from edgevision.graph.coco import COCO_CLASSES
from edgevision.graph.contract import attach_metadata, check_contract, load_model, prepare_network
from edgevision.graph.conventions import (
    CLASSIFIER,
    DETECTORS,
    HEADS,
    IMAGENET_CROP,
    IMAGENET_PIXELS,
    known_heads,
)
from edgevision.graph.first_run import TIMEOUT_S, require_an_end
from edgevision.graph.graft import classifier_classes, graft_classifier, graft_detector
from edgevision.graph.heads.head import DetectionHead, NetworkFacts
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.simplify import simplify
from edgevision.graph.surgery import describe_value, inferred_outputs, network_input, set_input, walk
from edgevision.storage.sha256 import sha256_of_file


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """The user's choices; None leaves a choice to the file and to its head's convention."""

    classes: tuple[str, ...] | None = None
    pixels: PixelFormat | None = None
    fit: Fit | None = None
    size_wh: tuple[int, int] | None = None
    """The network's input size; required if the file leaves it open."""
    frame_wh: tuple[int, int] | None = None
    """Camera size, if the graph should scale frames."""
    batch: BatchRange | None = None
    nms: NmsSpec = NmsSpec()
    timeout_s: float = TIMEOUT_S
    """Time limit for the first inference of a file with loops."""
    tensorrt: tuple[str, ...] = ()
    """TensorRT versions, as `graph.limits` names them, that must be able to read the graph."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A graph of the contract with the decisions behind it, for a comparison with the original file."""

    model: onnx.ModelProto
    spec: ModelSpec
    network_size_wh: tuple[int, int]
    pixels: PixelFormat
    fit: Fit
    """The fit of a frame to `network_size_wh`, by the host or in the graph."""
    head: DetectionHead | None
    """None for a classifier."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The parsed file with its known facts."""

    path: Path
    head: str
    network: onnx.ModelProto
    facts: NetworkFacts
    task: str | None
    """The task in the metadata of Ultralytics' exports."""
    classes: tuple[str, ...] | None
    options: AdoptOptions
    batch: BatchRange

    def frames(self, fit: Fit, crop_fraction: float) -> FrameInput:
        """Frames that the graph takes: of the network's size, or of the camera's."""
        if self.options.frame_wh is None:
            return FrameInput(self.facts.size_wh, fit, crop_fraction=crop_fraction, batch=self.batch)
        return FrameInput(self.options.frame_wh, "exact", crop_fraction=crop_fraction, batch=self.batch)

    def names(self, count: int) -> tuple[str, ...]:
        """Class names: the user's, the file's, COCO's for 80 classes, else numbers."""
        numbers = COCO_CLASSES if count == len(COCO_CLASSES) else tuple(map(str, range(count)))
        return self.classes or numbers

    def provenance(self) -> Provenance:
        """Origin of the graph."""
        packages = ("onnx", "onnxslim", "numpy")
        found = tuple((package, importlib.metadata.version(package)) for package in packages)
        return Provenance(
            source=self.path.name,
            source_sha256=sha256_of_file(self.path),
            recipe=f"adopted: {self.head}",
            created=utc_now(),
            versions=(("edgevision", edgevision.__version__), *found),
        )

    def not_recognised(self) -> GraphError:
        """The error that lists the actual outputs and the known heads."""
        seen = "\n".join(f"  {output}" for output in self.facts.outputs)
        named = f" and names {len(self.classes)} classes" if self.classes else ""
        task = f" The task in the file is {self.task!r}." if self.task else ""
        fitting = [name for name, other in DETECTORS.items() if other.recognise(self.facts) is not None]
        hint = f"\nHeads that match these shapes: {', '.join(fitting)}" if fitting else ""
        return GraphError(
            f"the outputs of {self.path.name} do not match head {self.head!r}.{task}\n"
            f"It takes {self.facts.size_wh[0]}x{self.facts.size_wh[1]}{named}; its outputs:\n{seen}\n"
            f"Heads with their expected outputs:\n{known_heads()}{hint}"
        )


def adopt(path: Path, head: str, options: AdoptOptions | None = None) -> Adoption:
    """Add the contract to an ONNX file; `head` is one of `conventions.HEADS`.

    Raises `GraphError` if the file cannot be read, or its outputs do not match that head. The message then lists the
    actual outputs and the known heads.
    """
    options = options or AdoptOptions()
    if head not in HEADS:
        raise GraphError(f"unknown head {head!r}. Heads with their expected outputs:\n{known_heads()}")
    model = load_model(path)
    network = prepare_network(model)
    size_wh, batch = _size(network, options.size_wh), _batch(network, options.batch)
    set_input(network.graph, size_wh, batch)
    require_an_end(network, path.name, options.timeout_s)
    network = simplify(network)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    classes = options.classes or _names(metadata.get("names"))
    operators = frozenset(node.op_type for graph in walk(network.graph) for node in graph.node)
    facts = NetworkFacts(inferred_outputs(network), size_wh, len(classes) if classes else None, operators)
    source = _Source(path, head, network, facts, metadata.get("task"), classes, options, batch)
    return _classifier(source) if head == CLASSIFIER else _detector(source)


def _detector(source: _Source) -> Adoption:
    options, facts = source.options, source.facts
    convention = DETECTORS[source.head]
    head = convention.recognise(facts) if source.task in (None, "detect") else None
    if head is None:
        raise source.not_recognised()
    if not head.class_count:
        raise GraphError(
            f"finished boxes do not show the number of classes, and {source.path.name} has no class names; use"
            " --class-names FILE"
        )
    pixels, fit = options.pixels or convention.pixels, options.fit or convention.fit
    frames = source.frames(fit, 1.0)
    model = graft_detector(
        source.network,
        head=head,
        pixels=pixels,
        frames=frames,
        network_size_wh=facts.size_wh,
        nms=options.nms,
        network_fit=fit,
    )
    outputs = detect_outputs(options.nms.max_detections)
    classes = source.names(head.class_count)
    spec = ModelSpec(source.path.stem, "detect", frames, outputs, classes, source.provenance(), options.nms)
    return _finished(Adoption(model, spec, facts.size_wh, pixels, fit, head))


def _classifier(source: _Source) -> Adoption:
    options, facts = source.options, source.facts
    count = classifier_classes(facts.outputs[0]) if len(facts.outputs) == 1 else None
    if count is None or facts.class_count not in (None, count) or source.task not in (None, "classify"):
        raise source.not_recognised()
    # Classifiers whose files name their task take plain 0..1 and the whole of the shorter side.
    pixels = options.pixels or (PixelFormat("rgb") if source.task else IMAGENET_PIXELS)
    fit = options.fit or "center-crop"
    frames = source.frames(fit, 1.0 if source.task else IMAGENET_CROP)
    model = graft_classifier(
        source.network, pixels=pixels, frames=frames, network_size_wh=facts.size_wh, network_fit=fit
    )
    outputs, classes = classify_outputs(count), source.names(count)
    spec = ModelSpec(source.path.stem, "classify", frames, outputs, classes, source.provenance())
    return _finished(Adoption(model, spec, facts.size_wh, pixels, fit, None))


def _finished(adoption: Adoption) -> Adoption:
    attach_metadata(adoption.model, adoption.spec)
    check_contract(adoption.model, adoption.spec)
    return adoption


def _size(model: onnx.ModelProto, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """The network's input size: the file's own, or `wanted` if the file leaves it open."""
    value = describe_value(network_input(model.graph))
    if len(value.shape) != 4 or value.shape[1] not in (3, None):
        raise GraphError(f"the network's input is {value}; expected float32 [B, 3, H, W]")
    height, width = value.shape[2:]
    if wanted is None and (width is None or height is None):
        raise GraphError(f"the network takes images of any size ({value}); choose one with --size WxH")
    size_wh = wanted or (width or 0, height or 0)
    problem = problem_of_size(size_wh)
    if problem is not None:
        raise GraphError(f"{problem}: {value}")
    if width not in (None, size_wh[0]) or height not in (None, size_wh[1]):
        raise GraphError(f"expected the network's size {width}x{height}; received {size_wh[0]}x{size_wh[1]}")
    return size_wh


def _batch(model: onnx.ModelProto, wanted: BatchRange | None) -> BatchRange:
    length = describe_value(network_input(model.graph)).shape[0]
    return wanted or BatchRange(*[length or 1] * 3)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Class names from the metadata of Ultralytics' exports, a Python dict or list; None for anything else."""
    try:
        names = ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
