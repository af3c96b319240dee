"""Peak resident memory of calibration must not grow with the number of images.

``python benchmarks/quantize_memory.py BUNDLE IMAGES``. Exit code 1 if the peak at the larger number of images is more
than 10 % above that at the smaller one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

MOST_GROWTH = 0.10

CALIBRATE = """
import sys
from pathlib import Path
from edgevision.bundle.folder import Bundle
from edgevision.device.facts import peak_resident_mib
from edgevision.graph.contract import load_model
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationFrames, calibrate
from edgevision.quantize.placement import placement_by_modelopt
bundle = Bundle.open(sys.argv[1])
model = with_named_nodes(load_model(bundle.graph_path()))
frames = CalibrationFrames(Path(sys.argv[2]), bundle.spec.frames, int(sys.argv[3]))
placement = placement_by_modelopt(model, next(iter(frames)))
before = peak_resident_mib()
ranges = calibrate(model, placement.tensors, frames, sys.argv[4])
print(ranges.images, len(ranges.thresholds), before, peak_resident_mib())
"""


def peak_mib(bundle: str, images: str, count: int, method: str) -> float:
    """Calibrate on `count` images in a fresh process; prints and returns its peak memory."""
    began = time.perf_counter()
    command = [sys.executable, "-c", CALIBRATE, bundle, images, str(count), method]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    used, tensors, before, peak = (float(word) for word in done.stdout.split()[-4:])
    print(
        f"{used:.0f} images, {tensors:.0f} tensors, {method}: peak resident {peak:.0f} MiB ({before:.0f} MiB before"
        f" calibration), {time.perf_counter() - began:.0f} s"
    )
    return peak


def main() -> None:
    """Measure, print the figures and check the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("images")
    parser.add_argument("--counts", type=int, nargs=2, default=(64, 512))
    parser.add_argument("--method", default="percentile")
    arguments = parser.parse_args()
    peaks = [peak_mib(arguments.bundle, arguments.images, n, arguments.method) for n in arguments.counts]
    growth = peaks[1] / peaks[0] - 1
    kept = growth <= MOST_GROWTH
    verdict = "ok" if kept else "FAILED"
    print(f"{verdict}: {100 * growth:+.1f} % from {arguments.counts[0]} to {arguments.counts[1]} images")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
