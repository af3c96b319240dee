"""Options of the commands that run several cameras on one engine."""

from __future__ import annotations

from edgevision.cli.options.defined import options_of
from edgevision.service.config.settings import BudgetSettings

batch_options = options_of(BudgetSettings, "batch", "fill_ms", "max_age_ms")
"""``--batch``, ``--fill-ms`` and ``--max-age-ms``, as the arguments `batch`, `fill_ms` and `max_age_ms`."""
