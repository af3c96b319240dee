"""Operators in classes, for their conversion to FP16."""

from __future__ import annotations

ACCUMULATING = frozenset(
    [
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "CumSum",
    ]
)
"""Operators that square or sum internally, where values cannot be measured: their output does not show an overflow."""

FLOAT_ONLY = frozenset(
    [
        "ConstantOfShape",
        "Range",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "NonMaxSuppression",
        "RoiAlign",
        "GridSample",
        "LSTM",
        "GRU",
        "RNN",
        "If",
        "Loop",
        "Scan",
    ]
)

MOVING = frozenset(("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Gather", "Slice"))
"""Operators that change no value, and therefore have the type of the operators that read them."""

FLOAT_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that the operator's definition keeps float32: regions and scales."""
NORMALIZATIONS = frozenset(("LayerNormalization", "InstanceNormalization", "GroupNormalization"))
"""Those of `ACCUMULATING` whose sums TensorRT computes in FP32 by default, also if inputs and outputs are FP16."""

ELEMENTWISE = frozenset(
    ("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Clip", "Max", "Min", "Where", "Reciprocal")
)
"""Operators of coordinate arithmetic."""

EXPONENTIALS = frozenset(("Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Sin", "Cos", "Softplus"))
