"""Settings of comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgevision.benchmark.paired.pairs import GROUPS, PAIRS, PairOptions
from edgevision.errors import UsageError
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Limits of a verdict, in percent; None: not given."""

    fail_above_percent: float | None = field(
        default=None,
        metadata=setting(
            Number(0),
            "End with exit code 2 if the new build is slower by more than PCT % and the verdict is sure or likely.",
            option="--fail-above",
            metavar="PCT",
        ),
    )
    noise_floor_percent: float | None = field(
        default=None,
        metadata=setting(
            Number(0),
            "Smallest change that counts, in %. Default: 1; for separate runs at least the median difference between"
            " two runs of one build.",
            option="--noise-floor",
            metavar="PCT",
        ),
    )

    @property
    def fail_above(self) -> float | None:
        """As a share."""
        return None if self.fail_above_percent is None else self.fail_above_percent / 100

    @property
    def noise_floor(self) -> float | None:
        """As a share."""
        return None if self.noise_floor_percent is None else self.noise_floor_percent / 100


@dataclass(frozen=True, slots=True)
class PairingOptions(LimitOptions):
    """Settings of a comparison in interleaved pairs; None: not given."""

    pairs: int | None = field(
        default=None,
        metadata=setting(
            Number(1, whole=True),
            "With --against: number of pairs in a group; each starts both builds in new processes. Default:"
            f" {PAIRS}.",
            option="--pairs",
        ),
    )
    max_pairs: int | None = field(
        default=None,
        metadata=setting(
            Number(1, whole=True),
            "With --against: maximum number of pairs. Further groups are measured until the verdict is sure, or"
            f" changes above 5 % (above --fail-above) are excluded. Default: {GROUPS} groups.",
            option="--max-pairs",
        ),
    )

    def pair_options(self, seconds: float, *, can_judge: bool) -> PairOptions:
        """Whole groups up to `max_pairs`; one group if nothing can judge them meanwhile. Raises `UsageError`."""
        pairs = self.pairs or PAIRS
        groups = GROUPS if self.max_pairs is None else self.max_pairs // pairs
        if groups < 1:
            raise UsageError(f"--max-pairs {self.max_pairs} is below --pairs {pairs}; give at least {pairs}")
        return PairOptions(pairs, seconds, groups=groups if can_judge else 1)
