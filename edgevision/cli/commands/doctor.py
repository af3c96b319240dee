"""`edgevision doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.device.facts import DeviceFacts
from edgevision.doctor.diagnosis import (
    Finding,
    diagnose_cameras,
    diagnose_decoder,
    diagnose_engines,
    diagnose_export,
    diagnose_network,
    diagnose_opencv,
    diagnose_room,
)
from edgevision.doctor.nvidia import diagnose_nvidia
from edgevision.doctor.system_facts import SystemFacts, machine_to_json, read_machine, this_machine
from edgevision.storage.cache import cache_folder

MARKS = {"ok": ("ok     ", "green"), "missing": ("missing", "yellow"), "broken": ("BROKEN ", "red")}


@click.command()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print this machine's facts as JSON, for example for a bug report.",
)
@click.option(
    "--facts",
    type=click.Path(path_type=Path),
    help="Check the facts of another machine, as written by --json.",
)
@click.pass_context
def command(ctx: click.Context, as_json: bool, facts: Path | None) -> None:
    """Check this machine and print the fix for each problem.

    Exit code 1 if an installed component cannot work, or if there is no engine at all. A missing optional feature is
    reported but is not a failure.
    """
    machine = this_machine(cache_folder()) if facts is None else read_machine(facts)
    if as_json:
        click.echo(machine_to_json(machine), nl=False)
        return
    click.echo("\n".join(machine_lines(machine)))
    findings = diagnose(machine)
    for finding in findings:
        mark, colour = MARKS[finding.status]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.what}: {finding.detail}")
        if finding.remedy is not None:
            click.echo(f"           {finding.remedy}")
    ctx.exit(1 if any(finding.status == "broken" for finding in findings) else 0)


def diagnose(machine: SystemFacts) -> list[Finding]:
    """All findings, from engines to disk space."""
    device = machine.device
    environ = {"DISPLAY": ":0"} if machine.display else {}
    return [
        *diagnose_engines(device, machine.modules.__contains__),
        *diagnose_nvidia(machine),
        *diagnose_opencv(machine.opencv, machine.opencv_packages, jetson=machine.jetson, environ=environ),
        *diagnose_cameras(machine.cameras, machine.closed_cameras),
        diagnose_network(machine.opencv, machine.modules.__contains__),
        *([diagnose_decoder(decoder.hardware, decoder.reason)] if (decoder := machine.video_decoder) else []),
        # Bundles are copied to a Jetson, not exported on it.
        *([] if machine.jetson else diagnose_export(machine.modules.__contains__)),
        *diagnose_room(
            device.memory_mib, machine.cache.path, machine.cache.free_mib, writable=machine.cache.writable
        ),
    ]


def machine_lines(machine: SystemFacts) -> list[str]:
    """The machine in three lines, preceded by its name if the facts were recorded elsewhere."""
    device = machine.device
    power = f", power mode {device.power_mode}" if device.power_mode else ""
    board = f"{device.board}, " if device.board else ""
    jetpack = f", L4T {device.l4t}, JetPack {device.jetpack or 'not known'}" if device.l4t else ""
    return [
        *([f"recorded: {machine.recorded}"] if machine.recorded else []),
        f"{board}{device.cpu}, {device.cores_usable:g} cores, {device.memory_mib} MiB{power}",
        f"{device.system}, kernel {device.kernel}, Python {device.python}{jetpack}",
        *_arithmetic(device),
    ]


def _arithmetic(device: DeviceFacts) -> list[str]:
    """The types below float32 that the CPU computes in; empty for facts of earlier versions."""
    if not device.cpu_class:
        return []
    types = " and ".join(device.cpu_computes)
    use = " (bf16: `--engine openvino --precision bf16`)" if "bf16" in device.cpu_computes else ""
    return [f"CPU class {device.cpu_class}: computes {types or 'neither bf16 nor fp16'}{use}"]
