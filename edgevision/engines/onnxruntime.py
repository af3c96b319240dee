"""ONNX Runtime: the reference engine, on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgevision.codec import DecodeError
from edgevision.errors import EngineError, GraphError, first_line
from edgevision.results import Outputs
from edgevision.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.spec import METADATA_KEY, ModelSpec

PROVIDERS = ("CPUExecutionProvider",)


class OnnxRuntimeSession(Session):
    """A graph in ONNX Runtime; calls from several threads are safe."""

    def __init__(
        self, spec: ModelSpec, info: EngineInfo, inference: ort.InferenceSession, borrowed: list[ort.OrtValue]
    ) -> None:
        super().__init__(spec, info)
        self._inference = inference
        self._borrowed = (
            borrowed  # ONNX Runtime reads overriding initializers in place: they must live as long
        )
        self._outputs = [tensor.name for tensor in spec.outputs]

    def _infer(self, frames: Frames) -> Outputs:
        try:
            outputs = self._inference.run(self._outputs, {"frames": np.ascontiguousarray(frames)})
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise EngineError(f"ONNX Runtime failed on {self.spec.name}: {first_line(error)}") from error
        return tuple(outputs)


def open_graph(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OnnxRuntimeSession:
    """Open an ONNX file; without `spec` the one in the file's metadata is used.

    Only `PROVIDERS` are asked for, and a session that runs on others is an error: nothing falls back in silence.
    """
    settings = ort.SessionOptions()
    settings.log_severity_level = 3  # warnings about our own constants would drown the errors that matter
    settings.intra_op_num_threads = options.threads or 0
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spin else "0")
    overrides = _override_initializers(settings, options)
    try:
        inference = ort.InferenceSession(str(graph), settings, providers=list(PROVIDERS))
    except Exception as error:  # as above
        raise EngineError(f"ONNX Runtime cannot open {graph}: {first_line(error)}") from error
    if inference.get_providers() != list(PROVIDERS):
        raise EngineError(
            f"ONNX Runtime runs {graph} on {', '.join(inference.get_providers())}; asked for {', '.join(PROVIDERS)}"
        )
    spec = spec or _embedded_spec(inference, graph)
    info = EngineInfo("onnxruntime", f"onnxruntime {ort.__version__}", "cpu", PROVIDERS)
    return OnnxRuntimeSession(spec, info, inference, overrides)


def _override_initializers(settings: ort.SessionOptions, options: SessionOptions) -> list[ort.OrtValue]:
    """Put the caller's suppression settings in place of the graph's."""
    values = []
    for name, value in (
        ("nms.iou_threshold", options.iou_threshold),
        ("nms.score_floor", options.score_floor),
    ):
        if value is not None:
            values.append(ort.OrtValue.ortvalue_from_numpy(np.asarray(value, np.float32)))
            settings.add_initializer(name, values[-1])
    return values


def _embedded_spec(inference: ort.InferenceSession, graph: Path) -> ModelSpec:
    text = inference.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise GraphError(
            f"{graph} carries no edgevision spec; give it one: edgevision adopt {graph} --head HEAD"
        )
    try:
        return ModelSpec.from_json(text)
    except DecodeError as error:
        raise GraphError(f"{graph}: the spec in its metadata cannot be read: {error}") from error
