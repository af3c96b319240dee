"""Training progress between 0 and 1, and the learning rate schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol


class Strategy(Protocol):
    """The part of Lightning's strategies that is needed here."""

    def broadcast(self, obj: float, src: int = 0) -> float:
        """The value of process `src`."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a half cosine (arXiv 1608.03983, without restarts) down to `final` of the peak."""

    warmup: float = 0.03
    """Share of the training."""
    final: float = 0.01

    def factor(self, progress: float) -> float:
        """Factor of the peak learning rate at `progress` in 0..1."""
        if progress < self.warmup:
            return max(progress / self.warmup, 0.01)
        share = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2


class TrainingProgress:
    """The completed share of the training: by steps, or by the clock if there is a time budget.

    By steps a run depends only on its seed. By the clock it ends on time on any machine, and the run's record contains
    the number of steps. The clock counts the time in a process, pauses included; time between a kill and a resume does
    not count.
    """

    def __init__(self, total_steps: int | None = None, budget_s: float | None = None) -> None:
        if (total_steps is None) == (budget_s is None):
            raise ValueError("progress is by steps or by the clock: give one of the two")
        self.total_steps, self.budget_s = total_steps, budget_s
        self.step = 0
        self._earlier_s = self._clock_s = 0.0
        self._began_ns = time.perf_counter_ns()

    def advance(self, strategy: Strategy | None = None) -> None:
        """Count a step. Several processes use the first one's clock, so that all stop at the same step."""
        self.step += 1
        if self.budget_s is not None:
            spent = self.elapsed_s
            self._clock_s = float(strategy.broadcast(spent)) if strategy is not None else spent

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, including those before a resume."""
        return self._earlier_s + (time.perf_counter_ns() - self._began_ns) / 1e9

    @property
    def share(self) -> float:
        """In 0..1."""
        return self.share_at(self.step)

    def share_at(self, step: int) -> float:
        """In 0..1, at a step that may be in the future."""
        if self.total_steps is not None:
            return min(1.0, step / self.total_steps)
        assert self.budget_s is not None
        return min(1.0, self._clock_s / self.budget_s)

    def state_dict(self) -> dict[str, float]:
        """Steps and seconds."""
        return {"step": self.step, "elapsed_s": self.elapsed_s}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from `state`; the clock starts now."""
        self.step, self._earlier_s = int(state["step"]), float(state["elapsed_s"])
        self._clock_s = self._earlier_s
        self._began_ns = time.perf_counter_ns()
