"""Runs `edgevision fleet bench` on three local nodes of Ray, and kills one while it measures.

``python -m tests.fleet.three_nodes FOLDER`` writes the command's output, errors and exit code, and the seconds after
the kill, to FOLDER/result.json. It is a process of its own: Ray's test cluster leaves open files and children.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

PATIENCE_S = 240


def main(folder: Path) -> None:
    """Start the nodes, run the command, and kill the second node after its self-test."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # its name in Ray; else other programs hold the workers up
    fleet = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [fleet.add_node(num_cpus=1, resources={f"board-{n}": 1}) for n in range(3)]
        options = ["--engine", "onnxruntime", "--threads", "1", "--rounds", "1", "--seconds", "3"]
        files = ["--records", str(folder / "records"), "--html", str(folder / "fleet.html")]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "edgevision", "fleet", "bench", "cnn", "--address", fleet.address),
                *options,
                *files,
            ],
            env={**os.environ, "EDGEVISION_CACHE": str(folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "board-1" in line and "verified" in line:
                fleet.remove_node(nodes[1], allow_graceful=False)
                break
        began_s = time.monotonic()
        output, rest = process.communicate(timeout=PATIENCE_S)
        result = {
            "output": output,
            "errors": "".join(lines) + rest,
            "code": process.returncode,
            "seconds": time.monotonic() - began_s,
        }
        (folder / "result.json").write_text(json.dumps(result))
    finally:
        fleet.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
