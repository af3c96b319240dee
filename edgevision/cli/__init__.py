"""The command line; heavy imports are inside the commands.

May import: storage, settings, device, contract, bundle, verification, engines, sources, datasets, analytics, sinks,
pipeline, explain, inference, benchmark, evaluation, graph, builder, doctor, service, fleet, models, quantize, train,
export.
"""

from __future__ import annotations

import os
import sys

import click

from edgevision.cli.failures import report_failure, report_interrupt, report_unexpected, wants_traceback
from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it: 128 + SIGINT."""


def main() -> None:
    """Run the command line; a user's mistake gives one line and an exit code, not a traceback.

    Click exits with 2 for a wrong option; here that code means a failed verification.
    """
    # ONNX Runtime 1.31 reports to its maker with an identifier of this machine; this disables it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Silences FFmpeg's messages about damaged frames; our own log reports them.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    show = wants_traceback()
    try:
        sys.exit(edgevision.main(prog_name="edgevision", standalone_mode=False, obj=show) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt) as error:
        report_interrupt(error, show=show)
        sys.exit(INTERRUPTED)
    except EdgevisionError as error:
        sys.exit(report_failure(error, show=show))
    except Exception as error:  # of a library or our own: print one line and name a log file
        sys.exit(report_unexpected(error, show=show))
