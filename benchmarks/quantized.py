"""INT8 within an accuracy budget, on images not used by the search, in every installed engine.

``python benchmarks/quantized.py BUNDLE --held IMAGES --held-annotations FILE -- QUANTIZE-OPTIONS``: quantizes a copy of
the bundle with the options of ``edgevision quantize``, then measures accuracy of both graphs on the held-out images and
their latencies in turns. Without ``--`` the bundle's own INT8 graph is measured. Exit code 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import Precision
from edgevision.device.facts import device_facts
from edgevision.engines.opening import open_session
from edgevision.errors import MissingExtraError
from edgevision.evaluation.bootstrap import Scores, paired_drop
from edgevision.quantize.record import read_record
from edgevision.quantize.search.latency import ENGINES, paired_speeds
from edgevision.quantize.search.trials import Trial, trial_for, trial_options
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image

MOST_SECONDS = 1200.0
LEAST_SHARE = 0.85
LEAST_SPEEDUP = 1.3
OTHER_ENGINES_MARGIN = 0.2
"""Points beyond the budget that an engine other than the reference may lose."""


def scores(bundle: Bundle, trial: Trial, engine: str, precision: Precision) -> Scores:
    """Scores of one graph in one engine on the held-out images."""
    options = replace(
        trial_options(bundle.spec, bundle.graph_path(precision)), precision=precision, force=True
    )
    with open_session(bundle.path, engine=engine, options=options) as session:
        return trial(session)


def judge(name: str, value: float, limit: float, *, at_most: bool) -> bool:
    """Print one claim; True if it holds."""
    holds = value <= limit if at_most else value >= limit
    print(
        f"{'ok    ' if holds else 'FAILED'} {name}: {value:.3g}, {'at most' if at_most else 'at least'} {limit:g}"
    )
    return holds


def measure(bundle: Bundle, arguments: argparse.Namespace) -> bool:
    """Measure accuracy and latency in each engine and check the claims."""
    record = read_record(bundle.path)
    trial = trial_for(bundle.spec, arguments.held, arguments.held_annotations, arguments.limit)
    reference = scores(bundle, trial, "onnxruntime", "float")
    kept = judge("share of the work in INT8", record.chosen.low_share, LEAST_SHARE, at_most=False)
    print(
        f"{reference.metric} in float, onnxruntime: {reference.whole:.2f} on {reference.images} held-out images"
    )
    for engine in ENGINES:
        try:
            drop = paired_drop([reference], [scores(bundle, trial, engine, "int8")])
        except MissingExtraError:
            continue
        limit = record.max_drop + (0 if engine == "onnxruntime" else OTHER_ENGINES_MARGIN)
        print(f"{reference.metric} drop in {engine}: {drop}")
        kept &= judge(f"drop in {engine}", drop.points, limit, at_most=True)
    files = sorted(path for path in arguments.held.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    frames = [read_image(path) for path in files[:8]]
    for speed in paired_speeds(bundle.path, "int8", frames, seconds=arguments.seconds):
        times = f"{speed.float_ms:.1f} ms in float, {speed.quantized_ms:.1f} ms in INT8"
        print(f"{speed.library}: {times}, x{speed.ratio:.2f}")
        if speed.engine == "openvino":
            kept &= judge("speed-up in openvino", speed.ratio, LEAST_SPEEDUP, at_most=False)
    return kept


def main() -> None:
    """Quantize if requested, measure, print the figures and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--held-annotations", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seconds", type=float, default=20.0)
    own, given = sys.argv[1:], []
    if "--" in own:
        own, given = own[: own.index("--")], own[own.index("--") + 1 :]
    arguments = parser.parse_args(own)
    device = device_facts()
    print(f"{device.cpu}, {device.cores_usable:g} cores, {device.system}, Python {device.python}")
    with tempfile.TemporaryDirectory(prefix="edgevision-quantized-") as folder:
        bundle, kept = Bundle.open(arguments.bundle), True
        if given:
            output = Path(folder) / bundle.path.name
            began = time.perf_counter()
            command = [sys.executable, "-m", "edgevision", "quantize", str(bundle.path), "-o", str(output)]
            subprocess.run([*command, "--precision", "int8", *given], check=True)
            kept = judge("seconds", time.perf_counter() - began, MOST_SECONDS, at_most=True)
            bundle = Bundle.open(output)
        kept &= measure(bundle, arguments)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
