"""The command line; heavy imports are inside the commands.

May import: storage, settings, device, contract, bundle, verification, engines, sources, datasets, analytics, sinks,
pipeline, benchmark, evaluation, explain, graph, builder, doctor, service, models, quantize, train, export.
"""

from __future__ import annotations

import os
import sys
import traceback

import click

from edgevision.cli.failures import report_interrupt, report_unexpected, wants_traceback
from edgevision.cli.foreign import with_remedy
from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it: 128 + SIGINT."""


def main() -> None:
    """Run the command line; a mistake of the user's is one line and an exit code, never a traceback.

    Click would exit with 2 for a wrong option, which here means a verification that failed.
    """
    # ONNX Runtime 1.31 keeps a number for this machine and an address of its maker to report to; not from here.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # FFmpeg's own messages about damaged frames; what matters of them is said in ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    show = wants_traceback()
    try:
        sys.exit(edgevision.main(prog_name="edgevision", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt) as error:
        report_interrupt(error, show=show)
        sys.exit(INTERRUPTED)
    except EdgevisionError as error:
        if show:
            traceback.print_exception(error)
        click.echo(f"edgevision: {with_remedy(error)}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:  # of a library, or ours: a person gets one line and a file to send along
        sys.exit(report_unexpected(error, show=show))
