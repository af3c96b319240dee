"""What the wheel holds besides the package."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RecipesHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own hooks leave it open
    """Ships ``export/*.py`` as ``edgevision/recipes``.

    Only in real wheels: an editable install would copy them into site-packages, and that folder would shadow the
    package.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is made; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["export"] = "edgevision/recipes"
