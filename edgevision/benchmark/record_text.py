"""Benchmark records as text for a terminal."""

from __future__ import annotations

from edgevision.benchmark.energy import energy_line
from edgevision.benchmark.records import BenchRecord
from edgevision.device.facts import DeviceFacts


def record_lines(record: BenchRecord) -> list[str]:
    """The record in readable form."""
    settings = record.settings
    hashed = f", sha256 {record.graph_sha256[:12]}" if record.graph_sha256 else ""
    frame, size = ("x".join(map(str, wh)) for wh in (settings.frame_wh, settings.input_wh))
    takes_frames = settings.input_wh != (0, 0)
    one = "a frame" if takes_frames else "an image"
    lines = [
        f"{record.model}{hashed}: {record.engine.library} on {record.engine.device}, batch {settings.batch}",
        f"{settings.source}, {frame} frames to {size} input"
        if takes_frames
        else f"{settings.source}, {frame} images",
        *(f"  {note}" for note in record.engine.notes),
        *_device_lines(record.device),
        "",
        f"{'stage':<16}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'mean ms':>9}{'frames':>8}",
    ]
    lines += [
        f"{s.name:<16}{s.p50_ms:>9.2f}{s.p90_ms:>9.2f}{s.p99_ms:>9.2f}{s.mean_ms:>9.2f}{s.count:>8}"
        for s in (*record.stages, record.inference_alone, record.device_time)
        if s is not None
    ]
    low, high = (choose(r.ratio for r in record.rounds) for choose in (min, max))
    lines += [
        "",
        f"stages add up to {record.stages_sum_ms:.2f} ms of {record.serial_wall_ms:.2f} ms {one}:"
        f" {record.stages_share:.1%}",
        f"{record.end_to_end_frames_per_s:.1f} "
        + (
            "frames/s end to end with overlapping stages"
            if takes_frames
            else "images/s with all stages in turn"
        )
        + ", nothing written;"
        f" {record.inference_frames_per_s:.1f} by inference alone",
        f"ratio {record.end_to_end_ratio:.3f} (median of {len(record.rounds)} paired rounds, {low:.3f} to {high:.3f})",
        f"{record.resident_mib:.0f} MiB resident, {record.peak_resident_mib:.0f} MiB at the peak",
    ]
    lines += [] if record.energy is None else [energy_line(record.energy)]
    lines += [] if record.accuracy is None else [record.accuracy.line]
    lines += [f"WARNING: {warning}" for warning in record.warnings]
    return lines + [f"UNSTABLE: {reason}" for reason in record.unstable]


def _device_lines(device: DeviceFacts) -> list[str]:
    parts = [
        device.board,
        device.cpu,
        device.cpu_class,
        f"{device.cores_usable:g} cores",
        f"{device.memory_mib} MiB",
        *device.gpus,
    ]
    system = [
        device.system,
        f"kernel {device.kernel}",
        f"Python {device.python}",
        device.l4t and f"L4T {device.l4t}",
        device.jetpack and f"JetPack {device.jetpack}",
        f"power mode {device.power_mode or 'unknown'}",
    ]
    sensors = [f"{r.name} {r.value:.0f} MHz" for r in device.clocks_mhz]
    sensors += [f"{r.name} {r.value:.0f} °C" for r in device.temperatures_c]
    lines = [", ".join(part for part in parts if part), ", ".join(part for part in system if part)]
    missing = "clocks and temperatures: not readable"
    if device.gpus:
        missing += "; for those of cards: pip install nvidia-ml-py"
    return [*lines, ", ".join(sensors) if sensors else missing]
