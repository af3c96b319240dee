"""Parses what Jetson boards print about themselves: their release, power mode, and jetson_release's summary.

The formats differ between releases: see tests/device/power/recorded/SOURCES.md for recorded outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

JETPACKS = {
    "32.1": "4.2",
    "32.2": "4.2.1",
    "32.2.1": "4.2.2",
    "32.2.3": "4.2.3",
    "32.3.1": "4.3",
    "32.4.2": "4.4 DP",
    "32.4.3": "4.4",
    "32.4.4": "4.4.1",
    "32.5": "4.5",
    "32.5.1": "4.5.1",
    "32.5.2": "4.5.1",
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1": "5.0 DP",
    "34.1.1": "5.0.1 DP",
    "35.1": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5": "5.1.3",
    "35.6": "5.1.4",
    "35.6.1": "5.1.5",
    "36.2": "6.0 DP",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
}
"""JetPack of each Jetson Linux, from NVIDIA's JetPack archive; a last part of 0 is left out."""


def l4t_of_release(text: str) -> str | None:
    """Version of Jetson Linux in the text of ``/etc/nv_tegra_release``, such as 36.4.3."""
    match = re.search(r"R(\d+)\D+REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2]}" if match else None


def jetpack_of_l4t(l4t: str) -> str | None:
    """JetPack of a version of Jetson Linux: 36.4.4 is 6.2.1. None if it is not in `JETPACKS`."""
    return JETPACKS.get(re.sub(r"(\.0)+$", "", l4t))


def mode_of_files(status: str, config: str) -> str | None:
    """Power mode "MAXN (0)", from nvpmodel's status file and its configuration; None without a status."""
    match = re.search(r"pmode:(\d+)", status)
    if match is None:
        return None
    number = int(match[1])
    return f"{modes_of_config(config).get(number, f'mode {number}')} ({number})"


def modes_of_config(config: str) -> dict[int, str]:
    """Names of the power modes by number, from ``/etc/nvpmodel.conf``."""
    found = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", config, re.MULTILINE)
    return {int(number): name for number, name in found}


def mode_of_query(output: str) -> str | None:
    """Power mode "MAXN (0)", from the output of ``nvpmodel -q``; "MAXN" if it lacks the number."""
    match = re.search(r"NV Power Mode:[ \t]*(\S+)(?:\s+(\d+)[ \t]*$)?", output, re.MULTILINE)
    if match is None:
        return None
    return match[1] if match[2] is None else f"{match[1]} ({match[2]})"


@dataclass(frozen=True, slots=True)
class JetsonRelease:
    """What jetson_release of jetson-stats states; None: not stated."""

    board: str | None
    l4t: str | None
    jetpack: str | None
    power_mode: str | None


def jetson_release(output: str) -> JetsonRelease:
    """Parse the output of ``jetson_release`` of jetson-stats 3 or 4, with or without ``-v``."""
    text = re.sub(r"\x1b\[[\d;]*m", "", output)
    model = re.search(r"^[ \-]*Model: (.+?)(?: - Jetpack .*)?$", text, re.MULTILINE)
    model = model or re.search(r"^ ?- (NVIDIA .+?)$", text, re.MULTILINE)
    l4t = re.search(r"L4T:? ?(\d[\d.]*)", text)
    jetpack = re.search(r"Jetpack (\d[\w.]*(?: DP)?)", text)
    mode = re.search(r"NV Power Mode\[(\d+)\]: (\S+)", text)
    older = re.search(r"NV Power Mode: (\S+) - Type: (\d+)", text)
    power_mode = f"{mode[2]} ({mode[1]})" if mode else None
    if older:
        power_mode = f"{older[1]} ({older[2]})"
    return JetsonRelease(
        board=model[1].strip() if model else None,
        l4t=l4t[1] if l4t else None,
        jetpack=jetpack[1] if jetpack else None,
        power_mode=power_mode,
    )
