"""Options of the commands that serve the live page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

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

    options = (
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: all."
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=8080,
            show_default=True,
            help="0: any that is free.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            help="File with the token that visitors need. Default: EDGEVISION_TOKEN, or one that is made.",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            metavar="NAME",
            help="A name by which a reverse proxy calls the page.",
        ),
        click.option(
            "--max-clients",
            type=click.IntRange(min=1),
            default=8,
            show_default=True,
            help="Pages at a time.",
        ),
    )
    for option in reversed(options):
        wrapper = option(wrapper)
    return wrapper
