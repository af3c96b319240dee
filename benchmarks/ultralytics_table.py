"""Checkpoints of the Ultralytics package: raw outputs, finished graphs and TensorRT-RTX engines, one row each.

``python -m benchmarks.ultralytics_table DIR`` takes every ``NAME.pt`` in DIR with the outputs of the original code in
``NAME.npz``: `image_bgr` of the network's size, `output0`, ... and for one-to-one heads `end2end0`. It prints

- the difference of raw outputs from the original code's, and the rounding of both: float32 against the float64 of the
  rebuilt model;
- for each of three graphs, exported without options, with a dynamic batch, and for frames of 1280x720, the difference
  of the finished graph from PyTorch on the golden frames, in float32 and with FP16's rounding; no figure if the FP16
  graph fails its verification;
- whether TensorRT-RTX builds it for SM 8.6 and 8.9 in both precisions, and the seconds it took.

Exit code 1 if a raw output differs by more than 0.01 px or 1e-4 and by more than four times its own rounding, or if a
graph is not built.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.proof import verify_engine
from edgevision.bundle.folder import Bundle, Verification
from edgevision.checkpoint.reading import read_checkpoint
from edgevision.cli.present import table
from edgevision.contract.spec import BatchRange
from edgevision.device.facts import device_facts
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.half import with_fp16
from edgevision.export.recognition import recipe_of
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationFrames
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import half_graph
from tests.builder.graphs import PHOTOGRAPHS
from tests.export.raw_outputs import Difference, RawComparison, compared

PIXELS, RELATIVE, NOISE = 0.01, 1e-4, 4
SMS = (86, 89)
PRECISIONS = ("float", "fp16")
COMPARED = "detections compared"
BOXES = "box difference of partners"
SCORES = ("score difference of partners", "score difference")
"""Of detections, and of a classifier's probabilities."""
FURTHER = ("share of partners' mask cells in just one", "keypoint difference of partners")
FORMS = {
    "static": ExportOptions(),
    "batch 1:2:4": ExportOptions(batch=BatchRange(1, 2, 4)),
    "frame 1280x720": ExportOptions(frame_wh=(1280, 720)),
}


def raw_row(name: str, one: RawComparison) -> dict[str, Any]:
    """Figures of one head, and whether they hold."""

    def within(pixels: float, relative: float) -> bool:
        return one.original.pixels <= pixels and one.original.relative <= relative

    noise = one.own_rounding
    return {
        "file": name,
        **asdict(one),
        "within": within(PIXELS, RELATIVE),
        "holds": within(max(PIXELS, NOISE * noise.pixels), max(RELATIVE, NOISE * noise.relative)),
    }


def graph_row(file: Path, form: str, folder: Path) -> dict[str, Any]:
    """Export one form, compare it and build it."""
    options = FORMS[form]
    given = ExportOptions(checkpoint=file, batch=options.batch, frame_wh=options.frame_wh)
    bundle = export_bundle(recipe_of(file), given, folder / "b", lambda _: None)
    said: list[str] = []
    bundle = with_fp16(bundle, said.append)
    kept = "fp16" in [graph.precision for graph in bundle.manifest.graphs]
    if not kept:  # it is built all the same
        model = with_named_nodes(onnx.load(bundle.graph_path("float")))
        magnitudes = probe_magnitudes(model, CalibrationFrames(PHOTOGRAPHS, bundle.spec.frames))
        bundle = bundle.add_graph("fp16", half_graph(model, magnitudes).model.SerializeToString())
    (record,) = bundle.graph("float").verifications
    row: dict[str, Any] = {"file": file.stem, "form": form, "float": differences(record)}
    if kept:
        row["fp16"] = differences(bundle.graph("fp16").verifications[-1])
    else:
        row["fp16 refused"] = said[-1]
    row["builds"] = list(builds(bundle))
    row["holds"] = len(row["builds"]) == len(SMS) * len(PRECISIONS)
    return row


def differences(record: Verification) -> dict[str, float]:
    """How many detections were compared, and their largest differences, by the names of the checks."""
    kept = {check.name: check.measured for check in record.checks}
    return {name: value for name, value in kept.items() if name in (COMPARED, BOXES, *SCORES, *FURTHER)}


def builds(bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Build every graph for every compute capability."""
    library = load_library("tensorrt-rtx", "this table")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    for precision in PRECISIONS:
        request = EngineRequest(precision, SMS)  # type: ignore[arg-type]  # of PRECISIONS
        for outcome in build_engines(bundle, library, request, watch, lambda b, e: verify_engine(b, e, None)):
            made = outcome.engine.manifest
            wanted = "float16" if precision == "fp16" else "float32"
            typed = sum(layer.count for layer in made.network_layers if layer.precision == wanted)
            yield {
                "precision": precision,
                "sm": made.sm,
                "seconds": round(made.build_s, 1),
                "bytes": made.plan.size_bytes,
                f"layers in {wanted}": typed,
            }


def _pair(value: Difference) -> list[str]:
    return [f"{value.pixels:.2g}", f"{value.relative:.2g}"]


def print_raw(rows: list[dict[str, Any]], found: list[RawComparison]) -> None:
    """The first table."""
    lines = []
    for row, one in zip(rows, found, strict=True):
        figures = [*_pair(one.original), *_pair(one.own_rounding), *_pair(one.original_rounding)]
        lines.append([row["file"], one.task, one.head, *figures, "yes" if row["within"] else "no"])
    header = ["file", "task", "head", "px", "rel", "own px", "own rel", "its px", "its rel", "0.01 px, 1e-4"]
    print("\n".join(table(header, lines)), flush=True)


def print_graphs(rows: list[dict[str, Any]]) -> None:
    """The second table."""
    lines = []
    for row in rows:
        figures: list[str] = []
        for found in (row["float"], row.get("fp16", {})):
            scores = [found[name] for name in SCORES if name in found]
            figures += [_shown(found.get(BOXES)), _shown(max(scores, default=None))]
        built = {p: [f"{b['seconds']:.0f}" for b in row["builds"] if b["precision"] == p] for p in PRECISIONS}
        compared_count = row["float"].get(COMPARED)
        count = "-" if compared_count is None else f"{compared_count:.0f}"
        lines.append(
            [row["file"], row["form"], count, *figures, *(" ".join(built[p]) or "none" for p in PRECISIONS)]
        )
    header = [
        "file",
        "graph",
        "compared",
        "box",
        "score",
        "FP16 box",
        "FP16 score",
        "RTX float s",
        "RTX FP16 s",
    ]
    print("\n".join(table(header, lines)), flush=True)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def main() -> None:
    """Measure every checkpoint, print the tables and check the claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", help="Names of the files to measure. Default: all.")
    parser.add_argument("--no-builds", action="store_true", help="Compare raw outputs only.")
    parser.add_argument("--record", type=Path, help="Write the figures to this file after every graph.")
    parser.add_argument(
        "--resume", action="store_true", help="Keep the graphs of --record, and measure the others."
    )
    arguments = parser.parse_args()
    device, began = device_facts(), time.perf_counter()
    print(f"{device.cpu}, {device.cores_usable:g} cores, {device.system}, Python {device.python}")
    files = sorted(f for f in arguments.folder.glob("*.pt") if not arguments.only or f.stem in arguments.only)
    found: list[RawComparison] = []
    raw: list[dict[str, Any]] = []
    for file in files:
        with np.load(file.with_suffix(".npz")) as arrays:
            heads = list(compared(read_checkpoint(file), arrays))
        found += heads
        raw += [raw_row(file.stem, one) for one in heads]
    print_raw(raw, found)
    cases = [(file, form) for form in FORMS for file in ([] if arguments.no_builds else files)]
    graphs = _earlier(arguments.record) if arguments.resume else []
    done = {(row["file"], row["form"]) for row in graphs}
    for file, form in cases:
        if (file.stem, form) in done:
            continue
        with tempfile.TemporaryDirectory(prefix="edgevision-table-") as folder:
            graphs.append(graph_row(file, form, Path(folder)))
        print_graphs(graphs[-1:])
        if arguments.record:
            content = {"cpu": device.cpu, "raw": raw, "graphs": graphs}
            arguments.record.write_text(json.dumps(content, indent=1) + "\n")
    if graphs:
        print_graphs(graphs)
    print(f"{len(graphs)} of {len(cases)} graphs in {time.perf_counter() - began:.0f} s")
    sys.exit(0 if all(row["holds"] for row in (*raw, *graphs)) else 1)


def _earlier(record: Path | None) -> list[dict[str, Any]]:
    """The rows of a record that was written before the run ended."""
    if record is None or not record.is_file():
        return []
    rows: list[dict[str, Any]] = json.loads(record.read_text())["graphs"]
    return rows


if __name__ == "__main__":
    main()
