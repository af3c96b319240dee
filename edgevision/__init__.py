"""Trained PyTorch checkpoints to verified engines on live cameras.

>>> import edgevision
>>> with edgevision.open_session("yolov5n") as session:   # a bundle, made by `edgevision export`
...     detections, = session([frame_bgr])
...     detections.boxes, detections.scores, detections.labels

Names are imported when they are first used: `import edgevision` alone loads neither numpy nor OpenCV.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgevision.addresses import LiveOptions
    from edgevision.bundle import Bundle
    from edgevision.camera_plan import CameraPlan
    from edgevision.errors import EdgevisionError, VerificationError
    from edgevision.health import SourceHealth
    from edgevision.pipeline import PipelineOptions, run_pipeline, run_streams
    from edgevision.results import Classification, Detections, Instances, Segmentation
    from edgevision.session import ReplaySession, Session, SessionOptions, open_session
    from edgevision.sources import open_source
    from edgevision.spec import ModelSpec
    from edgevision.station import Station
    from edgevision.streams import Stream
    from edgevision.verification import verify_session

_HOMES = {
    "Bundle": "bundle",
    "CameraPlan": "camera_plan",
    "Classification": "results",
    "Detections": "results",
    "EdgevisionError": "errors",
    "Instances": "results",
    "LiveOptions": "addresses",
    "ModelSpec": "spec",
    "PipelineOptions": "pipeline",
    "ReplaySession": "session",
    "Segmentation": "results",
    "Session": "session",
    "SessionOptions": "session",
    "SourceHealth": "health",
    "Station": "station",
    "Stream": "streams",
    "VerificationError": "errors",
    "open_session": "session",
    "open_source": "sources",
    "run_pipeline": "pipeline",
    "run_streams": "pipeline",
    "verify_session": "verification",
}

__all__ = [
    "Bundle",
    "CameraPlan",
    "Classification",
    "Detections",
    "EdgevisionError",
    "Instances",
    "LiveOptions",
    "ModelSpec",
    "PipelineOptions",
    "ReplaySession",
    "Segmentation",
    "Session",
    "SessionOptions",
    "SourceHealth",
    "Station",
    "Stream",
    "VerificationError",
    "open_session",
    "open_source",
    "run_pipeline",
    "run_streams",
    "verify_session",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevision' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgevision.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
