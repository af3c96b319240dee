"""Options of the commands that open an engine for cameras."""

from __future__ import annotations

from edgevision.cli.options.defined import options_of
from edgevision.service.config.settings import ModelSettings

engine_options = options_of(ModelSettings, "engine", "iou", "rebuild", "allow_fallback")
"""``--engine``, ``--iou``, ``--rebuild`` and ``--allow-fallback``, as arguments of these names."""
