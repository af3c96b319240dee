"""Analytics of `edgevision run`: opening them, and the table of counts at the end."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.counting import ZoneCounter
from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.spec import ModelSpec
from edgevision.contract.thresholds import Threshold
from edgevision.errors import UsageError
from edgevision.sources.frames import Source
from edgevision.sources.opening import ImageSource


def open_analytics(
    plan: AnalyticsOptions, spec: ModelSpec, source: Source, threshold: Threshold
) -> Analytics:
    """The analytics of one source; raises `UsageError` if the source cannot have them."""
    analytics = plan.open(spec, source.fps, threshold)
    if plan.tracks and isinstance(source, ImageSource):
        raise UsageError(
            f"{source.name} contains images, which have no time stamps; expected a video or a camera for tracking"
        )
    if 0 not in source.size_wh:
        plan.check_places(source.size_wh)
    return analytics


def count_lines(analytics: Analytics, classes: Sequence[str]) -> list[str]:
    """The table at the end of a run; empty if nothing was counted or no frame arrived."""
    rows = []
    for line in analytics.lines:
        labels = sorted({label for label, _ in line.counts})
        counts: list[tuple[str, int, int]] = [
            (
                classes[label] if label < len(classes) else str(label),
                line.counts.get((label, "in"), 0),
                line.counts.get((label, "out"), 0),
            )
            for label in labels
        ]
        if len(counts) != 1:
            counts.append(("all", line.count("in"), line.count("out")))
        rows += [f"{line.line.name:16} {name:12} in {inn:5} out {out:5}" for name, inn, out in counts]
    return rows + [_zone_row(zone) for zone in analytics.zones]


def _zone_row(zone: ZoneCounter) -> str:
    counts = zone.counts
    return (
        f"{zone.zone.name:16} inside {len(zone.inside())}; entered {counts['entered']}, appeared {counts['appeared']},"
        f" left {counts['left']}, vanished {counts['vanished']}; {zone.dwell.visits} visits over:"
        f" mean {zone.dwell.mean_s:.1f} s, longest {zone.dwell.longest_s:.1f} s"
    )
