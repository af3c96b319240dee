"""`edgevision bench`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgevision.benchmark.bench import BenchOptions
from edgevision.benchmark.builds import Build, bench_build, settled
from edgevision.benchmark.comparison import SECONDS, ComparisonOptions
from edgevision.benchmark.frames import BenchFrames
from edgevision.benchmark.noise import measured_noise
from edgevision.benchmark.paired.against import measure_against, other_build
from edgevision.benchmark.paired.options import LimitOptions, PairingOptions
from edgevision.benchmark.paired.pairs import PairOptions
from edgevision.benchmark.paired.record import paired_lines
from edgevision.benchmark.record_files import write_record
from edgevision.benchmark.record_text import record_lines
from edgevision.benchmark.records import AccuracyRecord, BenchRecord
from edgevision.benchmark.scenarios.options import SCENARIOS, Scenario, ScenarioOptions
from edgevision.benchmark.scenarios.record import scenario_lines
from edgevision.benchmark.scenarios.run import run_camera, run_scenario
from edgevision.benchmark.soak.record import soak_lines
from edgevision.benchmark.soak.run import run_soak
from edgevision.benchmark.timing import MeasureSettings
from edgevision.bundle.folder import Bundle
from edgevision.cli.comparing import compare_shown
from edgevision.cli.extras import can_compare, require_compare, require_loadgen
from edgevision.cli.judging import show_verdict
from edgevision.cli.options.groups import graph_options, pairing_options, scenario_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import Steps
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.devices import find_device
from edgevision.engines.opening import ENGINES, model_spec
from edgevision.errors import UsageError
from edgevision.sources.opening import open_source


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", help="Video file, image or folder. Default: a generated clip of photographs.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to measure. Default: the fastest of a comparison."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=9.0,
    show_default=True,
    help="Minimum time in seconds for each of: inference alone, end to end, stage by stage.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of paired rounds that share this time.",
)
@graph_options
@click.option(
    "--allow-fallback",
    is_flag=True,
    help="With onnxruntime-cuda and onnxruntime-tensorrt: run on the CPU what the GPU cannot run. Default: an error if"
    " that is more than 5 % of the nodes.",
)
@click.option(
    "--record",
    "json_file",
    type=click.Path(path_type=Path),
    help="Write the benchmark record to this JSON file.",
)
@click.option(
    "--against",
    metavar="OTHER",
    help="Compare with another build in interleaved pairs: a bundle, an engine and a precision, separated by commas,"
    " such as old_bundle or openvino,int8.",
)
@pairing_options
@click.option(
    "--scenario",
    type=click.Choice(SCENARIOS),
    help="Run a scenario of MLPerf's LoadGen; or a camera at its own rate, to measure ages and dropped frames.",
)
@scenario_options
@click.option(
    "--soak",
    "soak_minutes",
    type=FiniteRange(min=0, min_open=True),
    metavar="MIN",
    help="Run the overlapping pipeline for MIN minutes; record speed, clocks, temperatures and memory over time.",
)
@click.option(
    "--eval-images",
    type=click.Path(path_type=Path),
    help="Folder of labelled images: measure the accuracy of the same build for the record, as edgevision eval does.",
)
@click.option(
    "--eval-annotations",
    type=click.Path(path_type=Path),
    help="Labels of --eval-images, in a format of edgevision eval --annotations.",
)
def command(
    bundle: Path,
    source: str | None,
    engine: str | None,
    threads: int | None,
    seconds: float,
    rounds: int,
    precision: Precision | None,
    device: str | None,
    force: bool,
    allow_fallback: bool,
    json_file: Path | None,
    against: str | None,
    pairing: PairingOptions,
    scenario: Scenario | None,
    scenario_settings: ScenarioOptions,
    **extra: Any,
) -> None:
    """Measure latency and throughput of every stage.

    Stages, in a serial loop: decode, prepare (scaling into the batch), inference (the whole graph), results
    (thresholding, boxes to frame pixels), output (drawing, encoding a video that is discarded). Then frames/s with
    overlapping stages is compared with inference alone, in paired rounds. Of a model that makes images: noise,
    inference, output (encoding PNG files that are discarded). UNSTABLE means that latency or clocks drifted by more
    than 10 %, that p99 exceeds twice p50, that a temperature rose by more than 5 degrees C, or that the machine was
    throttled.

    Without --engine and --precision, all verified engines and graphs are compared first. The fastest is stored for this
    machine, where `run`, `live` and `deploy` use it, and its stages are measured. With --scenario and --soak, the
    engine and graph that `run` would use are measured.

    With --scenario and --record, LoadGen's logs are written into the folder FILE.loadgen. A run that is shorter than
    --min-duration, or exceeds its latency limit, is INVALID. A soak is UNSTABLE if the machine was throttled, frames/s
    moved by more than 10 %, or memory grew.

    With --against, only inference is measured, for at least --seconds with each build in a group of pairs. The verdict
    needs the extra compare; without it, run `edgevision compare` on the record on another machine.
    """
    options = SessionOptions(
        threads=threads, allow_fallback=allow_fallback, precision=precision, device=device, force=force
    )
    extras = _Extras(**extra)
    _check_modes(against, pairing, scenario, scenario_settings, extras)
    generates = model_spec(bundle).task == "generate"
    if generates:
        _refuse_frames(source, scenario)
    elif source is not None:
        open_source(source).close()  # a missing source is reported before the comparison
    build = Build(bundle, engine, options)
    if against is not None:
        _compare(build, against, seconds, pairing, source, json_file)
    elif scenario is not None:
        _run_scenario(build, scenario, scenario_settings, source, json_file, extras)
    elif extras.soak_minutes is not None:
        _run_soak(build, extras.soak_minutes, source, json_file, extras)
    else:
        settings = MeasureSettings(seconds, min_count=30 * rounds, warmup_s=min(1.0, seconds), warmup_count=5)
        noise = functools.partial(measured_noise, progress=Steps().done)
        measure = noise if generates else functools.partial(_measure, source=source)
        _measure_stages(build, BenchOptions(settings, rounds), measure, json_file, extras)


@dataclass(frozen=True, slots=True)
class _Extras:
    """A soak's time, and images with labels for the accuracy in the record."""

    soak_minutes: float | None
    eval_images: Path | None
    eval_annotations: Path | None

    def check(self) -> None:
        """Raise `UsageError` for labels without images, and for missing paths."""
        images, annotations = self.eval_images, self.eval_annotations
        if images is None and annotations is not None:
            raise UsageError("--eval-annotations needs --eval-images DIR, the folder of the labelled images")
        if images is not None and not images.is_dir():
            raise UsageError(
                f"--eval-images {images} is not a folder; pass the folder of the labelled images"
            )
        if annotations is not None and not annotations.exists():
            raise UsageError(
                f"--eval-annotations {annotations} does not exist; pass the labels of --eval-images"
            )

    def accuracy(self, build: Build) -> AccuracyRecord | None:
        """Accuracy of the build; None without images."""
        if self.eval_images is None:
            return None
        from edgevision.cli.accuracy import graph_accuracy  # imports the metrics' libraries

        return graph_accuracy(build, self.eval_images, self.eval_annotations)


def _check_modes(
    against: str | None,
    pairing: PairingOptions,
    scenario: Scenario | None,
    settings: ScenarioOptions,
    extras: _Extras,
) -> None:
    """Raise `UsageError` for options that the chosen measurement does not use."""
    if against is None and pairing != PairingOptions():
        raise UsageError("--pairs, --max-pairs, --fail-above and --noise-floor need --against")
    _check_scenario(scenario, settings, against)
    _check_times(scenario, against)
    extras.check()
    if extras.soak_minutes is not None:
        _check_soak(scenario, against)
    if extras.eval_images is not None and against is not None:
        raise UsageError(
            "--eval-images measures one build: omit --against, or use `edgevision eval` on each build"
        )


def _check_soak(scenario: Scenario | None, against: str | None) -> None:
    """Raise `UsageError` for options that a soak does not use."""
    if scenario is not None or against is not None:
        raise UsageError("--soak is a measurement of its own: omit --scenario and --against")
    given = click.get_current_context().get_parameter_source
    for name in ("seconds", "rounds"):
        if given(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--soak does not use --{name}; --soak MIN is its time in minutes")


def _run_soak(
    build: Build, minutes: float, source: str | None, json_file: Path | None, extras: _Extras
) -> None:
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="edgevision-bench-") as scratch:
        folder = Path(scratch)
        chosen = settled(build)
        frames = BenchFrames(source, folder, steps.done)
        record = run_soak(chosen, frames.opener, minutes, folder, steps.done)
    record = replace(record, accuracy=extras.accuracy(chosen))
    if json_file is not None:
        write_record(json_file, record)
    click.echo("\n".join(soak_lines(record)))


def _refuse_frames(source: str | None, scenario: Scenario | None) -> None:
    """Raise `UsageError` for options that a model without frames cannot have."""
    for name, given in (("--source", source is not None), ("--scenario camera", scenario == "camera")):
        if given:
            raise UsageError(f"{name} measures on frames; the model makes images from noise: omit {name}")


def _check_scenario(scenario: Scenario | None, settings: ScenarioOptions, against: str | None) -> None:
    """Raise `UsageError` for options of scenarios without --scenario, and for those that it does not use."""
    if scenario is None and settings != ScenarioOptions():
        raise UsageError("--min-duration and the other options of scenarios need --scenario")
    if scenario is not None and against is not None:
        raise UsageError("--scenario measures one build: omit --against")
    if scenario is not None:
        settings.check(scenario)


def _check_times(scenario: Scenario | None, against: str | None) -> None:
    """Raise `UsageError` if --seconds or --rounds is given and would have no effect."""
    given = click.get_current_context().get_parameter_source
    if scenario is not None and given("seconds") is ParameterSource.COMMANDLINE:
        raise UsageError("--scenario does not use --seconds; --min-duration S is its minimum time")
    if scenario is not None and given("rounds") is ParameterSource.COMMANDLINE:
        raise UsageError("--scenario does not use --rounds; omit it")
    if against is not None and given("rounds") is ParameterSource.COMMANDLINE:
        raise UsageError("--against does not use --rounds; --pairs N is its number of rounds")


def _fastest(build: Build, seconds: float) -> Build:
    """The build with the engine and precision to measure: those requested, else the fastest of a comparison."""
    options = build.options
    if build.engine is not None or options.precision is not None or build.path.suffix == ".onnx":
        return build
    device = find_device(options.device)
    compared = ComparisonOptions(
        "edgevision bench", min(seconds, SECONDS), threads=options.threads, device=device
    )
    chosen = compare_shown(Bundle.open(build.path), compared)
    return Build(build.path, chosen.engine, replace(options, precision=chosen.precision))


def _measure(build: Build, options: BenchOptions, source: str | None) -> BenchRecord:
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="edgevision-bench-") as scratch:
        frames = BenchFrames(source, Path(scratch), steps.done)
        return bench_build(build, options, frames.opener, Path(scratch), steps.done)


def _measure_stages(
    build: Build,
    options: BenchOptions,
    measure: Callable[[Build, BenchOptions], BenchRecord],
    json_file: Path | None,
    extras: _Extras,
) -> None:
    chosen = _fastest(build, options.measure.min_s)
    record = measure(chosen, options)
    record = replace(record, accuracy=extras.accuracy(chosen))
    click.echo("\n".join(record_lines(record)))
    if json_file is not None:
        write_record(json_file, record)


def _compare(
    build: Build,
    against: str,
    seconds: float,
    limits: PairingOptions,
    source: str | None,
    json_file: Path | None,
) -> None:
    """Measure in pairs, write the record, then judge: an exceeded limit must not cost the record."""
    if limits.fail_above is not None:
        require_compare("--fail-above")
    options = limits.pair_options(seconds, can_judge=can_compare())
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="edgevision-bench-") as scratch:
        folder = Path(scratch)
        new = settled(build)
        base = settled(other_build(against, new))
        frames = BenchFrames(source, folder, steps.done)
        record = measure_against(
            base, new, frames.opener, options, folder, steps.done, _decision(limits, options)
        )
    if json_file is not None:
        write_record(json_file, record)
    click.echo("\n".join(paired_lines(record)))
    if not can_compare():
        click.echo("no verdict: pip install 'edgevision[compare]', then `edgevision compare RECORD`")
        return
    from edgevision.benchmark.paired.verdict import record_verdict

    show_verdict(new.name, base.name, record_verdict(record, limits.noise_floor), limits)


def _decision(
    limits: LimitOptions, options: PairOptions
) -> Callable[[Sequence[float], Sequence[float]], bool]:
    """Whether the pairs so far answer the question."""

    def decided(base_ms: Sequence[float], new_ms: Sequence[float]) -> bool:
        from edgevision.benchmark.paired.verdict import judge_pairs

        verdict = judge_pairs(base_ms, new_ms, floor=limits.noise_floor, looks=options.groups)
        return verdict.decided(limits.fail_above)

    return decided


def _run_scenario(
    build: Build,
    scenario: Scenario,
    options: ScenarioOptions,
    source: str | None,
    json_file: Path | None,
    extras: _Extras,
) -> None:
    if scenario != "camera":
        require_loadgen(f"--scenario {scenario}")
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="edgevision-bench-") as scratch:
        folder = Path(scratch)
        frames = BenchFrames(source, folder, steps.done)
        chosen = settled(build)
        if scenario == "camera":
            record = run_camera(chosen, frames.camera, options, steps.done)
        else:
            logs = None if json_file is None else json_file.with_name(f"{json_file.name}.loadgen")
            record = run_scenario(chosen, frames.opener, scenario, options, folder, logs, steps.done)
    record = replace(record, accuracy=extras.accuracy(chosen))
    if json_file is not None:
        write_record(json_file, record)
    click.echo("\n".join(scenario_lines(record)))
