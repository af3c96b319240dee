"""Records of verification: what was compared, measured and allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgevision.bundle.candidates import Sensitivity


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One comparison: the measured value and its limit."""

    name: str
    measured: float
    relation: Literal["<=", ">="]
    limit: float
    tensor: str | None = None
    """The tensor that was compared; None for a check of several, and in records of earlier versions."""

    @property
    def passed(self) -> bool:
        """True if the limit is kept; NaN fails."""
        return self.measured <= self.limit if self.relation == "<=" else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class Verification:
    """Record of the comparison of one engine's answers with the source model's.

    `stage` is "export" for records made once, next to the source model itself, and "verify" for later ones.
    """

    stage: Literal["export", "verify"]
    engine: str
    library: str
    frames: int
    checks: tuple[CheckRecord, ...]
    created: str
    """UTC, ISO 8601."""
    machine_class: str | None = None
    """Class of the machine that ran the engine (`machine_class.machine_class`); None in records of earlier versions.

    A record of a graph of lower precision is not valid for another class: its kernels may round or saturate
    differently.
    """
    sensitivity: Sensitivity | None = None
    """Of a source model that quantizes at run time: its own change, which widened the limits of the checks."""

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def finding(self) -> str:
        """The first tensor that differs, in the order of the graph, and by how much; empty if every check passed."""
        first = next((check for check in self.checks if not check.passed), None)
        if first is None:
            return ""
        where = f"the first tensor that differs is {first.tensor}: " if first.tensor else ""
        return where + self.failures

    @property
    def failures(self) -> str:
        """The failed checks, on one line."""
        failed = (check for check in self.checks if not check.passed)
        return "; ".join(f"{c.name} {c.measured:.6g}, must be {c.relation} {c.limit:g}" for c in failed)
