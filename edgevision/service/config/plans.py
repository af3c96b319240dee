"""A deployment's settings as the plans and options of the parts that carry them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgevision.analytics.options import AnalyticsOptions
from edgevision.analytics.places import PlaceText
from edgevision.contract.session import SessionOptions
from edgevision.errors import UsageError
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.config.settings import (
    CameraSettings,
    ModelSettings,
    PageSettings,
    Settings,
)
from edgevision.service.watchdog import CameraLimit, WatchdogOptions
from edgevision.service.web.options import PageOptions, read_token
from edgevision.sources.addresses import SourceAddress
from edgevision.sources.options import CameraOptions
from edgevision.sources.freeze import FreezeOptions


def camera_plans(settings: Settings) -> tuple[CameraPlan, ...]:
    """All cameras."""
    return tuple(
        CameraPlan(
            camera.name,
            SourceAddress.parse(camera.address).within(settings.folder).text,
            camera_options(camera),
            camera.threshold,
            camera_analytics(camera),
            camera.sinks,
        )
        for camera in settings.cameras
    )


def camera_options(camera: CameraSettings) -> CameraOptions:
    """Timeouts and reconnection of a camera."""
    return CameraOptions(
        give_up_after_s=camera.give_up_after_s,
        freeze=FreezeOptions(freeze_after_s=camera.freeze_after_s or None),
        transport=camera.transport,
    )


def camera_analytics(camera: CameraSettings) -> AnalyticsOptions:
    """What is followed and counted."""
    return AnalyticsOptions(
        track=camera.track,
        lines=tuple(map(_place_text, camera.lines)),
        zones=tuple(map(_place_text, camera.zones)),
        only=",".join(camera.only) or None,
        min_area=camera.min_area,
        max_area=camera.max_area,
    )


def session_options(model: ModelSettings) -> SessionOptions:
    """How the engine is opened."""
    return SessionOptions(
        iou_threshold=model.iou,
        allow_fallback=model.allow_fallback,
        precision=model.graph,
        force=model.force,
    )


def page_options(page: PageSettings, folder: Path, environment: Mapping[str, str]) -> PageOptions:
    """Where the page listens, and its token. Raises `UsageError` for a token that is not there or too short."""
    token = None
    if page.token_env is not None:
        if page.token_env not in environment:
            raise UsageError(f"the environment has no variable {page.token_env}, which is to hold the token")
        token = environment[page.token_env].strip()
    elif page.token_file is not None:
        token = read_token(folder / Path(page.token_file).expanduser(), {})
    return PageOptions(
        host=page.host,
        port=page.port,
        token=token,
        allowed_hosts=page.allowed_hosts,
        max_clients=page.max_clients,
        video_per_s=page.video_per_s,
    )


def watchdog_options(settings: Settings) -> WatchdogOptions:
    """When the service counts as stuck."""
    given = settings.watchdog
    return WatchdogOptions(
        given.stuck_after_s, given.stuck_factor, given.answer_within_s, given.open_within_s
    )


def camera_limits(settings: Settings) -> dict[str, CameraLimit]:
    """When each camera is opened anew."""
    return {
        camera.name: CameraLimit(camera.reopen_after_s or None, camera.give_up_after_s is None)
        for camera in settings.cameras
    }


def _place_text(place: PlaceText) -> str:
    return f"{place.name}={','.join(map(repr, place.numbers))}"
