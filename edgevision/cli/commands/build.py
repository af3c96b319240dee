"""`edgevision build`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgevision.cli.options.defined import option_of
from edgevision.cli.options.types import SMS
from edgevision.cli.present import table
from edgevision.cli.progress import LOG_PERIOD_S, TERMINAL_PERIOD_S, Interrupts
from edgevision.contract.session import SessionOptions
from edgevision.device.names import DeviceName
from edgevision.errors import UsageError

if TYPE_CHECKING:
    from edgevision.builder.engines import Outcome
    from edgevision.builder.progress import BuildProgress
    from edgevision.bundle.folder import Bundle
    from edgevision.engines.tensorrt.library import Library
    from edgevision.engines.tensorrt.manifest import EngineManifest, EngineSpeed, LayerCount
    from edgevision.engines.tensorrt.request import EngineRequest
    from edgevision.engines.tensorrt.versions import Flavour


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="Library that builds. Default: the installed one.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "all", "int8", "fp16", "fp8", "float"]),
    default="auto",
    show_default=True,
    help="Graph to build. auto: the first of int8, fp16 and float that can be built and passes verification; all:"
    " every graph, so that `run` can choose the fastest.",
)
@click.option(
    "--sm", type=SMS, help="Compute capabilities, such as 75,86,89,120. Default: this machine's GPU."
)
@click.option("--workspace-mib", type=click.IntRange(min=1), help="Limit of the builder's workspace.")
@click.option(
    "--memory-mib",
    type=click.IntRange(min=1),
    help="Memory that the build may use, instead of the free memory measured.",
)
@option_of(
    SessionOptions,
    "device",
    help="cuda, or dla:N for a DLA core of a Jetson; layers that a DLA does not support run on the GPU.  [cuda]",
)
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path),
    help="File of the timing cache. Default: one inside the bundle.",
)
@click.option(
    "--level",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="Optimization level of the builder: 0 builds fastest, 5 runs fastest.",
)
@click.option("--rebuild", is_flag=True, help="Build again even if a current engine exists.")
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    engine: Flavour | None,
    precision: Literal["auto", "all", "int8", "fp16", "fp8", "float"],
    sm: tuple[int, ...] | None,
    workspace_mib: int | None,
    memory_mib: int | None,
    device: str | None,
    timing_cache: Path | None,
    level: int,
    rebuild: bool,
) -> None:
    """Build TensorRT engines from a bundle.

    TensorRT builds for this machine's GPU, TensorRT-RTX also for others. BUNDLE/engines/ receives plain plans, each
    with a manifest that `edgevision run` checks before it opens the plan. If the target GPU is present, the golden
    frames run through the new engine. All verified engines are then compared, and the fastest is stored for this
    machine. Each graph of a pipeline in several graphs gets an engine of its own, and so do an
    autoencoder's encoder and decoder. Ctrl-C ends a build cleanly (exit
    code 130): no engine is written, the timing cache is kept.
    """
    from edgevision.benchmark.comparison import ComparisonOptions
    from edgevision.bundle.folder import Bundle
    from edgevision.cli.comparing import compare_shown
    from edgevision.engines.tensorrt.library import load_library, preferred_flavour
    from edgevision.engines.tensorrt.request import EngineRequest

    opened = Bundle.open(bundle)
    library = load_library(engine or preferred_flavour(), "edgevision build")
    request = EngineRequest(
        precision=precision,
        sms=sm,
        workspace_mib=workspace_mib,
        memory_mib=memory_mib,
        dla_core=_dla_core(device),
        timing_cache=timing_cache,
        level=level,
        rebuild=rebuild,
    )
    outcomes: list[Outcome] = []
    coders = opened.coders
    for part in opened.parts or (opened, *coders):
        if part is not opened:
            click.echo(f"{part.path}:")
        held = {"auto", "all", *(graph.precision for graph in part.manifest.graphs)}
        coder = part in coders  # `quantize` adds graphs to the generator only
        of_part = replace(request, precision="auto") if coder and precision not in held else request
        outcomes += build_shown(ctx, part, library, of_part)
    if any(outcome.engine.manifest.verification is not None for outcome in outcomes):
        compare_shown(opened, ComparisonOptions("edgevision build"))


def _dla_core(device: str | None) -> int | None:
    """The DLA core to build for; raises `UsageError` for a device that engines are not built on."""
    name = DeviceName("cuda") if device is None else DeviceName.parse(device)
    if name.kind == "cpu":
        raise UsageError("TensorRT builds for cuda and dla:N; received the device cpu")
    if name.gpu_index > 0:
        raise UsageError(
            f"the build uses the first GPU; received {name}. Make that GPU the first one:"
            f" CUDA_VISIBLE_DEVICES={name.index} edgevision build BUNDLE"
        )
    return name.dla_core


def build_shown(
    ctx: click.Context, bundle: Bundle, library: Library, request: EngineRequest
) -> tuple[Outcome, ...]:
    """Build with progress on standard error and print the result; an interrupt ends the command."""
    from edgevision.builder.builder import BuildCallbacks, BuildStopped
    from edgevision.builder.engines import build_engines
    from edgevision.builder.proof import verify_here

    line = _ProgressLine(library.name, reports=library.dialect.progress_monitor)
    with Interrupts() as interrupts:
        watch = BuildCallbacks(line.say, line.progress, interrupts.requested)
        try:
            outcomes = build_engines(bundle, library, request, watch, verify_here)
        except BuildStopped:
            line.clear()
            click.echo("edgevision: stopped; the unfinished engine was not written", err=True)
            ctx.exit(interrupts.exit_code)
        finally:
            line.clear()
    click.echo("\n".join(outcome_lines(outcomes)))
    return outcomes


def outcome_lines(outcomes: tuple[Outcome, ...]) -> list[str]:
    """One row per engine: target, seconds, bytes, and whether the golden frames were run."""
    from edgevision.device.gpu import sm_text

    rows, notes = [], []
    for outcome in outcomes:
        made = outcome.engine.manifest
        took = f"{made.build_s:.1f}" if outcome.built else "up to date"
        ran = "verified" if made.verification else "not run"
        rows.append([sm_text(made.sm), made.precision, took, f"{made.plan.size_bytes:,}", ran])
        notes.append(f"{outcome.engine.folder}: {made.not_run or 'golden frames passed'}{_speed(made.speed)}")
    lines = table(["target", "graph", "seconds", "bytes", "golden frames"], rows)
    return [*lines, *precision_lines(outcomes[0].engine.manifest), *notes]


def precision_lines(made: EngineManifest) -> list[str]:
    """Number of layers per type, their share of the work, and warnings of the builder."""
    from edgevision.builder.work import promised_share, shares_text
    from edgevision.engines.tensorrt.log import warned

    counts = ", ".join(f"{n} {name}" for name, n in _by_precision(made.engine_layers or made.network_layers))
    lines = [f"layers of the {'engine' if made.engine_layers else 'network'} by type: {counts}"]
    if made.work_shares:
        lines.append(f"work of the engine: {shares_text(made.work_shares)}")
    elif made.work and made.precision != "float":
        lines.append(
            f"work of the network: {promised_share(made.work, made.precision):.1%} in {made.precision}; the engine was"
            " not opened"
        )
    if made.builder_warnings:
        lines.append(f"the builder warned: {warned(made.builder_warnings)}")
    return lines


def _speed(speed: EngineSpeed | None) -> str:
    if speed is None:
        return ""
    return f", {speed.call_ms:.2f} ms a call of {speed.batch}, {speed.frames_per_s:.0f} frames/s"


def _by_precision(layers: tuple[LayerCount, ...]) -> list[tuple[str, int]]:
    """Compute layers by type; layers that only handle shapes and indices count as "others"."""
    counts: dict[str, int] = {}
    for entry in layers:
        kind = entry.precision if entry.precision in _COMPUTE else "others"
        counts[kind] = counts.get(kind, 0) + entry.count
    return sorted(counts.items(), key=lambda pair: -pair[1])


_COMPUTE = ("float32", "float16", "bfloat16", "float8", "int8")


class _ProgressLine:
    """Progress of a build on standard error; a terminal shows it on one line."""

    def __init__(self, name: str, *, reports: bool) -> None:
        self._name = name
        self._terminal = sys.stderr.isatty()
        self._period_s = TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S
        self._began = self._shown = time.perf_counter()
        self._width = 0
        if not reports:
            click.echo(f"{name} does not report build progress; a build may take many minutes", err=True)

    def say(self, text: str) -> None:
        """Print a line."""
        self.clear()
        click.echo(text, err=True)

    def progress(self, progress: BuildProgress) -> None:
        """Show the progress, at most once per period."""
        now = time.perf_counter()
        if now - self._shown < self._period_s:
            return
        self._shown = now
        text = f"{self._name}: {progress.fraction:4.0%} {now - self._began:.0f} s, {progress.phase}"
        if not self._terminal:
            click.echo(text, err=True)
            return
        click.echo("\r" + text.ljust(self._width), nl=False, err=True)
        self._width = len(text)

    def clear(self) -> None:
        """Clear the progress line."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0
