"""Writes metrics, curves, checkpoint and the best weights at the end of each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning

from edgevision.sources.image_files import write_image
from edgevision.storage import atomic
from edgevision.train.data.pictures import Picture
from edgevision.train.loop.curves import CurvesImage
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.run_folder import RunFolder


class Recorder(lightning.Callback):
    """Lightning's callback; only the first process validates and writes, all take part in the checkpoint."""

    def __init__(
        self,
        run: RunFolder,
        measure: Callable[[], dict[str, float]],
        metadata: Mapping[str, str],
        *,
        every: int,
        monitor: str | None,
        patience: int | None,
        panels: Sequence[tuple[str, Sequence[str]]],
        report: Callable[[str], None],
        samples: Callable[[], Picture] | None = None,
    ) -> None:
        self.samples = samples
        self.run, self.measure, self.metadata, self.report = run, measure, metadata, report
        self.every, self.monitor, self.patience = every, monitor, patience
        self.curves = CurvesImage(run.curves, panels)
        self.rows: list[dict[str, float]] = []
        self.best, self.since_best = -math.inf, 0
        self._first_step, self._began_ns = 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Rows so far, so that a resumed run's table has no duplicate row."""
        return {"rows": self.rows, "best": self.best, "since_best": self.since_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.best, self.since_best = float(state_dict["best"]), int(state_dict["since_best"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Place the data of a resumed run at its step."""
        stream = trainer.train_dataloader
        assert stream is not None
        stream.seek(pl_module.progress.step)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: ARG002  # Lightning's signature
        """Start the epoch's clock."""
        self._first_step, self._began_ns = pl_module.progress.step, time.perf_counter_ns()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Validate if due, and write everything."""
        module: ModuleInTraining[Any] = pl_module
        seconds = (time.perf_counter_ns() - self._began_ns) / 1e9
        steps = max(1, module.progress.step - self._first_step)
        epoch, share = trainer.current_epoch + 1, module.progress.share
        row = {"epoch": float(epoch), "step": float(module.progress.step), "share": share}
        row |= {"lr": module.lr_factor(), **module.mean_losses()}
        row |= {"ms_per_step": 1000 * seconds / steps, "minutes": module.progress.elapsed_s / 60}
        if trainer.is_global_zero and (epoch % self.every == 0 or share >= 1):
            row |= self._measured(module)
        self.rows.append(row)
        if trainer.is_global_zero:
            self.run.write_metrics(self.rows)
            self.curves.update(self.rows)
            self.report(_line(row))
        exhausted = self.patience is not None and self.since_best >= self.patience
        # All processes stop together: the first one validates for all.
        if trainer.strategy.broadcast(exhausted):
            trainer.should_stop = True
        self._save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: ARG002  # Lightning's signature
        """Plot the curves of the last epochs."""
        if trainer.is_global_zero:
            self.curves.finish(self.rows)

    def _measured(self, module: ModuleInTraining[Any]) -> dict[str, float]:
        found = self.measure()
        value = math.nan if self.monitor is None else found.get(self.monitor, math.nan)
        self.since_best += 1
        if value > self.best or math.isnan(
            value
        ):  # without a metric nothing can be compared: keep the last weights
            self.best, self.since_best = self.best if math.isnan(value) else value, 0
            measured = {} if self.monitor is None else {self.monitor: f"{value:.2f}"}
            self.run.write_best(module.average.model, {**self.metadata, **measured})
            if self.samples is not None:
                write_image(self.run.samples, self.samples())
        return found

    def _save(self, trainer: lightning.Trainer) -> None:
        """Lightning writes a temporary file while all processes wait; it is then synced and renamed."""
        partial = self.run.path / ".last.partial.ckpt"
        trainer.save_checkpoint(partial, weights_only=False)
        if trainer.is_global_zero:
            with atomic.staged_file(self.run.last) as temporary:
                partial.replace(temporary)


def _line(row: Mapping[str, float]) -> str:
    skipped = {"epoch", "step", "share", "lr", "ms_per_step", "minutes"}
    figures = [
        f"{name} {value:.4g}"
        for name, value in row.items()
        if name not in skipped and not name.startswith(("AP50 ", "mask AP50 ", "recall "))
    ]
    return (
        f"epoch {row['epoch']:.0f}  {100 * row['share']:.1f} %  {row['minutes']:.1f} min"
        f"  {row['ms_per_step']:.0f} ms/step  lr {row['lr']:.3f}  {'  '.join(figures)}"
    )
