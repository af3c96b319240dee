"""Effect of --balance on a rare class: train the same classifier with and without it on an imbalanced split.

    python benchmarks/training/balance.py CIFAR10_SUBSET.zip [--rare airplane] [--seeds 0 1 2]

The split has `--each` training images of every class, and a twentieth of that of the rare class. The test set is
unchanged. Both runs of a seed use the same images and the same number of steps.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath


def imbalanced(archive: Path, folder: Path, rare: str, each: int) -> None:
    """Write the split as folders of classes."""
    taken: dict[tuple[str, str], int] = defaultdict(int)
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            parts = PurePosixPath(name).parts
            if len(parts) != 3:
                continue
            part, label, _ = parts
            limit = max(1, each // 20) if label == rare else each
            if part == "train" and taken[(part, label)] >= limit:
                continue
            taken[(part, label)] += 1
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read(name))
    if ("train", rare) not in taken:
        raise SystemExit(
            f"{archive} has no class {rare!r}; it has {', '.join(sorted({c for _, c in taken}))}"
        )


def last_row(run: Path) -> dict[str, float]:
    """Metrics of the averaged weights at the end of a run."""
    with (run / "metrics.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    return {name: float(value) for name, value in row.items() if value}


def trained(data: Path, run: Path, seed: int, epochs: int, *, balance: bool) -> dict[str, float]:
    """Train a `cnn` and return its last metrics."""
    words = [sys.executable, "-m", "edgevision", "train", "cnn", "--data", str(data)]
    words += ["--val", str(data), "--device", "cpu", "-o", str(run)]
    words += ["--epochs", str(epochs), "--seed", str(seed), *(["--balance"] if balance else [])]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return last_row(run)


def main() -> None:
    """Print a row for each run, and the mean gain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--rare", default="airplane")
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    gains = []
    print(f"{'seed':>4}  {'balance':7}  {'recall ' + options.rare:>16}  {'mean recall':>11}  {'top-1':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imbalanced(options.archive, folder / "data", options.rare, options.each)
        for seed in options.seeds:
            recalls = []
            for balance in (False, True):
                run = folder / f"run-{seed}-{balance}"
                row = trained(folder / "data", run, seed, options.epochs, balance=balance)
                recalls.append(row[f"recall {options.rare}"])
                print(
                    f"{seed:4}  {'yes' if balance else 'no':7}  {recalls[-1]:16.1f}  {row['mean recall']:11.1f}"
                    f"  {row['top1']:6.1f}",
                    flush=True,
                )
            gains.append(recalls[1] - recalls[0])
    print(f"gain of {options.rare}: {statistics.mean(gains):+.1f} points over {len(gains)} seeds")


if __name__ == "__main__":
    main()
