"""The command line; heavy imports live inside the command bodies."""

from __future__ import annotations

import sys

from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError


def main() -> None:
    """Run the command line; a mistake of the user's is one line and an exit code, never a traceback."""
    try:
        edgevision()
    except EdgevisionError as error:
        print(f"edgevision: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
