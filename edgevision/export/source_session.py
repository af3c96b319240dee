"""The source model as a session: the reference that can be run and measured like an engine."""

from __future__ import annotations

import torch

from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import FrameInput, ModelSpec
from edgevision.export.golden import golden_from_source
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel


class SourceSession(Session):
    """PyTorch's answers to frames: pre-processing in OpenCV and PyTorch, decoding and NMS in plain code.

    It shares no code with the exported graph, so that a comparison covers the whole graph.
    """

    def __init__(
        self, source: SourceModel, network: FrameInput, pixels: PixelFormat, spec: ModelSpec
    ) -> None:
        super().__init__(spec, EngineInfo("pytorch", f"PyTorch {torch.__version__}", "cpu"))
        self._source, self._network, self._pixels = source, network, pixels

    def _infer(self, frames: Frames) -> Outputs:
        return golden_from_source(self._source, frames, self._network, self._pixels, self.spec.nms).answers
