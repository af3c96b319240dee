"""The files that the peers run, all with the weights of one checkpoint."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks.peers.environments import (
    Environment,
    FailedStepError,
    Setup,
    child_variables,
    open_environment,
    run_step,
)
from edgevision.storage import atomic

SIZE = 640
UNTRAINED_IMAGES = 16
"""For calibration and search of a network with random weights, whose accuracy has no meaning."""
YOLOV5_COLUMNS = 5
"""Columns of YOLOv5's output before those of the classes: box and objectness."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint to measure."""

    name: str
    checkpoint: str
    """Path in the folder of data."""
    family: str
    """`yolov5` or `ultralytics`: the package of its exporter."""
    trained: bool = True
    """False: random weights, so AP is not measured."""


MODELS = (
    Model("yolov5n", "weights/yolov5n.pt", "yolov5"),
    Model("yolo11n", "ultralytics/yolo11n.full.pt", "ultralytics", trained=False),
)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Folders and time limits of the preparation."""

    work: Path
    data: Path
    setup: Setup
    images: int
    """Number of images from `coco/train` for the search of the INT8 graph."""
    reuse: bool = False
    """Use files that an earlier run has made."""

    def run(self, command: list[str], where: Path) -> None:
        """Run a step in the folder `where`."""
        run_step(command, self.setup.timeout_s, where, child_variables(self.work))


File = Path | str
"""A file, or the reason why there is none."""


LISTED = "files.json"
"""The finished files of a model, by kind, relative to its folder."""
NEEDS = {"int8": "bundle", "columns": "raw"}
"""Kinds of files that are made from another kind."""


def prepared(model: Model, kinds: set[str], place: Workplace) -> dict[str, File]:
    """The files of a model, by their kind; a failed step gives the reason in place of the file."""
    folder = place.work / model.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{model.name}.pt"
    shutil.copyfile(place.data / model.checkpoint, checkpoint)
    steps: dict[str, Callable[[], Path]] = {
        "bundle": lambda: exported_bundle(checkpoint, place),
        "int8": lambda: int8_bundle(model, place),
        "raw": lambda: raw_graph(model, checkpoint, place),
        "columns": lambda: graph_for_ultralytics(model, folder, place),
        "openvino": lambda: openvino_folder(model, checkpoint, place),
        "engine": lambda: engine_file(model, checkpoint, place),
    }
    wanted = kinds | {NEEDS[kind] for kind in kinds if kind in NEEDS}
    files: dict[str, File] = {**_earlier(folder)} if place.reuse else {}
    for kind, step in steps.items():
        if kind not in wanted or kind in files:
            continue
        print(f"  {model.name}: {kind}", flush=True)
        try:
            files[kind] = step()
        except FailedStepError as error:
            files[kind] = str(error)
            print(f"    {error}", flush=True)
        made = {name: str(file.relative_to(folder)) for name, file in files.items() if isinstance(file, Path)}
        atomic.write_file(folder / LISTED, json.dumps(made, indent=1).encode())
    return files


def _earlier(folder: Path) -> dict[str, Path]:
    """Files of an earlier run that still exist."""
    listed = folder / LISTED
    made: dict[str, str] = json.loads(listed.read_text()) if listed.exists() else {}
    return {kind: folder / name for kind, name in made.items() if (folder / name).exists()}


def exported_bundle(checkpoint: Path, place: Workplace) -> Path:
    """Export with edgevision, and let `verify` measure the engines in the environment."""
    bundle = checkpoint.parent / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    options = ["--iou", "0.45", "--no-fp16", "-o", str(bundle)]
    place.run([sys.executable, "-m", "edgevision", "export", str(checkpoint), *options], checkpoint.parent)
    _verify(bundle, place)
    return bundle


def _verify(bundle: Path, place: Workplace) -> None:
    python = open_environment("edgevision", place.setup).python
    place.run([str(python), "-m", "edgevision", "verify", str(bundle)], bundle.parent)


def int8_bundle(model: Model, place: Workplace) -> Path:
    """Quantize as docs/quantize.md does; the search takes minutes."""
    folder = place.work / model.name
    bundle = folder / "bundle"
    if not bundle.is_dir():
        raise FailedStepError("there is no float bundle to quantize")
    images = place.images if model.trained else UNTRAINED_IMAGES
    made, coco = folder / "int8", place.data / "coco"
    shutil.rmtree(made, ignore_errors=True)
    options = ["--precision", "int8", "--max-drop", "0.5", "--calib", str(coco / "calib"), "-o", str(made)]
    options += ["--calib-images", str(min(128, images))]
    for part, limit in (("calib", min(128, images)), ("train", images)):
        options += ["--eval-images", str(coco / part), "--annotations", str(coco / f"{part}.json")]
        options += ["--eval-limit", str(limit)]
    place.run([sys.executable, "-m", "edgevision", "quantize", str(bundle), *options], folder)
    _verify(made, place)
    return made


def raw_graph(model: Model, checkpoint: Path, place: Workplace) -> Path:
    """The ONNX file of the checkpoint's own exporter: the outputs before NMS."""
    if model.family == "yolov5":
        _yolov5_export(checkpoint, "onnx", place)
    else:
        _ultralytics_export(checkpoint, "onnx", place)
    return checkpoint.with_suffix(".onnx")


def _yolov5_export(checkpoint: Path, target: str, place: Workplace) -> None:
    python = open_environment("yolov5", place.setup).python
    program = place.setup.program / "export.py"
    options = ["--weights", checkpoint.name, "--include", target, "--imgsz", str(SIZE)]
    place.run([str(python), str(program), *options], checkpoint.parent)


def _ultralytics_export(checkpoint: Path, target: str, place: Workplace) -> None:
    environment: Environment = open_environment("ultralytics", place.setup)
    yolo = environment.python.parent / "yolo"
    options = [f"model={checkpoint.name}", f"format={target}", f"imgsz={SIZE}"]
    place.run([str(yolo), "export", *options], checkpoint.parent)


def graph_for_ultralytics(model: Model, folder: Path, place: Workplace) -> Path:
    """The raw graph in the form that the Ultralytics package reads: columns `[1,4+C,N]` without objectness."""
    raw = folder / f"{model.name}.onnx"
    if not raw.is_file():
        raise FailedStepError("there is no ONNX file of the model")
    if model.family == "ultralytics":
        return raw
    file = folder / f"{model.name}-columns.onnx"
    onnx.save(with_columns(onnx.load(raw), class_names(place.data / "coco")), file)
    return file


def class_names(coco: Path) -> list[str]:
    """COCO's class names in the order of the labels."""
    categories = json.loads((coco / "eval.json").read_text())["categories"]
    return [one["name"] for one in sorted(categories, key=lambda one: int(one["id"]))]


def with_columns(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """YOLOv5's rows `[1,N,5+C]` as columns `[1,4+C,N]`, with class scores times objectness."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    (rows, *_) = graph.output
    _, count, width = (dimension.dim_value for dimension in rows.type.tensor_type.shape.dim)
    edges = {"box_start": 0, "box_end": 4, "class_start": YOLOV5_COLUMNS, "class_end": width, "axis": 2}
    for name, value in edges.items():
        graph.initializer.append(helper.make_tensor(f"columns/{name}", TensorProto.INT64, [1], [value]))

    def part(name: str, start: str, end: str) -> onnx.NodeProto:
        inputs = [rows.name, f"columns/{start}", f"columns/{end}", "columns/axis"]
        return helper.make_node("Slice", inputs, [f"columns/{name}"], name=f"columns/slice_{name}")

    graph.node.extend(
        [
            part("box", "box_start", "box_end"),
            part("objectness", "box_end", "class_start"),
            part("classes", "class_start", "class_end"),
            helper.make_node("Mul", ["columns/classes", "columns/objectness"], ["columns/scores"]),
            helper.make_node("Concat", ["columns/box", "columns/scores"], ["columns/rows"], axis=2),
            helper.make_node("Transpose", ["columns/rows"], ["columns"], perm=[0, 2, 1]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("columns", TensorProto.FLOAT, [1, width - 1, count]))
    del changed.metadata_props[:]
    facts = {
        "stride": 32,
        "task": "detect",
        "batch": 1,
        "imgsz": [SIZE, SIZE],
        "names": dict(enumerate(names)),
    }
    helper.set_model_props(changed, {name: str(value) for name, value in facts.items()})
    return changed


def openvino_folder(model: Model, checkpoint: Path, place: Workplace) -> Path:
    """The OpenVINO files of the checkpoint's own exporter."""
    export = _yolov5_export if model.family == "yolov5" else _ultralytics_export
    export(checkpoint, "openvino", place)
    return checkpoint.with_name(f"{checkpoint.stem}_openvino_model")


def engine_file(model: Model, checkpoint: Path, place: Workplace) -> Path:
    """The TensorRT engine of the Ultralytics package; needs a GPU and TensorRT in its environment."""
    if model.family != "ultralytics":
        raise FailedStepError("the Ultralytics package does not read YOLOv5's checkpoints")
    _ultralytics_export(checkpoint, "engine", place)
    return checkpoint.with_suffix(".engine")


NO_GPU = "this machine has no NVIDIA GPU"
