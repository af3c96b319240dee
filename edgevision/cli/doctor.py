"""`edgevision doctor`."""

from __future__ import annotations

import click

from edgevision.cache import cache_folder
from edgevision.device import device_facts
from edgevision.diagnosis import (
    diagnose_cameras,
    diagnose_engines,
    diagnose_export,
    diagnose_gpu,
    diagnose_opencv,
    diagnose_room,
)
from edgevision.opencv_build import OpenCvBuild, opencv_packages

MARKS = {"ok": ("ok     ", "green"), "missing": ("missing", "yellow"), "broken": ("BROKEN ", "red")}


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Say what works on this machine, what does not, and what mends it.

    Exit code 1 if something that is installed cannot work, or if there is no engine at all; a feature that is merely
    missing is told and no failure.
    """
    device = device_facts()
    power = f", power mode {device.power_mode}" if device.power_mode else ""
    board = f"{device.board}, " if device.board else ""
    click.echo(f"{board}{device.cpu}, {device.cores_usable:g} cores, {device.memory_mib} MiB{power}")
    jetpack = f", L4T {device.l4t}, JetPack {device.jetpack or 'not known'}" if device.l4t else ""
    click.echo(f"{device.system}, kernel {device.kernel}, Python {device.python}{jetpack}")
    findings = [
        *diagnose_engines(device),
        *diagnose_gpu(device),
        *diagnose_opencv(OpenCvBuild.here(), opencv_packages(), jetson=device.l4t is not None),
        *diagnose_cameras(),
        *diagnose_export(),
        *diagnose_room(device, cache_folder()),
    ]
    for finding in findings:
        mark, colour = MARKS[finding.status]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.what}: {finding.detail}")
        if finding.remedy is not None:
            click.echo(f"           {finding.remedy}")
    ctx.exit(1 if any(finding.status == "broken" for finding in findings) else 0)
