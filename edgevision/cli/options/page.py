"""Options of the commands that serve the live page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.cli.options.defined import options_of
from edgevision.service.config.settings import PageSettings
from edgevision.service.web.options import PageOptions, read_token


@dataclass(frozen=True, slots=True)
class PageArguments:
    """What the options say about the page."""

    host: str
    port: int
    token_file: Path | None
    allowed_hosts: tuple[str, ...]
    max_clients: int

    def options(self) -> PageOptions:
        """The same with the token; raises `UsageError`."""
        return PageOptions(
            host=self.host,
            port=self.port,
            token=read_token(self.token_file),
            allowed_hosts=self.allowed_hosts,
            max_clients=self.max_clients,
        )


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--host``, ``--port``, ``--token-file``, ``--allow-host``, ``--max-clients``, as the one argument `page`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        names = ("host", "port", "token_file", "allow_host", "max_clients")
        return command(*args, page=PageArguments(*(kwargs.pop(name) for name in names)), **kwargs)

    names = ("host", "port", "token_file", "allowed_hosts", "max_clients")
    return options_of(PageSettings, *names)(wrapper)
