"""Energy per frame: the mean power of a supply over the runs of a measurement, times their time over their frames."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgevision.device.facts import ROOT, FactReading
from edgevision.device.power import rails
from edgevision.device.power.rails import PackageMeter
from edgevision.device.power.reading import nvml_state
from edgevision.device.power.supply import Supply, board_supply

PERIOD_S = 0.2
"""Time between two readings; a reading of three rails takes about two milliseconds."""
PACKAGES = "CPU package"
NO_SENSOR = "this machine has no readable power sensor: no rails of a Jetson and no RAPL counter"
ROOT_ONLY = (
    "only root may read the RAPL counters of this machine; until its next start, permit it with: sudo chmod a+r"
    " /sys/class/powercap/intel-rapl:*/energy_uj"
)


@dataclass(frozen=True, slots=True)
class EnergyRecord:
    """Energy of a part of the machine during the timed runs. None: not readable, see `missing`."""

    joules_per_frame: float | None
    watts: float | None
    """Mean over `seconds`."""
    scope: str
    """Part of the machine: "board input", "module input", "sum of the module's rails", "GPU" or "CPU package"."""
    rails: tuple[str, ...]
    """Names of the sensors, which are added."""
    over: str
    """What ran meanwhile."""
    seconds: float
    frames: int
    missing: str = ""
    """Why there is no figure; empty if there is one."""


class PowerSensor:
    """The power that an engine's work takes: of a Jetson's input, else of the GPU or the CPU package under it."""

    def __init__(self, *, on_gpu: bool) -> None:
        self.supply: Supply | None = board_supply([reading.name for reading in rails.watts(ROOT)])
        self.missing = ""
        self._read: Callable[[], tuple[FactReading, ...]] = lambda: rails.watts(ROOT)
        self.averages = False
        """True if a reading is the average since the previous one, instead of the current value."""
        if self.supply is not None:
            return
        if on_gpu:
            cards = tuple(reading.name for reading in nvml_state().watts)
            self._read = lambda: nvml_state().watts
            self.supply = Supply("GPU", cards) if cards else None
            self.missing = "" if cards else "no power of a GPU is readable; pip install nvidia-ml-py"
            return
        meter = PackageMeter()
        meter.watts()
        self._read, self.averages = meter.watts, True
        self.supply = Supply(PACKAGES, meter.names) if meter.readable else None
        if self.supply is None:
            self.missing = NO_SENSOR if not rails.has_packages(ROOT) else ROOT_ONLY

    def watts(self) -> float | None:
        """A reading; None if it failed."""
        return None if self.supply is None else self.supply.watts(self._read())


class EnergyMeter:
    """Integrates the power over several runs; `frames` is added by the caller."""

    def __init__(
        self,
        sensor: PowerSensor,
        over: str,
        *,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensor = sensor
        self._over = over
        self._period_s = period_s
        self._clock = clock
        self._joules = 0.0
        self._seconds = 0.0
        self._last: tuple[float, float | None] = (0.0, None)
        self.frames = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """One run: readings at its start, every `period_s`, and at its end."""
        ended = threading.Event()
        self._last = (self._clock(), self._sensor.watts())
        thread = threading.Thread(target=self._sample, args=(ended,), name="energy-meter", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._look()

    def record(self, seconds: float | None = None) -> EnergyRecord:
        """The figures of all runs so far; `seconds` replaces their time, if they contained more than the work."""
        supply, time_s = self._sensor.supply, self._seconds if seconds is None else seconds
        known = supply is not None and self._seconds > 0 and self.frames > 0
        watts = self._joules / self._seconds if known else 0.0
        return EnergyRecord(
            joules_per_frame=round(watts * time_s / self.frames, 5) if known else None,
            watts=round(watts, 4) if known else None,
            scope="" if supply is None else supply.scope,
            rails=() if supply is None else supply.rails,
            over=self._over,
            seconds=round(time_s, 4),
            frames=self.frames,
            missing="" if known else self._sensor.missing or "the sensor gave no reading during the runs",
        )

    def _sample(self, ended: threading.Event) -> None:
        while not ended.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        (before_s, before), now_s, watts = self._last, self._clock(), self._sensor.watts()
        self._last = (now_s, watts)
        if watts is None or before is None:
            return
        mean = watts if self._sensor.averages else (before + watts) / 2
        self._joules += mean * (now_s - before_s)
        self._seconds += now_s - before_s


def energy_line(energy: EnergyRecord) -> str:
    """The record in readable form."""
    if energy.joules_per_frame is None:
        return f"energy per frame: unknown; {energy.missing}"
    return (
        f"{energy.joules_per_frame:.3f} J per frame: {energy.watts:.2f} W mean of the {energy.scope}"
        f" ({', '.join(energy.rails)}) over {energy.seconds:.1f} s of {energy.over}"
    )
