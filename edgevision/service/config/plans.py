"""Conversion of a deployment's settings into plans and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.config.settings import (
    PageSettings,
    Settings,
)
from edgevision.service.watchdog import CameraLimit
from edgevision.service.web.options import PageOptions, read_token
from edgevision.sources.addresses import SourceAddress


def camera_plans(settings: Settings) -> tuple[CameraPlan, ...]:
    """The plans of all cameras."""
    return tuple(
        CameraPlan(
            camera.name,
            SourceAddress.parse(camera.address).within(settings.folder).text,
            camera.connection,
            camera.threshold,
            camera.analytics,
            camera.sinks,
        )
        for camera in settings.cameras
    )


def page_options(page: PageSettings, folder: Path, environment: Mapping[str, str]) -> PageOptions:
    """Options of the page with its token. Raises `UsageError` for a missing or short token."""
    token = None
    if page.token_env is not None:
        if page.token_env not in environment:
            raise UsageError(
                f"the environment has no variable {page.token_env}; expected it to contain the token"
            )
        token = environment[page.token_env].strip()
    elif page.token_file is not None:
        token = read_token(folder / Path(page.token_file).expanduser(), {})
    return replace(page.options, token=token)


def camera_limits(settings: Settings) -> dict[str, CameraLimit]:
    """Limits after which each camera is reopened."""
    return {
        camera.name: CameraLimit(camera.reopen_after_s, camera.connection.outage_timeout_s is None)
        for camera in settings.cameras
    }
