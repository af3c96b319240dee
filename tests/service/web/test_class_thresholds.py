"""Thresholds by class in the state and the metrics."""

from __future__ import annotations

from dataclasses import replace

from edgevision.contract.thresholds import ClassThresholds
from tests.service.web.conftest import Serving, ask, wait_until
from tests.service.web.fake_manager import FakeManager


def test_thresholds_by_class(serving: Serving) -> None:
    camera_manager = FakeManager(["cam", "yard"])
    server = serving(camera_manager)
    first, second = camera_manager.fake.cameras
    camera_manager.fake.cameras = (
        replace(first, threshold=ClassThresholds((0.4,))),
        replace(second, threshold=None),
    )
    wait_until(
        lambda: (
            [
                (camera["threshold"], camera["thresholds"])
                for camera in ask(server, "/api/state").json["cameras"]
            ]
            == [(None, {"a": 0.4}), (None, None)]
        ),
        "the state has the threshold of each class",
    )
    assert ask(server, "/api/state").json["engine"]["thresholds"] is None  # those of the model
    assert ask(server, "/api/state").json["engine"]["boxes"] is True
    metrics = ask(server, "/metrics").body.decode().splitlines()
    (line,) = (line for line in metrics if line.startswith("edgevision_threshold_ratio{"))
    assert line.endswith(" 0.4")
