"""Reports of unexpected errors: one line that names a file with the traceback."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import click

from edgevision.cli.foreign import with_remedy
from edgevision.errors import EdgevisionError, first_line
from edgevision.storage.cache import cache_folder

OPTION = "--traceback"
UNEXPECTED = 70
"""Exit code of an error that is not the user's: EX_SOFTWARE of ``sysexits.h``."""
KEPT_LOGS = 10


def wants_traceback() -> bool:
    """True if ``--traceback`` occurs anywhere on the command line; it is removed."""
    if OPTION not in sys.argv[1:]:
        return bool(os.environ.get("EDGEVISION_TRACEBACK"))
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != OPTION]
    return True


def report_failure(error: EdgevisionError, *, show: bool) -> int:
    """Print one line on an expected error and return the exit code."""
    if show:
        traceback.print_exception(error)
    click.echo(f"edgevision: {with_remedy(error)}", err=True)
    return error.exit_code


def report_unexpected(error: Exception, *, show: bool) -> int:
    """Print one line on an unexpected error and return the exit code."""
    if isinstance(error, MemoryError):
        what = "out of memory"
    else:
        what = f"unexpected {type(error).__name__}: {first_line(error)}"
    _report(what, error, show=show)
    return UNEXPECTED


def report_interrupt(error: BaseException, *, show: bool) -> None:
    """Print one line on Ctrl-C."""
    _report("interrupted", error, show=show)


def _report(what: str, error: BaseException, *, show: bool) -> None:
    text = "".join(traceback.format_exception(error))
    if show:
        click.echo(text, err=True, nl=False)
        click.echo(f"edgevision: {what}", err=True)
        return
    log = _written(text)
    where = f"; {OPTION} shows where" if log is None else f"; the traceback is in {log}"
    click.echo(f"edgevision: {what}{where}", err=True)


def _written(text: str) -> Path | None:
    """Write the log file and keep the latest `KEPT_LOGS`; None if it cannot be written."""
    folder = cache_folder() / "logs"
    path = folder / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}.log")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{[*sys.argv[:1], *_public(sys.argv[1:])]}\n{text}")
        for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path


def _public(arguments: list[str]) -> list[str]:
    """Redact passwords and queries in addresses: users attach logs to bug reports."""
    from edgevision.sources.addresses import public_name

    return [public_name(argument) if "://" in argument else argument for argument in arguments]
