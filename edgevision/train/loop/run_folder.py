"""A run folder: settings, metrics and weights of a run, all written atomically.

::

    RUN/config.json        the run's settings, which `--resume` reads
        last.ckpt          everything needed to continue: weights, average, optimizer, position, clock
        best.safetensors   averaged weights of the best measurement, with names and recipe in the metadata
        metrics.csv        a row for each epoch
        curves.png         the same as a plot
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.storage import atomic
from edgevision.storage.codec import json_text

Row = Mapping[str, float]


class RunFolder:
    """Paths and writers of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.last = path / "last.ckpt"
        self.best = path / "best.safetensors"
        self.metrics = path / "metrics.csv"
        self.curves = path / "curves.png"
        self.samples = path / "samples.png"

    def begin(self, config: Any) -> None:
        """Create the folder and write the settings; raises `UsageError` if it already holds a run."""
        if self.config.exists():
            raise UsageError(
                f"{self.path} already holds a run; continue it with --resume or choose another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        atomic.write_file(self.config, json_text(config).encode())

    def sweep(self) -> None:
        """Remove unfinished files of a killed process."""
        for path in self.path.glob(".*.partial*"):
            path.unlink(missing_ok=True)

    def read_config(self) -> Any:
        """The settings of an earlier `begin`; raises `UsageError` if there are none."""
        try:
            return json.loads(self.config.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise UsageError(f"{self.path} is not a run that can be resumed: {error}") from error

    def write_best(self, model: nn.Module, metadata: Mapping[str, str]) -> None:
        """Write floating-point weights in float16, integers unchanged."""
        tensors = {
            name: (value.half() if value.dtype == torch.float32 else value).contiguous().cpu()
            for name, value in model.state_dict().items()
        }
        atomic.write_file(self.best, safetensors.torch.save(tensors, dict(metadata)))

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Replace the table; columns in order of their first appearance."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
        atomic.write_file(self.metrics, text.getvalue().encode())
