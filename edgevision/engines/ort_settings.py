"""ONNX Runtime settings shared by every session of this package, so that all sessions return equal results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from edgevision.contract.inputs import Batch, arrays_of
from edgevision.device.cpu_class import sums_in_32_bits
from edgevision.engines.ort_pixels import LARGEST_BYTES, with_fast_pixels

CPU = "CPUExecutionProvider"
Provider = str | tuple[str, dict[str, str]]
"""A provider's name, or its name and options."""

EXACT_INT8 = "session.x64quantprecision"
"""Makes 8-bit kernels accumulate products in 32 bits on x86 CPUs without VNNI.

Without VNNI instructions, the fused kernels for signed activations add pairs of products in 16 bits, which saturate.
The same graph then returns other results than on a CPU with VNNI. With VNNI, the results are the same bit for bit with
and without the option, but it selects kernels that take three times as long. Other architectures ignore it. Source:
ONNX Runtime, ``onnxruntime_session_options_config_keys.h``, ``kOrtSessionOptionsAvx2PrecisionMode``.
"""

EXTERNAL = "session.model_external_initializers_file_folder_path"
"""Folder of external weights; the same source, ``kOrtSessionOptionsModelExternalInitializersFileFolderPath``."""

UNFUSED_QDQ = "session.disable_quant_qdq"
"""Makes ONNX Runtime execute Q/DQ nodes unfused, between float operations."""


def session_settings(
    threads: int | None = None, *, spin: bool = False, external: Path | None = None
) -> ort.SessionOptions:
    """New settings: exact 8-bit sums, errors only in the log, `threads` (None: all usable cores).

    `spin` lets idle threads spin for their next task. This lowers latency and occupies the core. `external` is the
    folder with the external weights of a model that is opened from bytes.
    """
    settings = ort.SessionOptions()
    settings.log_severity_level = 3  # warnings about our own constants would hide errors
    settings.intra_op_num_threads = threads or 0
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if external is not None:
        settings.add_session_config_entry(EXTERNAL, str(external))
    if not sums_in_32_bits():
        settings.add_session_config_entry(EXACT_INT8, "1")
    return settings


def open_inference(
    model: bytes | str, settings: ort.SessionOptions, providers: Sequence[Provider], *, rewrite: bool = True
) -> ort.InferenceSession:
    """Open serialized bytes or a file path; passes on ONNX Runtime's errors, which share no base class.

    On the CPU alone, the first nodes are rewritten (`ort_pixels`), unless `rewrite` is False.

    ONNX Runtime 1.31 cannot apply `EXACT_INT8` to a graph in which two operations read one 8-bit weight ("Attempt to
    replace the existing tensor"). Such a graph is opened with its Q/DQ nodes unfused: exact, and slower.
    """
    if rewrite and [provider if isinstance(provider, str) else provider[0] for provider in providers] == [
        CPU
    ]:
        model = _for_cpu(model)
    try:
        # `enable_fallback=0`: otherwise it prints a line and continues without the provider.
        return ort.InferenceSession(model, settings, providers=list(providers), enable_fallback=0)
    except Exception as error:  # as above
        settings.add_session_config_entry(UNFUSED_QDQ, "1")
        try:
            return ort.InferenceSession(model, settings, providers=list(providers), enable_fallback=0)
        except Exception:
            raise error from None


def _for_cpu(model: bytes | str) -> bytes | str:
    """The model with faster first nodes; a path if it is to be read from there."""
    if isinstance(model, bytes):
        return with_fast_pixels(model)
    try:
        path = Path(model)
        if path.stat().st_size > LARGEST_BYTES:
            return model
        data = path.read_bytes()
        rewritten = with_fast_pixels(data)
        return model if rewritten is data else rewritten
    except OSError:  # ONNX Runtime reports it
        return model


def named_inputs(inference: ort.InferenceSession, batch: Batch) -> dict[str, npt.NDArray[Any]]:
    """A batch by the names of the graph's first inputs, as ``run`` takes it."""
    return {given.name: array for given, array in zip(inference.get_inputs(), arrays_of(batch), strict=False)}


def cpu_session(model: bytes | str, settings: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """`open_inference` on the CPU; `settings` default to `session_settings()`."""
    return open_inference(model, settings or session_settings(), (CPU,))
