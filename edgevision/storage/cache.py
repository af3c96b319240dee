"""The folder for downloads and other cached files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$EDGEVISION_CACHE``, else ``edgevision`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if named := os.environ.get("EDGEVISION_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgevision"
