"""YOLOv5n at 640 on the street video: stages, frames/s compared with inference alone, and NMS in the graph.

Run from a checkout with the test data: ``python benchmarks/pipeline.py``. Exit code 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgevision.benchmark.bench import Subject, prepared_batches
from edgevision.benchmark.record_files import read_record
from edgevision.benchmark.timing import Samples
from edgevision.bundle.folder import Bundle
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.sources.opening import open_source

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
LEAST_RATIO = 0.9
MOST_HOST_MS = 2.0
MOST_SUPPRESSION_MS = 2.5
CANDIDATES = 300


def edgevision(*arguments: object) -> None:
    """Run a command in its own process, so that memory of other commands does not affect its figures."""
    done = subprocess.run([sys.executable, "-m", "edgevision", *map(str, arguments)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def export_yolov5n(scratch: Path, *arguments: object) -> Path:
    """Export the official checkpoint; returns the bundle's path."""
    bundle = scratch / "-".join(["yolov5n", *map(str, arguments)])
    edgevision("export", "yolov5", "--checkpoint", DATA / "weights" / "yolov5n.pt", *arguments, "-o", bundle)
    return bundle


def bare_network(graph: Path) -> onnx.ModelProto:
    """The graph without post-processing: its outputs are the inputs of the nodes of ``post/``."""
    model = onnx.load(graph)
    after = [node for node in model.graph.node if node.name.startswith("post/")]
    before = [node for node in model.graph.node if not node.name.startswith("post/")]
    made = {name for node in before for name in node.output}
    cut = sorted({name for node in after for name in node.input} & made)
    del model.graph.node[:]
    del model.graph.output[:]
    model.graph.node.extend(before)
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in cut
    )
    used = {name for node in before for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def post_processing_ms(bundle: Path, video: Path, seconds: float) -> tuple[float, float, int]:
    """Median cost of decoding and NMS in the graph, its inter-quartile range, and the number of pairs.

    The whole graph and the bare network run alternately on the same frames; each pair gives one difference.
    """
    graph = Bundle.open(bundle).graph_path("float")
    settings = ort.SessionOptions()
    # Threads of one session that spin after its run would take a core from the other session.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    whole, bare = (
        ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        for model in (str(graph), bare_network(graph).SerializeToString())
    )
    with open_session(bundle, engine="onnxruntime") as session:
        frames, _ = prepared_batches(Subject(session, None, SessionOptions(), lambda: open_source(video)))
    differences_ns: list[int] = []
    began = time.perf_counter()
    number = 0
    while time.perf_counter() - began < seconds or number < 40:
        feed = {"frames": frames[number % len(frames)]}
        stamps_ns = [time.perf_counter_ns()]
        # The order alternates, so that neither always benefits from the caches filled by the other.
        for run in (whole, bare) if number % 2 else (bare, whole):
            run.run(None, feed)
            stamps_ns.append(time.perf_counter_ns())
        first_ns, second_ns = Samples.between(stamps_ns).values_ns
        if number >= 6:  # warm-up
            differences_ns.append(first_ns - second_ns if number % 2 else second_ns - first_ns)
        number += 1
    low, middle, high = np.percentile(differences_ns, [25, 50, 75]) / 1e6
    return float(middle), float(high - low), len(differences_ns)


def main() -> None:
    """Measure, print the figures and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="minimum time of each phase")
    parser.add_argument(
        "--rounds", type=int, default=10, help="paired rounds of end to end and inference alone"
    )
    parser.add_argument("--json", type=Path, help="write the record to this file")
    arguments = parser.parse_args()
    video = DATA / "video" / "vtest.avi"
    with tempfile.TemporaryDirectory(prefix="edgevision-benchmark-") as folder:
        scratch = Path(folder)
        record_file = arguments.json or scratch / "bench.json"
        settings = ["--seconds", arguments.seconds, "--rounds", arguments.rounds, "--record", record_file]
        edgevision("bench", export_yolov5n(scratch), "--source", video, "--engine", "onnxruntime", *settings)
        record = read_record(record_file)
        few = export_yolov5n(scratch, "--pre-nms-topk", CANDIDATES)
        post_ms, spread_ms, pairs = post_processing_ms(few, video, arguments.seconds)
    print(f"decoding and NMS in the graph, {CANDIDATES} candidates: {post_ms:.2f} ms")
    print(
        f"  (median of {pairs} pairs of whole graph and bare network; inter-quartile range {spread_ms:.2f} ms)"
    )
    stages = {stage.name: stage.p50_ms for stage in record.stages}
    host_ms = stages["prepare"] + stages["results"]
    claims = (
        (f"end to end over inference alone >= {LEAST_RATIO}", record.end_to_end_ratio >= LEAST_RATIO),
        (f"prepare + results {host_ms:.2f} ms < {MOST_HOST_MS}", host_ms < MOST_HOST_MS),
        (f"NMS {post_ms:.2f} ms < {MOST_SUPPRESSION_MS}", post_ms < MOST_SUPPRESSION_MS),
        ("stages add up to wall time within 5 %", abs(record.stages_share - 1) <= 0.05),
    )
    print()
    for text, holds in claims:
        print(f"{'ok  ' if holds else 'FAIL'}  {text}")
    sys.exit(0 if all(holds for _, holds in claims) else 1)


if __name__ == "__main__":
    main()
