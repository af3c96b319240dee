"""Checkpoints of the Ultralytics package: raw outputs, finished graphs and TensorRT-RTX engines, one row each.

``python -m benchmarks.ultralytics_table DIR`` takes every ``NAME.pt`` in DIR with the outputs of the original code in
``NAME.npz``: `image_bgr` of the network's size, `output0`, ... and for one-to-one heads `end2end0`. It prints

- the difference of raw outputs from the original code's, and the rounding of both: float32 against the float64 of the
  rebuilt model;
- for each of three graphs, exported without options, with a dynamic batch, and for frames of 1280x720, the difference
  of the finished graph from PyTorch on the golden frames, in float32 and with FP16's rounding;
- whether TensorRT-RTX builds it for SM 8.6 and 8.9 in both precisions, and the seconds it took.

Exit code 1 if a raw output differs by more than 0.01 px or 1e-4 and by more than four times its own rounding, or if a
graph lacks its FP16 form or is not built.
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
from tests.export.raw_outputs import Difference, RawComparison, compared

PIXELS, RELATIVE, NOISE = 0.01, 1e-4, 4
SMS = (86, 89)
PRECISIONS = ("float", "fp16")
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
    bundle = with_fp16(bundle, lambda line: print(f"  {file.stem}, {form}: {line}", flush=True))
    precisions = [graph.precision for graph in bundle.manifest.graphs]
    (record,) = bundle.graph("float").verifications
    row: dict[str, Any] = {"file": file.stem, "form": form, "float": differences(record)}
    if "fp16" in precisions:
        row["fp16"] = differences(bundle.graph("fp16").verifications[-1])
    row["builds"] = list(builds(bundle, precisions))
    row["holds"] = len(row["builds"]) == len(SMS) * len(PRECISIONS)
    return row


def differences(record: Verification) -> dict[str, float]:
    """The number of compared detections or frames, and the largest differences, by the names of the checks."""
    kept = (
        "compared",
        "difference of partners",
        "probabilit",
        "top-1",
        "mask",
        "keypoint",
        "raw outputs",
        "logit",
    )
    return {check.name: check.measured for check in record.checks if any(part in check.name for part in kept)}


def builds(bundle: Bundle, precisions: list[Any]) -> Iterator[dict[str, Any]]:
    """Build every graph for every compute capability."""
    library = load_library("tensorrt-rtx", "this table")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    for precision in precisions:
        request = EngineRequest(precision, SMS)
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
        found = {precision: row.get(precision, {}) for precision in PRECISIONS}
        shown = [f"{max(_worst(found[p]), default=float('nan')):.2g}" for p in PRECISIONS]
        built = {
            p: [f"{b['seconds']:.0f} s" for b in row["builds"] if b["precision"] == p] for p in PRECISIONS
        }
        lines.append([row["file"], row["form"], *shown, *(" ".join(built[p]) or "none" for p in PRECISIONS)])
    header = ["file", "graph", "from PyTorch", "in FP16", "RTX float, SM 8.6 8.9", "RTX FP16, SM 8.6 8.9"]
    print("\n".join(table(header, lines)), flush=True)


def _worst(found: dict[str, float]) -> list[float]:
    return [value for name, value in found.items() if "compared" not in name]


def main() -> None:
    """Measure every checkpoint, print the tables and check the claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", help="Names of the files to measure. Default: all.")
    parser.add_argument("--no-builds", action="store_true", help="Compare raw outputs only.")
    parser.add_argument("--record", type=Path)
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
    graphs = []
    for file in [] if arguments.no_builds else files:
        for form in FORMS:
            with tempfile.TemporaryDirectory(prefix="edgevision-table-") as folder:
                graphs.append(graph_row(file, form, Path(folder)))
            print_graphs(graphs[-1:])
    if graphs:
        print_graphs(graphs)
    if arguments.record:
        seconds = round(time.perf_counter() - began)
        content = {"cpu": device.cpu, "seconds": seconds, "raw": raw, "graphs": graphs}
        arguments.record.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(0 if all(row["holds"] for row in (*raw, *graphs)) else 1)


if __name__ == "__main__":
    main()
