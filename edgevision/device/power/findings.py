"""Interprets power and clock readings before and after a measurement."""

from __future__ import annotations

from edgevision.device.power.state import Clock, PowerState, Throttle

FULL = 0.98
"""A limit below this share of the hardware maximum was set on purpose."""


def before_timing(state: PowerState) -> tuple[str, ...]:
    """Conditions that bind timings of kernels or of a benchmark to the current clocks, each with its fix."""
    found = []
    mode = f"power mode {state.mode}" if state.mode else "a setting"
    for clock in _gpu_and_memory(state):
        highest, limit = clock.hardware_mhz, clock.limit_mhz
        if highest and limit and limit < FULL * highest:
            found.append(
                f"{mode} holds {clock.name} at {limit:.0f} of {highest:.0f} MHz: timings are valid only for this"
                " mode; first set the mode for later use (sudo nvpmodel -m N; edgevision doctor lists them)"
            )
        if clock.locked is False:
            found.append(
                f"{clock.name} follows its load and is at {clock.mhz:.0f} of {limit or 0:.0f} MHz: timings vary;"
                " lock it for the measurement (sudo jetson_clocks)"
            )
    found += [f"slowed down by {throttle.reason}" for throttle in state.throttles if throttle.active]
    return tuple(found)


def meanwhile(before: PowerState, after: PowerState) -> tuple[str, ...]:
    """Slowdowns between two moments, or active at the second one."""
    counted = {throttle.reason: throttle.events for throttle in before.throttles}
    found = []
    for throttle in after.throttles:
        events = new_events(counted.get(throttle.reason), throttle)
        if events:
            found.append(f"{throttle.reason}: {events} times")
        elif throttle.active:
            found.append(f"slowed down by {throttle.reason}")
    if before.mode and after.mode and before.mode != after.mode:
        found.append(f"power mode changed from {before.mode} to {after.mode}")
    return tuple(found)


def new_events(before: int | None, throttle: Throttle) -> int:
    """Events since a count; 0 without a counter. A counter that was reset has counted its current value."""
    if throttle.events is None or before is None:
        return 0
    return throttle.events - before if throttle.events >= before else throttle.events


def _gpu_and_memory(state: PowerState) -> tuple[Clock, ...]:
    return tuple(clock for clock in state.clocks if clock.name.startswith(("gpu", "memory")))
