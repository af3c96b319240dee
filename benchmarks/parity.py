"""Accuracy of PyTorch, the exported graph and every engine, one row each.

    python benchmarks/parity.py yolov5 --checkpoint street.safetensors --images coco/eval --annotations coco/eval.json
    python benchmarks/parity.py resnet --checkpoint RUN --images cifar10/test
    python benchmarks/parity.py unet --checkpoint RUN --images camvid/val/images --annotations camvid/val/masks
    python benchmarks/parity.py yolov5-seg --checkpoint RUN --images train/images --annotations train.json

The PyTorch row uses OpenCV for pre-processing and plain code for decoding and NMS, without the graph. "ONNX Runtime,
bare" runs the graph with the letterbox only, without a session of this package. Exit code 1 if a figure is more than
0.2 points from PyTorch's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime

from edgevision.contract.results import Instances, Outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.engines.opening import open_session
from edgevision.errors import MissingExtraError
from edgevision.evaluation import classification, detection, segmentation
from edgevision.export.exporter import ExportOptions, export_bundle, source_session
from edgevision.models.recipe import load_recipe

LIMIT_POINTS = 0.2


class BareOnnxRuntime(Session):
    """The graph in plain ONNX Runtime."""

    def __init__(self, graph: Path, spec: ModelSpec) -> None:
        super().__init__(spec, EngineInfo("bare", f"ONNX Runtime {onnxruntime.__version__}, bare", "cpu"))
        self._session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])

    def _infer(self, frames: Frames) -> Outputs:
        return tuple(self._session.run([o.name for o in self.spec.outputs], {"frames": frames}))


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled images of the evaluation."""

    images: Path
    annotations: Path | None
    limit: int | None


def figures(session: Session, labels: Labels) -> dict[str, float]:
    """The metrics of the task in percent."""
    task, classes = session.spec.task, session.spec.classes
    if task == "classify":
        found = classification.read_class_folders(labels.images, classes, limit=labels.limit)
        answers = list(classification.classify_all(session, found))
        return {"top-1": classification.accuracy_from_scores(classes, answers).top1}
    if labels.annotations is None:
        raise SystemExit(f"--annotations is required for {task}")
    if task == "segment":
        pairs = segmentation.find_masks(labels.images, labels.annotations, limit=labels.limit)
        masks = segmentation.accuracy_from_masks(classes, segmentation.segment_all(session, pairs))
        return {"mIoU": masks.miou}
    labelled = detection.read_annotations(labels.annotations, labels.images, classes, limit=labels.limit)
    detected = list(detection.detect_all(session, labelled))
    boxes = detection.accuracy_from_detections(labelled, detected)
    row = {"AP": boxes.ap, "AP50": boxes.ap50}
    instances = [(image, result) for image, result in detected if isinstance(result, Instances)]
    if instances:
        outlines = detection.accuracy_from_instances(labelled, instances)
        row |= {"mask AP": outlines.ap, "mask AP50": outlines.ap50}
    return row


def sessions(name: str, options: ExportOptions, folder: Path) -> Iterator[Session]:
    """PyTorch, the bare graph and every installed engine, each with the NMS settings of the protocol."""
    recipe = load_recipe(name)
    source = source_session(recipe, options)
    if source.spec.nms is not None:
        protocol = replace(
            source.spec.nms, iou_threshold=detection.PROTOCOL_IOU, score_floor=detection.PROTOCOL_FLOOR
        )
        options = replace(options, nms=protocol)
        source = source_session(recipe, options)
    yield source
    bundle = export_bundle(recipe, options, folder / "bundle", lambda _: None)
    yield BareOnnxRuntime(bundle.graph_path(), bundle.spec)
    for engine in ("onnxruntime", "openvino"):
        try:
            yield open_session(bundle.path, engine=engine, options=SessionOptions())
        except MissingExtraError:
            continue


def report(rows: Sequence[tuple[str, dict[str, float]]]) -> bool:
    """Print the table; True if every figure is within the limit of PyTorch's."""
    names = list(rows[0][1])
    print(f"{'':28}" + "".join(f"{name:>12}" for name in names))
    for library, row in rows:
        print(f"{library:28}" + "".join(f"{row[name]:12.2f}" for name in names))
    worst = max(abs(row[name] - rows[0][1][name]) for _, row in rows for name in names)
    good = worst <= LIMIT_POINTS
    print(
        f"{'ok   ' if good else 'FAIL '} largest distance from PyTorch {worst:.3f} points (<= {LIMIT_POINTS})"
    )
    return good


def main() -> int:
    """Measure one model in PyTorch and in every engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint file or run folder")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    labels = Labels(options.images, options.annotations, options.limit)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for session in sessions(options.recipe, ExportOptions(checkpoint=options.checkpoint), Path(folder)):
            with session:
                rows.append((session.info.library, figures(session, labels)))
                print(f"{rows[-1][0]}: {rows[-1][1]}", file=sys.stderr)
    return 0 if report(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
