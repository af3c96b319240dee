"""Stores the sampling settings of a diffusion model in its weights, after they were chosen on training digits.

python benchmarks/generation/measure.py digits/held RUN --train digits/train --choose --guidance 1 1.25 1.5
python benchmarks/generation/sampling.py RUN --guidance 1.25 [--steps 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors
import safetensors.torch

from edgevision.storage import atomic


def main() -> None:
    """Rewrite the weights of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    options = parser.parse_args()
    path = options.run / "best.safetensors"
    with safetensors.safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    prefix = "decoder." if "decoder.steps" in tensors else ""
    for name in ("steps", "guidance"):
        value = getattr(options, name)
        if value is not None:
            tensors[f"{prefix}{name}"].fill_(value)
    atomic.write_file(path, safetensors.torch.save(tensors, metadata))
    print(f"{path}: {int(tensors[f'{prefix}steps'])} steps, guidance {float(tensors[f'{prefix}guidance']):g}")


if __name__ == "__main__":
    main()
