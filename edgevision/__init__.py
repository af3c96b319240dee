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
    from edgevision.bundle.folder import Bundle
    from edgevision.contract.results import Classification, Detections, Instances, Segmentation
    from edgevision.contract.session import ReplaySession, Session, SessionOptions
    from edgevision.contract.spec import ModelSpec
    from edgevision.engines.opening import open_session
    from edgevision.errors import EdgevisionError, VerificationError
    from edgevision.pipeline.options import PipelineOptions
    from edgevision.pipeline.pipeline import run_pipeline, run_streams
    from edgevision.pipeline.streams import SourceStream
    from edgevision.service.camera_plan import CameraPlan
    from edgevision.service.camera_manager import CameraManager
    from edgevision.sources.health import SourceHealth
    from edgevision.sources.opening import open_source
    from edgevision.sources.options import CameraOptions
    from edgevision.verification.golden import verify_session

_ENGINES = {
    "Bundle": "bundle.folder",
    "CameraPlan": "service.camera_plan",
    "Classification": "contract.results",
    "Detections": "contract.results",
    "EdgevisionError": "errors",
    "Instances": "contract.results",
    "CameraOptions": "sources.options",
    "ModelSpec": "contract.spec",
    "PipelineOptions": "pipeline.options",
    "ReplaySession": "contract.session",
    "Segmentation": "contract.results",
    "Session": "contract.session",
    "SessionOptions": "contract.session",
    "SourceHealth": "sources.health",
    "CameraManager": "service.camera_manager",
    "SourceStream": "pipeline.streams",
    "VerificationError": "errors",
    "open_session": "engines.opening",
    "open_source": "sources.opening",
    "run_pipeline": "pipeline.pipeline",
    "run_streams": "pipeline.pipeline",
    "verify_session": "verification.golden",
}

__all__ = [
    "Bundle",
    "CameraOptions",
    "CameraPlan",
    "Classification",
    "Detections",
    "EdgevisionError",
    "Instances",
    "ModelSpec",
    "PipelineOptions",
    "ReplaySession",
    "Segmentation",
    "Session",
    "SessionOptions",
    "SourceHealth",
    "CameraManager",
    "SourceStream",
    "VerificationError",
    "open_session",
    "open_source",
    "run_pipeline",
    "run_streams",
    "verify_session",
]


def __getattr__(name: str) -> object:
    if name not in _ENGINES:
        raise AttributeError(f"module 'edgevision' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgevision.{_ENGINES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
