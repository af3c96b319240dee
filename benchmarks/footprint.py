"""Import time and resident memory of a run, with torch blocked.

``python benchmarks/footprint.py BUNDLE VIDEO``. Exit code 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from edgevision.device.facts import device_facts

PROCESSES = 15
MOST_IMPORT_MS = 150.0
MOST_RESIDENT_MIB = 300.0

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'lightning', 'openvino')));"
IMPORT = BLOCKED + "import time; t = time.perf_counter(); {what}; print((time.perf_counter() - t) * 1e3)"
RUN = (
    BLOCKED
    + """
from edgevision import open_session, open_source, run_pipeline
from edgevision.device.facts import peak_resident_mib, resident_mib
from edgevision.pipeline.options import PipelineOptions
session = open_session(sys.argv[1], engine="onnxruntime")
summary = run_pipeline(session, open_source(sys.argv[2]), options=PipelineOptions(limit=int(sys.argv[3])))
print(resident_mib(), peak_resident_mib(), summary.frames)
"""
)


def output_of(program: str, *arguments: str) -> list[float]:
    """Numbers printed by a fresh process."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def import_ms(what: str) -> float:
    """Median over fresh processes. The first one may write byte code and is not counted."""
    values = [output_of(IMPORT.format(what=what))[0] for _ in range(PROCESSES + 1)]
    return statistics.median(values[1:])


def main() -> None:
    """Measure, print the figures and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    device = device_facts()
    print(f"{device.cpu}, {device.cores_usable:g} cores, {device.system}, Python {device.python}")
    print(", ".join(f"{library.name} {library.value}" for library in device.libraries))
    bare_ms = import_ms("import edgevision")
    whole_ms = import_ms("from edgevision import open_session, open_source, run_pipeline")
    resident, peak, frames = output_of(RUN, arguments.bundle, arguments.video, str(arguments.frames))
    print(f"import edgevision: {bare_ms:.1f} ms; with everything a run needs: {whole_ms:.1f} ms")
    print(f"  (medians of {PROCESSES} fresh processes)")
    print(
        f"a run of {frames:.0f} frames, torch blocked: {resident:.0f} MiB resident, {peak:.0f} MiB at the peak"
    )
    claims = (
        (f"import edgevision {bare_ms:.1f} ms < {MOST_IMPORT_MS:g}", bare_ms < MOST_IMPORT_MS),
        (f"peak {peak:.0f} MiB < {MOST_RESIDENT_MIB:g}", peak < MOST_RESIDENT_MIB),
    )
    for text, holds in claims:
        print(f"{'ok  ' if holds else 'FAIL'}  {text}")
    sys.exit(0 if all(holds for _, holds in claims) else 1)


if __name__ == "__main__":
    main()
