"""Devices through Ray: one actor for each node."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from edgevision.errors import EngineError, MissingExtraError, first_line
from edgevision.fleet.devices import Device, devices_of
from edgevision.fleet.node import Answer, FleetNode
from edgevision.fleet.run import DeviceLostError

LOCAL = "local"
"""Address of a cluster of this machine alone, which lives as long as the command."""
_KEEP_GPUS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Without it Ray hides the GPU of a node for which it counted none, such as a Jetson's."""


def load_ray(purpose: str) -> Any:
    """The module `ray`; raises `MissingExtraError` if it is not installed."""
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingExtraError("ray", "fleet", purpose) from error


@contextlib.contextmanager
def connected(address: str, purpose: str) -> Iterator[RayFleet]:
    """Connect to a cluster, or start one of this machine for the address "local".

    Raises `MissingExtraError` without Ray, `EngineError` if the cluster does not answer.
    """
    ray = load_ray(purpose)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        settings |= {"resources": {"this-machine": 1}, "include_dashboard": False}
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(
            f"cannot connect to the Ray cluster at {address}: {first_line(error)}. On the head: ray start --head;"
            " this machine needs the same versions of Ray and Python"
        ) from error
    try:
        yield RayFleet(ray)
    finally:
        ray.shutdown()


class RayFleet:
    """Calls `FleetNode` on the nodes of the connected cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._actor = ray.remote(FleetNode)

    def devices(self, board: str | None) -> tuple[Device, ...]:
        """The devices of the cluster; raises `UsageError` if there is none."""
        return devices_of(self._ray.nodes(), board)

    def start(self, device: Device) -> Any:
        """An actor that claims the whole node, so that no other work of Ray runs beside the benchmark."""
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        placed = strategies.NodeAffinitySchedulingStrategy(node_id=device.node_id, soft=False)
        return self._actor.options(
            scheduling_strategy=placed,
            num_cpus=device.cpus,
            num_gpus=device.gpus,
            resources={device.board: 1},
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": _KEEP_GPUS},
        ).remote()

    def put(self, data: bytes) -> Any:
        """A reference to the data in Ray's object store."""
        return self._ray.put(data)

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """A reference to the answer."""
        return getattr(handle, method).remote(*arguments)

    def ready(self, references: Sequence[Any], seconds: float) -> Sequence[Any]:
        """References with an answer or a failure."""
        done, _ = self._ray.wait(list(references), num_returns=len(references), timeout=seconds)
        return list(done)

    def answer(self, reference: Any) -> Answer:
        """The answer; raises `DeviceLostError` if the node or its process died."""
        exceptions = importlib.import_module("ray.exceptions")
        try:
            found: Answer = self._ray.get(reference)
        except exceptions.RayError as error:
            raise DeviceLostError(first_line(error)) from error
        return found

    def stop(self, handle: Any) -> None:
        """Kill the actor."""
        with contextlib.suppress(Exception):  # it may be dead already
            self._ray.kill(handle)
