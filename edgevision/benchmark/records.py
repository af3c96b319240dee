"""Benchmark records: measurements, machine and stability. docs/bench-record.md describes the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgevision.benchmark.energy import EnergyRecord
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.source_state import GitState
from edgevision.benchmark.stability import Snapshot
from edgevision.benchmark.timing import Samples
from edgevision.contract.session import EngineInfo, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.device.facts import DeviceFacts
from edgevision.device.power.state import PowerState

SCHEMA = 3


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The times of one stage."""

    name: str
    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    samples: PackedSamples
    """Every sample, in order."""

    @classmethod
    def of(cls, name: str, samples: Samples) -> StageRecord:
        """Summarise the samples and keep them."""
        p50_ms, p90_ms, p99_ms = (round(samples.percentile_ms(percent), 4) for percent in (50, 90, 99))
        packed = PackedSamples.of(samples.values_ns)
        return cls(name, len(samples), round(samples.mean_ms, 4), p50_ms, p90_ms, p99_ms, packed)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round of a paired comparison, with both parts measured one after the other."""

    inference_frames_per_s: float
    end_to_end_frames_per_s: float

    @property
    def ratio(self) -> float:
        """End-to-end rate divided by the rate of inference alone."""
        return self.end_to_end_frames_per_s / self.inference_frames_per_s


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """All settings of a benchmark."""

    source: str
    frame_wh: tuple[int, int]
    """Of the frames, or of the images that a model makes from noise."""
    input_wh: tuple[int, int]
    """0 and 0 for a model that takes no frames."""
    batch: int
    threads: int | None
    spin: bool
    threshold: float | tuple[float, ...]
    """Minimum confidence of a detection; several: one for each class."""
    rounds: int
    min_s: float
    min_count: int
    warmup_s: float
    warmup_count: int


@dataclass(frozen=True, slots=True)
class AccuracyRecord:
    """Accuracy of the measured graph on labelled images, in the same engine."""

    metric: str
    """ "AP", "mIoU", "top-1" or "PSNR"."""
    points: float
    """In points of 100, PSNR in dB."""
    images: int
    """Number of images that were measured."""

    @property
    def line(self) -> str:
        """Readable form."""
        return f"{self.metric} {self.points:.1f} on {self.images} images"


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """One benchmark of one model on one machine."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    model: str
    graph_sha256: str | None
    engine: EngineInfo
    device: DeviceFacts
    settings: BenchSettings
    stages: tuple[StageRecord, ...]
    """Of the serial loop, per frame; output is drawing and encoding a video."""
    inference_alone: StageRecord
    """Of the paired rounds, per call."""
    rounds: tuple[RoundRecord, ...]
    inference_frames_per_s: float
    """Median of the rounds."""
    end_to_end_frames_per_s: float
    """Median of the rounds: overlapping stages, no output."""
    end_to_end_ratio: float
    """Median of the rounds' ratios."""
    stages_sum_ms: float
    """Sum of the stages' means."""
    serial_wall_ms: float
    """Wall time of the serial loop over its frames."""
    resident_mib: float
    peak_resident_mib: float
    unstable: tuple[str, ...]
    """Reasons why the results are not comparable: drift, a long tail, heat, throttling."""
    device_time: StageRecord | None = None
    """Of the same calls as `inference_alone`, by the device's own clock; None for an engine without one."""
    power: PowerState | None = None
    """Clocks with their limits, power and throttling at the start."""
    warnings: tuple[str, ...] = ()
    """Conditions that bind the results to these clocks."""
    precision: Precision | None = None
    """Of the graph; None for a graph outside a bundle, and in records of schema 1."""
    source_sha256: str | None = None
    """Of the checkpoint or ONNX file that the model was exported from."""
    options: SessionOptions | None = None
    """Every option of the session; None in records of schema 1."""
    snapshots: tuple[Snapshot, ...] = ()
    """The machine before, during (every 2 s) and after the measurement."""
    git: GitState | None = None
    """Of the clone that measured; None for an installed package."""
    trtexec: tuple[str, ...] = ()
    """What trtexec's flags would be; see `trtexec_flags`."""
    energy: EnergyRecord | None = None
    """Of the overlapping pipeline; None in records of schemas 1 and 2."""
    accuracy: AccuracyRecord | None = None
    """None if no labelled images were given."""
    kind: Literal["bench"] = "bench"
    schema: int = SCHEMA

    @property
    def stages_share(self) -> float:
        """Share of the wall time that the stages explain."""
        return self.stages_sum_ms / self.serial_wall_ms
