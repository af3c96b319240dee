"""Ends with 0 if the page of the deployment in this container answers; its port is read from the same file."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from edgevision.service.config.document import NotTomlError, parse

FILE = Path("/etc/edgevision/cameras.toml")


def address(file: Path) -> str | None:
    """Where the page's health is asked for; None if there is no page, or nothing to be read of it."""
    try:
        page = parse(file.read_bytes(), file.name).data.get("page")
    except (OSError, NotTomlError):
        return None
    if not isinstance(page, dict):
        return None
    host = str(page.get("host", "127.0.0.1"))
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{here}:{page.get('port', 8080)}/health"


def main(file: Path = FILE) -> int:
    """0 also where there is no page to ask."""
    url = address(file)
    if url is None:
        return 0
    try:
        with urllib.request.urlopen(url, timeout=4):
            return 0
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
