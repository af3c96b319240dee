"""Export of the packaged detector for benchmarks, in its own process so that benchmarks do not import torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edgevision

WEIGHTS = Path(edgevision.__file__).parent / "weights" / "street.safetensors"


def export_street(
    folder: Path, *, size: str = "192x192", batch: str = "1:4:8", options: tuple[str, ...] = ()
) -> Path:
    """Export it at a size and a batch range; returns the bundle. An existing bundle is reused."""
    bundle = folder / f"street-{size}-{batch.replace(':', '-')}"
    if not bundle.is_dir():
        command = [sys.executable, "-m", "edgevision", "export", "yolov5", "--checkpoint", str(WEIGHTS)]
        done = subprocess.run(
            [*command, "--size", size, "--batch", batch, *options, "-o", str(bundle)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the export failed: {done.stderr.strip()}")
    return bundle
