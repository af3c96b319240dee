"""Searches for the layers that must return to float to keep an accuracy budget with as much work as possible in INT8 or
FP16."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgevision.evaluation.bootstrap import Drop, Scores, paired_drop

Progress = Callable[[str], None]
Measure = Callable[[frozenset[str]], Sequence[Scores]]
"""Measures the graph whose named weighted nodes are in float."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Points that may be lost, and the share of a bootstrap's draws that must keep this limit."""

    max_drop: float = 0.5
    confidence: float = 0.9


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph that was measured on the search's images."""

    kept_float: tuple[str, ...]
    low_share: float
    """Share of the work in the lower precision, 0..1: for INT8 of the multiply-accumulates."""
    accuracy: float
    """The metric in percent."""
    drop: Drop

    def within(self, confidence: float) -> bool:
        """True if this share of the bootstrap's draws keeps the budget, so that a lucky sample does not pass."""
        return self.drop.sure >= confidence


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All measured candidates in order, and the best one within the budget, if any."""

    metric: str
    images: int
    float_accuracy: float
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None


@dataclass(frozen=True, slots=True)
class Wording:
    """Terms of a search's progress messages."""

    kept: str = "layers in float"
    precision: str = "INT8"


INT8 = Wording()


class Search:
    """Measures candidates, each once, and caches the results."""

    def __init__(
        self,
        measure: Measure,
        macs: Mapping[str, int],
        budget: Budget,
        progress: Progress = lambda _: None,
        *,
        wording: Wording = INT8,
        attempts: int = 3,
    ) -> None:
        """`attempts` is the maximum number of float layers that are tried again in the lower precision."""
        self._measure = measure
        self._macs = macs
        self._budget = budget
        self._progress = progress
        self._wording = wording
        self._attempts = attempts
        self._seen: dict[frozenset[str], Candidate] = {}

    def run(
        self, reference: Sequence[Scores], order: Sequence[str], least_points: int = 1, first: int = 1
    ) -> SearchResult:
        """Return layers to float in `order` until the budget is kept, then try to move the most expensive ones back.

        The first `first` layers are returned together. If that took fewer than `least_points` graphs, more are measured
        to show a front.

        Bisection finds the shortest prefix of `order` that keeps the budget: each layer in float brings the graph
        closer to the float one, up to measurement noise.
        """
        if not self._try(reference, frozenset()).within(self._budget.confidence):
            kept = self._shortest_prefix(reference, order, max(first, 1))
            if kept is not None:
                self._take_back(reference, kept)
        for reach in (1, 2, 4, 8, 16, 32):
            if len(self._seen) < least_points and reach < len(order):
                self._try(reference, frozenset(order[:reach]))
        candidates = tuple(self._seen.values())
        good = [candidate for candidate in candidates if candidate.within(self._budget.confidence)]
        chosen = max(good, key=lambda candidate: candidate.low_share, default=None)
        images = sum(scores.images for scores in reference)
        accuracy = sum(scores.whole * scores.images for scores in reference) / images
        return SearchResult(reference[0].metric, images, accuracy, candidates, chosen)

    def _shortest_prefix(
        self, reference: Sequence[Scores], order: Sequence[str], first: int
    ) -> frozenset[str] | None:
        low, high = 0, len(order)  # the first `low` layers are known to be too few
        enough = None
        # Most models need few layers in float, so the first steps double instead of halving the whole range.
        reach = first
        while reach < high and not self._try(reference, frozenset(order[:reach])).within(
            self._budget.confidence
        ):
            low, reach = reach, reach * 2
        if reach < high:
            high, enough = reach, frozenset(order[:reach])
        while high - low > 1:
            middle = (low + high) // 2
            if self._try(reference, frozenset(order[:middle])).within(self._budget.confidence):
                high, enough = middle, frozenset(order[:middle])
            else:
                low = middle
        return enough

    def _take_back(self, reference: Sequence[Scores], kept: frozenset[str]) -> None:
        """Retry the most expensive float layers: early ones may no longer be needed in float."""
        for node in sorted(kept, key=lambda node: self._macs[node], reverse=True)[: self._attempts]:
            if self._try(reference, kept - {node}).within(self._budget.confidence):
                kept = kept - {node}

    def _try(self, reference: Sequence[Scores], kept_float: frozenset[str]) -> Candidate:
        if kept_float not in self._seen:
            scores = self._measure(kept_float)
            images = sum(part.images for part in scores)
            working = sum(macs for node, macs in self._macs.items() if node not in kept_float)
            candidate = Candidate(
                kept_float=tuple(sorted(kept_float)),
                low_share=working / sum(self._macs.values()),
                accuracy=sum(part.whole * part.images for part in scores) / images,
                drop=paired_drop(reference, scores, self._budget.max_drop),
            )
            self._seen[kept_float] = candidate
            self._progress(
                f"{len(kept_float)} {self._wording.kept}, {100 * candidate.low_share:.1f} % of the work in"
                f" {self._wording.precision}:"
                f" {scores[0].metric} drop {candidate.drop}, in budget in {100 * candidate.drop.sure:.0f} % of draws"
            )
        return self._seen[kept_float]
