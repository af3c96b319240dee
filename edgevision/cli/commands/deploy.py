"""`edgevision deploy`."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.failures import report_failure
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import table
from edgevision.cli.progress import Interrupts
from edgevision.device.power.watch import PowerWatch
from edgevision.errors import EdgevisionError
from edgevision.service.config.addressing import public_sink
from edgevision.service.config.reading import read_deployment
from edgevision.service.config.service import Service, ServiceOptions
from edgevision.service.config.settings import Settings
from edgevision.service.watchdog import STUCK_EXIT_CODE, WatchdogFinding
from edgevision.sources.addresses import public_name

log = logging.getLogger("edgevision.deploy")

POLL_S = 0.05
END_S = 1.6
"""Time from the request to end until the process is ended forcibly; 2 s are promised, also on a busy machine."""
HANG_S = 60.0
"""Time without running Python code after which the process ends."""
SYSLOG_LEVELS = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Validate the file and print what would run; run nothing.")
@click.option(
    "--every",
    "every_s",
    type=FiniteRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Period of the status line in the log.",
)
@click.pass_context
def command(ctx: click.Context, file: Path, check: bool, every_s: float) -> None:
    """Run the cameras, sinks and page of a TOML file as a service.

    SIGHUP reads the file again: unchanged cameras keep running, and a file with mistakes changes nothing. SIGTERM and
    Ctrl-C end the service within 2 s (exit codes 143 and 130). A hanging engine also ends it, with exit code 70 and the
    stacks of all threads in the log, so that its supervisor can restart it. docs/deploy.md documents the keys of the
    file, a unit for systemd, and containers.
    """
    if check:
        reading = read_deployment(file)
        settings = reading.require()
        for line in plan_lines(settings):
            click.echo(line)
        for warning in reading.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"{file} is in order")
        return
    faulthandler.enable()
    with _log_to_stderr(os.environ), PowerWatch(), Interrupts() as interrupts, Reloads() as reloads:
        service = Service(file, ServiceOptions(every_s=every_s))
        try:
            service.start()
            log.info("%s: %d cameras", file, len(service.camera_manager.cameras))
            finding = _run(service, interrupts, reloads)
            end_anyway(_exit_code(finding, interrupts))
            if finding.hangs:
                log.error("%s; ending the process with exit code %d", finding.fatal, STUCK_EXIT_CODE)
                faulthandler.dump_traceback(all_threads=True)
        finally:
            service.close()
        if finding.hangs:
            _leave(STUCK_EXIT_CODE)
        if finding.fatal is not None:
            failure = service.camera_manager.failure
            if not isinstance(failure, EdgevisionError):
                failure = EdgevisionError(finding.fatal)
            # Python aborts at its end if a camera's thread, which may outlive the service, is writing to the log.
            _leave(report_failure(failure, show=bool(ctx.obj)))
        log.info("ended")
    ctx.exit(interrupts.exit_code)


def plan_lines(settings: Settings) -> list[str]:
    """What a file would run, without passwords."""
    model = settings.model
    parts = [str(settings.path(model.bundle)), f"engine {model.engine or 'the fastest verified'}"]
    parts += [f"precision {model.opening.precision}"] if model.opening.precision else []
    parts += [f"device {model.opening.device}"] if model.opening.device else []
    rows = [
        [
            camera.name,
            public_name(camera.address),
            "default" if camera.threshold is None else f"{camera.threshold:g}",
            _counts(camera.analytics),
            ", ".join(camera.analytics.only) or "all",
            ", ".join(camera.sinks) or "none",
        ]
        for camera in settings.cameras
    ]
    age_ms = settings.budgets.max_age_ms
    oldest = "of any age" if age_ms is None else f"no older than {age_ms:g} ms"
    lines = [f"model: {', '.join(parts)}", f"budgets: batch {settings.budgets.batch}, results {oldest}"]
    lines += table(["camera", "address", "threshold", "counts", "classes", "sinks"], rows)
    if settings.sinks:
        lines += table(
            ["sink", "address"], [[sink.name, public_sink(sink.address)] for sink in settings.sinks]
        )
    page = settings.page
    lines.append("page: none" if page is None else f"page: http://{page.options.host}:{page.options.port}/")
    return lines


class Reloads:
    """Turns SIGHUP into a request to read the file again."""

    def __init__(self) -> None:
        self._wanted = False
        self._before: object = None

    def take(self) -> bool:
        """True once after any number of signals."""
        wanted, self._wanted = self._wanted, False
        return wanted

    def __enter__(self) -> Reloads:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGHUP, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)  # type: ignore[arg-type]  # returned by signal.signal

    def _handle(self, _: int, __: FrameType | None) -> None:
        self._wanted = True


class LogHandler(logging.Handler):
    """Log lines on standard error: with a time stamp, or with a level prefix if the journal reads them."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message; a closed log must not end the process."""
        with suppress(OSError, ValueError):
            sys.stderr.write("".join(f"{line}\n" for line in self._lines(record)))
            sys.stderr.flush()

    def _lines(self, record: logging.LogRecord) -> list[str]:
        lines = record.getMessage().splitlines() or [""]
        if record.exc_info:
            lines += logging.Formatter().formatException(record.exc_info).splitlines()
        if self._journal:
            prefix = next((text for level, text in SYSLOG_LEVELS if record.levelno >= level), "<7>")
        else:
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
            prefix = f"{when} {record.levelname.lower():7} "
        return [f"{prefix}{line}" for line in lines]


def end_anyway(code: int) -> None:
    """End the process after `END_S`, even if threads or libraries hang."""

    def wait() -> None:
        time.sleep(END_S)
        log.error("the process did not end within %.1f s; ending it forcibly", END_S)
        _leave(code)

    threading.Thread(target=wait, name="end", daemon=True).start()


def _exit_code(finding: WatchdogFinding, interrupts: Interrupts) -> int:
    if finding.hangs:
        return STUCK_EXIT_CODE
    return interrupts.exit_code if finding.fatal is None else EdgevisionError.exit_code


def _run(service: Service, interrupts: Interrupts, reloads: Reloads) -> WatchdogFinding:
    """Run until a signal or a fatal finding, which is returned.

    If a library blocks the interpreter, none of our threads can run; faulthandler's own thread still ends the process.
    """
    armed_s = -HANG_S
    try:
        while not interrupts.requested():
            if reloads.take():
                service.reload()
            finding = service.tick()
            if finding.fatal is not None:
                return finding
            if not finding.opening and time.monotonic() - armed_s > HANG_S / 8:
                armed_s = time.monotonic()
                faulthandler.dump_traceback_later(HANG_S, exit=True)
            time.sleep(POLL_S)
        return WatchdogFinding()
    finally:
        faulthandler.cancel_dump_traceback_later()


def _leave(code: int) -> None:
    """End at once, after flushing the output."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def _log_to_stderr(environment: Mapping[str, str]) -> Iterator[None]:
    logger = logging.getLogger("edgevision")
    handler = LogHandler(journal="JOURNAL_STREAM" in environment)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _counts(analytics: AnalyticsOptions) -> str:
    numbers = ((len(analytics.lines), "line"), (len(analytics.zones), "zone"))
    parts = [f"{count} {what}{'s' * (count > 1)}" for count, what in numbers if count]
    return ", ".join(parts) or ("tracks" if analytics.track else "none")
