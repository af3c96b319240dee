"""The table of limits that a graph must respect in each TensorRT version, with the sources of each row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from edgevision.engines.tensorrt.versions import FLAVOURS, Flavour, version_numbers
from edgevision.errors import UsageError
from edgevision.graph.limits.operators import OPERATORS_8_6, OPERATORS_10_1, OPERATORS_10_15, Types

Name = Literal["8.6", "10.3", "10.13", "11.4", "rtx-1.7"]
"""Name of a row on the command line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one version."""

    name: Name
    flavour: Flavour
    since: tuple[int, ...]
    """First version of the row; it applies until the next row of its flavour."""
    opsets: range
    operators: Types
    """Types of each operator's data. Operators outside of the table are not supported."""
    int64: bool
    """False: int64 is read as int32, and its constants are clamped."""
    uint8_partners: frozenset[str]
    """Types that uint8 can be cast from and to."""
    scale_types: frozenset[str]
    """Types of the scales of QuantizeLinear and DequantizeLinear."""
    constant_inputs: dict[str, int]
    """Inputs that must be constants."""
    top_k: int
    """Largest K of TopK."""
    dimensions: int
    """Largest number of dimensions of a tensor."""
    elements: int | None
    """Largest number of elements of a tensor; None: no documented limit."""
    sources: tuple[str, ...]
    """Sources of the row."""
    not_built: dict[str, str] = field(default_factory=dict)
    """Operators that parse but do not build, with the observed error."""

    @property
    def label(self) -> str:
        """For people."""
        return f"{FLAVOURS[self.flavour]} {self.name.removeprefix('rtx-')}"


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_AXES = {"CumSum": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1}
_HEADERS = (
    "NvInferRuntimeBase.h, DataType::kUINT8: conversions for kFLOAT and kHALF alone, as network input or output",
    "NvInferRuntimeBase.h, MAX_DIMS: 8",
    "NvInfer.h, addTopK: K up to 3,840",
    "NvInfer.h, addConstant: kUINT8 not supported",
)

_8_6 = Limits(
    name="8.6",
    flavour="tensorrt",
    since=(8, 6),
    opsets=range(1, 18),
    operators=OPERATORS_8_6,
    int64=False,
    uint8_partners=frozenset({"float32", "float16"}),
    scale_types=frozenset({"float32"}),
    constant_inputs=_AXES,
    top_k=3840,
    dimensions=8,
    elements=2**31 - 1,
    sources=(
        *_HEADERS,
        "NvInfer.h 8.6.1, ITensor: fewer than 2^31 elements",
        "onnx-tensorrt release/8.6-GA, docs/operators.md: opset 17, operators, int64 read as int32",
        "onnx-tensorrt release/8.6-GA, QuantDequantLinearHelper: scales read as float, positive, zero-points 0",
    ),
)
_10_3 = replace(
    _8_6,
    name="10.3",
    since=(10, 0),
    opsets=range(9, 21),
    operators=OPERATORS_10_1,
    int64=True,
    scale_types=frozenset({"float32", "float16", "bfloat16"}),
    constant_inputs={**_AXES, "Pad": 3, **{f"Reduce{kind}": 1 for kind in _REDUCTIONS}},
    sources=(
        *_HEADERS,
        "NvInfer.h 10.3, ITensor: fewer than 2^31 elements",
        "onnx-tensorrt release/10.1-GA, docs/operators.md: opsets 9 to 20, operators",
    ),
)
_10_13 = replace(
    _10_3,
    name="10.13",
    since=(10, 13),
    opsets=range(9, 23),
    elements=None,
    sources=(
        *_HEADERS,
        "NvInfer.h 10.13.3: the limit of 2^31 elements is gone",
        "onnx-tensorrt, docs/operators.md of 10.1, to which later ones only add; opsets 9 to 22:"
        " deepwiki.com/onnx/onnx-tensorrt/2.2-operator-support",
    ),
)
_11_4 = replace(
    _10_13,
    name="11.4",
    since=(10, 15),
    opsets=range(9, 25),
    operators=OPERATORS_10_15,
    constant_inputs={name: index for name, index in _10_3.constant_inputs.items() if name != "Slice"},
    sources=(
        *_HEADERS,
        "onnx-tensorrt, docs/operators.md of 10.15: opsets 9 to 24, operators; opset 25 comes with 11.5, release notes",
    ),
)
_RTX_1_7 = replace(
    _11_4,
    name="rtx-1.7",
    flavour="tensorrt-rtx",
    since=(1, 2),
    operators={name: types for name, types in OPERATORS_10_15.items() if name != "DeformConv"},
    not_built={"NonMaxSuppression": "the builder has no runner that implements it"},
    sources=(
        *_11_4.sources,
        "TensorRT-RTX 1.7.1: its parser is asked for every operator in tests/graph/limits (it has no DeformConv);"
        " NonMaxSuppression by building",
    ),
)
LIMITS: tuple[Limits, ...] = (_8_6, _10_3, _10_13, _11_4, _RTX_1_7)


def limits_of(flavour: Flavour, version: str) -> Limits:
    """The row of a version such as "10.13.3.9"; the oldest of its flavour for older versions."""
    rows = [row for row in LIMITS if row.flavour == flavour]
    fitting = [row for row in rows if row.since <= version_numbers(version)]
    return fitting[-1] if fitting else rows[0]


def limits_named(name: str) -> Limits:
    """The row of a name; raises `UsageError` for an unknown one."""
    for row in LIMITS:
        if row.name == name:
            return row
    raise UsageError(
        f"unknown TensorRT version {name!r}; expected one of {', '.join(row.name for row in LIMITS)}"
    )


def table_lines() -> list[str]:
    """The table in Markdown, for the documentation."""
    rows = [
        ("`--tensorrt`", *[f"`{row.name}`" for row in LIMITS]),
        ("opsets", *[f"{row.opsets.start} to {row.opsets.stop - 1}" for row in LIMITS]),
        ("operators", *[str(len(row.operators)) for row in LIMITS]),
        ("parsed and not built", *[", ".join(row.not_built) or "none" for row in LIMITS]),
        ("int64", *["yes" if row.int64 else "read as int32" for row in LIMITS]),
        ("uint8 is cast from and to", *[_listed(row.uint8_partners) for row in LIMITS]),
        ("scales of Q/DQ", *[_listed(row.scale_types) for row in LIMITS]),
        ("largest K of TopK", *[f"{row.top_k:,}" for row in LIMITS]),
        ("dimensions", *[str(row.dimensions) for row in LIMITS]),
        (
            "elements of a tensor",
            *["not limited" if row.elements is None else "under 2^31" for row in LIMITS],
        ),
    ]
    header = ("", *[row.label for row in LIMITS])
    return [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]


def _listed(types: frozenset[str]) -> str:
    return ", ".join(sorted(types, reverse=True))
