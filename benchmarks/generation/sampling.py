"""Stores the sampling settings of a diffusion model in its weights, after they were chosen on training digits.

python benchmarks/generation/measure.py digits/held RUN --train digits/train --choose --guidance 1.25 1.5
python benchmarks/generation/sampling.py RUN --guidance 1.25 [--interval 0.5 0.8] [--steps 10] [--order 3]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from edgevision.storage import atomic


def main() -> None:
    """Rewrite the weights of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--interval", type=float, nargs=2, help="times at which guidance acts")
    parser.add_argument("--order", type=int, help="predictions that a step combines; 1: Euler's method")
    options = parser.parse_args()
    path = options.run / "best.safetensors"
    with safetensors.safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    prefix = "decoder." if "decoder.steps" in tensors else ""
    tensors.setdefault(f"{prefix}order", torch.tensor(1))
    tensors.setdefault(f"{prefix}interval", torch.tensor([0.0, 1.0]))
    for name in ("steps", "guidance", "order"):
        value = getattr(options, name)
        if value is not None:
            tensors[f"{prefix}{name}"].fill_(value)
    if options.interval is not None:
        tensors[f"{prefix}interval"].copy_(torch.tensor(options.interval))
    atomic.write_file(path, safetensors.torch.save(tensors, metadata))
    steps, guidance, order = (tensors[f"{prefix}{name}"].item() for name in ("steps", "guidance", "order"))
    low, high = tensors[f"{prefix}interval"].tolist()
    print(f"{path}: {steps} steps, guidance {guidance:g} at times {low:g} to {high:g}, order {order}")


if __name__ == "__main__":
    main()
