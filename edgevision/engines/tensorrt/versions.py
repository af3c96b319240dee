"""The table of differences between TensorRT versions; the other modules of this package have no version checks.

Names are those of the Python bindings, checked against the signatures of real bindings in
``tests/builder/test_versions.py``. Facts that no binding shows (modules with a DLA, supported GPUs) name their source
in the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from edgevision.contract.spec import Precision
from edgevision.errors import EngineError

Flavour = Literal["tensorrt", "tensorrt-rtx"]
FLAVOURS: dict[Flavour, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
"""Flavours of the library with their display names."""

MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The Python module of each flavour."""


FP8_SM = 89
"""Oldest compute capability with FP8."""


@dataclass(frozen=True, slots=True)
class PrecisionFlags:
    """Builder flags that a graph of this precision needs, beyond its own types."""

    precision: Precision
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """API differences of one range of versions; flags are members of the enum that their field names."""

    flavour: Flavour
    since: tuple[int, ...]
    """First version of the row; it applies until the next row of its flavour."""
    label: str
    network_flags: tuple[str, ...]
    """`NetworkDefinitionCreationFlag`. With strong typing, precision is the graph's own."""
    precisions: tuple[PrecisionFlags, ...]
    """Precisions that can be built, with `BuilderFlag` members where types alone do not decide."""
    strongly_typed: bool
    progress_monitor: bool
    """The builder reports progress and can be stopped."""
    timing_cache: bool
    parser_names_nodes: bool
    """`ParserError` has `node_name` and `node_operator`; older versions have only the node's index."""
    targets: tuple[int, ...]
    """Compute capabilities that can be built for without such a GPU; empty: only the installed one."""
    no_float_products: tuple[int, ...]
    """Targets without float32 matrix multiplication, found by building."""
    sm_range: tuple[int, int]
    """Oldest and newest compute capability that engines can be built for."""
    dla_modules: tuple[str, ...]
    """Substrings of the names of modules whose DLA is supported."""
    dla_parser_flags: tuple[str, ...]
    """`OnnxParserFlag` for a graph that runs on a DLA."""
    dla_network_flags: tuple[str, ...]
    """`NetworkDefinitionCreationFlag` that replaces `network_flags` for a DLA."""
    dla_precision_flags: tuple[str, ...]
    """`BuilderFlag`: a DLA computes only in FP16 and INT8."""
    constraint_flags: tuple[str, ...]
    """`BuilderFlag` that makes the builder respect a layer's precision, with weak typing."""
    dla_calibrator: str
    """Calibrator class that passes INT8 ranges to a DLA, for versions that ignore Q/DQ there."""
    inspector_io: Literal["Bindings", "I/O Tensors"]
    """Key of inputs and outputs in the inspector's JSON."""
    capture_flags: tuple[str, ...]
    """`BuilderFlag` required to capture calls of its engines as CUDA graphs."""
    runtime_graphs: bool
    """The runtime has `IRuntimeConfig.cuda_graph_strategy` and `IExecutionContext.is_stream_capturable`."""
    shares_profiles: bool
    """Several contexts may use one optimisation profile: https://github.com/NVIDIA/TensorRT/issues/4127."""
    heavy_tactics: tuple[str, ...]
    """`TacticSource` whose libraries take hundreds of MiB; left out if CPU and GPU share one memory."""
    source: str
    """Source of facts that no binding shows."""


_WEAK = (
    PrecisionFlags("float"),
    PrecisionFlags("fp16", ("FP16",)),
    PrecisionFlags("int8", ("FP16", "INT8")),
)
_TYPED = (PrecisionFlags("float"), PrecisionFlags("fp16"), PrecisionFlags("int8"), PrecisionFlags("fp8"))
_DOCS = "docs.nvidia.com/deeplearning"

_8_6 = Dialect(
    flavour="tensorrt",
    since=(8, 6),
    label="TensorRT 8.6",
    network_flags=("EXPLICIT_BATCH",),
    precisions=_WEAK,
    strongly_typed=False,
    progress_monitor=False,
    timing_cache=True,
    parser_names_nodes=False,
    targets=(),
    no_float_products=(),
    sm_range=(50, 90),
    dla_modules=("Xavier", "Orin NX", "AGX Orin"),
    dla_parser_flags=(),
    dla_network_flags=("EXPLICIT_BATCH",),
    dla_precision_flags=("FP16", "INT8"),
    constraint_flags=("OBEY_PRECISION_CONSTRAINTS",),
    dla_calibrator="IInt8EntropyCalibrator2",
    inspector_io="Bindings",
    capture_flags=(),
    runtime_graphs=False,
    shares_profiles=False,
    heavy_tactics=("CUBLAS", "CUBLAS_LT", "CUDNN"),
    source=f"{_DOCS}/tensorrt/archives/tensorrt-861/support-matrix",
)
_10_0 = replace(
    _8_6,
    since=(10, 0),
    label="TensorRT 10.0 to 10.4",
    network_flags=("STRONGLY_TYPED",),
    precisions=_TYPED,
    strongly_typed=True,
    progress_monitor=True,
    parser_names_nodes=True,
    sm_range=(70, 90),
    dla_network_flags=(),
    shares_profiles=True,
    # `TacticSource` documents them as disabled by default.
    heavy_tactics=(),
    source=f"{_DOCS}/tensorrt/latest/getting-started/support-matrix-10/10.0.1.html",
)
_10_5 = replace(
    _10_0,
    since=(10, 5),
    label="TensorRT 10.5 to 10.7",
    # "Volta support removed": release notes of 10.5.
    sm_range=(75, 90),
    source=f"{_DOCS}/tensorrt/latest/getting-started/release-notes-10/10.5.0.html",
)
_10_8 = replace(
    _10_5,
    since=(10, 8),
    label="TensorRT 10.8 to 10.16",
    sm_range=(75, 121),
    dla_modules=(),
    dla_precision_flags=(),
    constraint_flags=(),
    dla_calibrator="",
    source=f"{_DOCS}/tensorrt/11.4.1/inference-library/work-with-dla.html",
)
_11_0 = replace(
    _10_8,
    since=(11, 0),
    label="TensorRT 11.0 to 11.4.0",
    network_flags=(),
    inspector_io="I/O Tensors",
    source=f"{_DOCS}/tensorrt/11.0.0/getting-started/release-notes-11/11.0.0.html",
)
_11_4_1 = replace(
    _11_0,
    since=(11, 4, 1),
    label="TensorRT 11.4.1",
    # With JetPack 7.2.2, which brings this version.
    dla_modules=("AGX Orin",),
    dla_parser_flags=("ADJUST_FOR_DLA",),
    source=f"{_DOCS}/tensorrt/11.4.1/inference-library/dla-strongly-typed-networks.html",
)
_RTX_1_2 = replace(
    _11_0,
    flavour="tensorrt-rtx",
    since=(1, 2),
    label="TensorRT-RTX 1.2 to 1.7",
    # The functions exist since 1.2 and do nothing: kernels are compiled at run time.
    timing_cache=False,
    targets=(75, 80, 86, 89, 120, 121),
    no_float_products=(75,),
    # Release notes of 1.2; the rows of `runtime_graphs` are on "Working with RTX CUDA Graphs".
    capture_flags=("REQUIRE_USER_ALLOCATION",),
    runtime_graphs=True,
    source=f"{_DOCS}/tensorrt-rtx/latest/getting-started/support-matrix.html",
)
DIALECTS: tuple[Dialect, ...] = (_8_6, _10_0, _10_5, _10_8, _11_0, _11_4_1, _RTX_1_2)
"""Each row is a copy of another with its differences."""


def dialect(flavour: Flavour, version: str) -> Dialect:
    """The row of a version such as "10.13.3.9"; raises `EngineError` for one older than the oldest row."""
    numbers = version_numbers(version)
    rows = [row for row in DIALECTS if row.flavour == flavour]
    fitting = [row for row in rows if row.since <= numbers]
    if not fitting:
        raise EngineError(
            f"{FLAVOURS[flavour]} {version} is not supported; the oldest that is: {rows[0].label}."
            " Update it, or run with --engine onnxruntime"
        )
    return fitting[-1]


def supports_sm(flavour: Flavour, version: str, sm: int) -> bool:
    """True if that library builds engines for this compute capability."""
    row = dialect(flavour, version)
    return sm in row.targets if row.targets else row.sm_range[0] <= sm <= row.sm_range[1]


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (10, 13, 3, 9)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)


def table_lines() -> list[str]:
    """The table in Markdown, for the documentation."""
    header = ("", *[row.label for row in DIALECTS])
    rows = [
        ("network flags", *[_names(row.network_flags) for row in DIALECTS]),
        (
            "precision",
            *["the graph's types" if row.strongly_typed else "types and flags" for row in DIALECTS],
        ),
        *[(f"flags for {p.precision}", *[_flags(row, p.precision) for row in DIALECTS]) for p in _TYPED],
        ("progress, cancelling", *["yes" if row.progress_monitor else "no" for row in DIALECTS]),
        ("timing cache", *["yes" if row.timing_cache else "not used" for row in DIALECTS]),
        ("parser names nodes", *["yes" if row.parser_names_nodes else "by number" for row in DIALECTS]),
        ("builds for", *[_targets(row) for row in DIALECTS]),
        ("float32 matrix products", *[_products(row) for row in DIALECTS]),
        ("DLA", *[", ".join(row.dla_modules) or "none" for row in DIALECTS]),
        ("flags for DLA", *[_names(row.dla_precision_flags + row.dla_parser_flags) for row in DIALECTS]),
        ("flags for held layers", *[_names(row.constraint_flags) for row in DIALECTS]),
        ("INT8 ranges for DLA", *[_ranges(row) for row in DIALECTS]),
        ("flags for CUDA graphs", *[_names(row.capture_flags) for row in DIALECTS]),
        ("CUDA graphs of a dynamic batch", *[_graphs(row) for row in DIALECTS]),
        ("tactics left out on Jetsons", *[_names(row.heavy_tactics) for row in DIALECTS]),
        ("inspector's inputs and outputs", *[f"`{row.inspector_io}`" for row in DIALECTS]),
    ]
    return [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]


def _names(flags: tuple[str, ...]) -> str:
    return ", ".join(f"`{flag}`" for flag in flags) or "none"


def _flags(row: Dialect, precision: Precision) -> str:
    found = [entry for entry in row.precisions if entry.precision == precision]
    return _names(found[0].flags) if found else "not built"


def _targets(row: Dialect) -> str:
    if row.targets:
        return f"any of SM {', '.join(f'{sm // 10}.{sm % 10}' for sm in row.targets)}"
    return f"its own GPU, SM {row.sm_range[0] / 10:g} to {row.sm_range[1] / 10:g}"


def _products(row: Dialect) -> str:
    if not row.no_float_products:
        return "yes"
    return f"written as sums for SM {', '.join(f'{sm / 10:g}' for sm in row.no_float_products)}"


def _graphs(row: Dialect) -> str:
    if row.runtime_graphs:
        return "by the library"
    return "one for each batch size" if row.shares_profiles else "none"


def _ranges(row: Dialect) -> str:
    if not row.dla_modules:
        return "no DLA"
    return "`calibration.cache`" if row.dla_calibrator else "Q/DQ"
