"""Trained PyTorch checkpoints to verified engines on live cameras.

>>> import edgevision
>>> model = edgevision.load("street")      # a packaged bundle, or one made by `edgevision export`
>>> for found in model("bus.jpg"):
...     found.name, found.score, found.box_xyxy
>>> for frame, prediction in model.stream("rtsp://host/stream"):
...     prediction.plot()

Names are imported when they are first used: `import edgevision` alone loads neither numpy nor OpenCV.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgevision.analytics.analytics import Analytics
    from edgevision.analytics.options import AnalyticsOptions
    from edgevision.analytics.places import Line, Zone
    from edgevision.analytics.tracker import Tracker
    from edgevision.bundle.folder import Bundle
    from edgevision.contract.results import (
        Classification,
        Detections,
        Instances,
        OrientedBoxes,
        Poses,
        Segmentation,
    )
    from edgevision.contract.session import ReplaySession, Session, SessionOptions
    from edgevision.contract.spec import ModelSpec
    from edgevision.contract.thresholds import ClassThresholds
    from edgevision.contract.tiles.options import TileOptions
    from edgevision.drawing.observation import annotate
    from edgevision.engines.opening import open_session
    from edgevision.errors import EdgevisionError, VerificationError
    from edgevision.explain.heatmap import draw_explanation
    from edgevision.explain.maps import Explanation
    from edgevision.inference.generation import GeneratedImage, Generation
    from edgevision.inference.model import Model, load
    from edgevision.inference.prediction import Prediction
    from edgevision.pipeline.options import PipelineOptions
    from edgevision.pipeline.pipeline import run_pipeline, run_streams
    from edgevision.pipeline.streams import SourceStream
    from edgevision.service.camera_manager import CameraManager
    from edgevision.service.camera_plan import CameraPlan
    from edgevision.service.web.options import PageOptions
    from edgevision.service.web.server import serve
    from edgevision.sinks.addresses import SinkOptions, open_sink
    from edgevision.sinks.frame_result import FrameResult
    from edgevision.sinks.sink import Sink
    from edgevision.sources.health import SourceHealth
    from edgevision.sources.opening import open_source
    from edgevision.sources.options import CameraOptions
    from edgevision.verification.golden import verify_session

_MODULES = {
    "Analytics": "analytics.analytics",
    "AnalyticsOptions": "analytics.options",
    "Bundle": "bundle.folder",
    "CameraManager": "service.camera_manager",
    "CameraOptions": "sources.options",
    "CameraPlan": "service.camera_plan",
    "ClassThresholds": "contract.thresholds",
    "Classification": "contract.results",
    "Detections": "contract.results",
    "EdgevisionError": "errors",
    "Explanation": "explain.maps",
    "FrameResult": "sinks.frame_result",
    "GeneratedImage": "inference.generation",
    "Generation": "inference.generation",
    "Instances": "contract.results",
    "Line": "analytics.places",
    "Model": "inference.model",
    "ModelSpec": "contract.spec",
    "OrientedBoxes": "contract.results",
    "PageOptions": "service.web.options",
    "PipelineOptions": "pipeline.options",
    "Poses": "contract.results",
    "Prediction": "inference.prediction",
    "ReplaySession": "contract.session",
    "Segmentation": "contract.results",
    "Session": "contract.session",
    "SessionOptions": "contract.session",
    "Sink": "sinks.sink",
    "SinkOptions": "sinks.addresses",
    "SourceHealth": "sources.health",
    "SourceStream": "pipeline.streams",
    "TileOptions": "contract.tiles.options",
    "Tracker": "analytics.tracker",
    "VerificationError": "errors",
    "Zone": "analytics.places",
    "annotate": "drawing.observation",
    "draw_explanation": "explain.heatmap",
    "load": "inference.model",
    "open_session": "engines.opening",
    "open_sink": "sinks.addresses",
    "open_source": "sources.opening",
    "run_pipeline": "pipeline.pipeline",
    "run_streams": "pipeline.pipeline",
    "serve": "service.web.server",
    "verify_session": "verification.golden",
}

__all__ = [
    "Analytics",
    "AnalyticsOptions",
    "Bundle",
    "CameraManager",
    "CameraOptions",
    "CameraPlan",
    "ClassThresholds",
    "Classification",
    "Detections",
    "EdgevisionError",
    "Explanation",
    "FrameResult",
    "GeneratedImage",
    "Generation",
    "Instances",
    "Line",
    "Model",
    "ModelSpec",
    "OrientedBoxes",
    "PageOptions",
    "PipelineOptions",
    "Poses",
    "Prediction",
    "ReplaySession",
    "Segmentation",
    "Session",
    "SessionOptions",
    "Sink",
    "SinkOptions",
    "SourceHealth",
    "SourceStream",
    "TileOptions",
    "Tracker",
    "VerificationError",
    "Zone",
    "annotate",
    "draw_explanation",
    "load",
    "open_session",
    "open_sink",
    "open_source",
    "run_pipeline",
    "run_streams",
    "serve",
    "verify_session",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'edgevision' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgevision.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
