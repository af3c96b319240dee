"""The command line; heavy imports live inside the command bodies."""

from __future__ import annotations

import sys

import click

from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it: 128 + SIGINT."""


def main() -> None:
    """Run the command line; a mistake of the user's is one line and an exit code, never a traceback.

    Click would exit with 2 for a wrong option, which here means a verification that failed.
    """
    try:
        sys.exit(edgevision.main(prog_name="edgevision", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgevision: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except EdgevisionError as error:
        click.echo(f"edgevision: {error}", err=True)
        sys.exit(error.exit_code)
