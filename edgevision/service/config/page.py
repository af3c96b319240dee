"""The live page of a service, which follows the file."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

from edgevision.errors import EdgevisionError, MissingExtraError
from edgevision.service.camera_manager import CameraManager
from edgevision.service.web.options import PageOptions

if TYPE_CHECKING:
    from edgevision.service.web.server import PageServer

log = logging.getLogger(__name__)

PACKAGES = ("aiohttp", "prometheus_client")


class Page:
    """Serves at most one page; options None: no page."""

    def __init__(self, camera_manager: CameraManager) -> None:
        self._camera_manager = camera_manager
        self._options: PageOptions | None = None
        self._server: PageServer | None = None

    @property
    def url(self) -> str | None:
        """Address without the token; None if there is no page."""
        return None if self._server is None else self._server.url

    def follow(self, options: PageOptions | None) -> None:
        """Close the current page and open one with these options; raises `UsageError` or `MissingExtraError`."""
        self.close()
        if options is not None:
            self._server = _open(self._camera_manager, options)
            log.info("page: %s", self._server.url)
        self._options = options

    def follow_if_it_can(self, options: PageOptions | None) -> None:
        """Follow changed options; if the page cannot be served, log the error and keep the previous one."""
        before = self._options
        if options == before:
            return
        try:
            self.follow(options)
        except EdgevisionError as error:
            log.error("page: unchanged: %s", error)
            self.follow(before)

    def close(self) -> None:
        """Close the page and its connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


def _open(camera_manager: CameraManager, options: PageOptions) -> PageServer:
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "live", "[page]")
    # imported here because it belongs to an extra
    from edgevision.service.web.server import PageServer

    server = PageServer(camera_manager, options)
    server.start()
    return server
