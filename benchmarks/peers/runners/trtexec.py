"""TensorRT's `trtexec`: inference alone, without frames, pre-processing and NMS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

from benchmarks.peers.runners.job import peak_mib, read_job

FLAGS = ("--fp16", "--warmUp=1000", "--duration=10", "--useCudaGraph")


def throughput(output: str) -> float:
    """Inferences per second that trtexec printed; `ValueError` without them."""
    found = re.search(r"Throughput: ([0-9.]+) qps", output)
    if found is None:
        raise ValueError("trtexec printed no throughput")
    return float(found[1])


def main() -> None:
    """Measure."""
    job = read_job()
    program = shutil.which("trtexec") or shutil.which("trtexec", path="/usr/src/tensorrt/bin")
    if program is None:
        sys.exit("trtexec is neither on PATH nor in /usr/src/tensorrt/bin: install TensorRT's tools")
    command = [program, f"--onnx={job.model}", *FLAGS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"trtexec ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    rate = throughput(done.stdout)
    facts = {"engine": "trtexec", "flags": " ".join(FLAGS)}
    print(json.dumps({"frames": 0, "frames_per_s": rate, "peak_mib": peak_mib(), "facts": facts}))


if __name__ == "__main__":
    main()
