"""Addresses in a deployment file: kinds of sinks, relative paths and plain-text passwords."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edgevision.errors import UsageError
from edgevision.sources.addresses import public_name

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_FOLDER = re.compile(r"(events:)(.*)", re.IGNORECASE | re.DOTALL)
_PASSWORD = re.compile(r"://[^/@:\s]*:([^/\s]+)@")


def sink_address(text: str, folder: Path) -> str:
    """The address of a sink; a relative path in it starts at `folder`."""
    if events := _FOLDER.fullmatch(text):
        return f"{events[1]}{folder / events[2]}"
    return text if _SCHEME.match(text) else str(folder / Path(text).expanduser())


def sink_kind(text: str) -> Literal["file", "mqtt", "webhook", "events"] | None:
    """The kind of sink of an address; None if it is not a sink."""
    lower = text.lower()
    if lower.startswith(("mqtt://", "mqtts://")):
        return "mqtt"
    if lower.startswith(("http://", "https://")):
        return "webhook"
    if _FOLDER.fullmatch(text) and text[len("events:") :]:
        return "events"
    return "file" if not _SCHEME.match(text) and lower.endswith((".jsonl", ".ndjson", ".csv")) else None


def public_sink(text: str) -> str:
    """A sink's address without secrets; of a webhook only the host, because its path is often secret."""
    name = public_name(text)
    return "/".join(name.split("/")[:3]) if name.lower().startswith(("http://", "https://")) else name


def holds_password(text: str) -> bool:
    """True if an address in the file contains a plain-text password instead of a variable."""
    found = _PASSWORD.search(text)
    return found is not None and holds_secret(found[1])


def holds_secret(text: str) -> bool:
    """True if a text contains more than variables."""
    return re.sub(r"(?<!\$)\$\{[^}]*\}", "", text) != ""


def check_network_address(text: str) -> None:
    """Raise `UsageError` for an address with ``//`` that has no host, or an invalid port."""
    if "//" not in text or not _SCHEME.match(text) or not text[text.index(":") :].startswith("://"):
        return
    try:
        parts = urlsplit(text)
        host = parts.hostname
        parts.port  # noqa: B018  # raises for an invalid port
    except ValueError as error:
        raise UsageError(
            f"{error}; expected {text.split(':')[0]}://host or {text.split(':')[0]}://host:port"
        ) from error
    if not host:
        raise UsageError(f"the address has no host; expected {parts.scheme}://host/...")
