"""Operators that the ONNX parser of each version supports, with the types of their data.

From ``docs/operators.md`` of onnx/onnx-tensorrt. A letter is a type, as defined in `LETTERS`. A key of letters lists
the operators that support exactly these types. Operators outside of the tables are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping

LETTERS = {
    "f": "float32",
    "h": "float16",
    "b": "bfloat16",
    "q": "int8",
    "e": "float8",
    "4": "int4",
    "i": "int32",
    "l": "int64",
    "u": "uint8",
    "o": "bool",
}

Types = dict[str, frozenset[str]]
"""Types of an operator's data, by operator."""


def _table(groups: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {
        operator: frozenset(LETTERS[letter] for letter in letters)
        for letters, operators in groups.items()
        for operator in operators.split()
    }


OPERATORS_8_6: Types = _table(
    {
        "f": "ConstantOfShape",
        "fh": "Acos Acosh Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh CumSum Dropout Einsum Erf Exp"
        " Floor GRU GridSample GroupNormalization ImageScaler InstanceNormalization IsInf LRN LSTM"
        " LayerNormalization Log LogSoftmax LpNormalization MatMul MeanVarianceNormalization NonMaxSuppression"
        " NonZero Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
        " Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"
        " ReduceSum ReduceSumSquare Resize RoiAlign Scan Sin Sinh Softmax Sqrt Tan Upsample",
        "fhi": "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean"
        " Min Mod Mul Neg Range Shrink SpaceToDepth Sub Sum TopK",
        "fhio": "Expand EyeLike Flatten If Loop OneHot Split Tile Where",
        "fhioq": "Concat Constant Gather GatherElements GatherND Identity Reshape ReverseSequence Shape Size Slice"
        " Squeeze Transpose Trilu Unsqueeze",
        "fhioqu": "Cast",
        "fhiq": "AveragePool Pad Scatter ScatterElements ScatterND Sign",
        "fhq": "Clip Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool HardSigmoid HardSwish"
        " LeakyRelu LpPool MaxPool PRelu ParametricSoftplus Relu Round ScaledTanh Selu Sigmoid Softplus"
        " Softsign Tanh ThresholdedRelu",
        "o": "And Not Or Xor",
        "q": "DequantizeLinear",
    }
)
"""Branch release/8.6-GA. It has no int64: the parser reads int64 as int32."""

OPERATORS_10_1: Types = _table(
    {
        "q4e": "DequantizeLinear",
        "fhb": "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose"
        " Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool GlobalLpPool"
        " GlobalMaxPool GroupNormalization HardSigmoid HardSwish Hardmax ImageScaler InstanceNormalization"
        " IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MaxPool"
        " MeanVarianceNormalization PRelu ParametricSoftplus Pow QuantizeLinear RNN RandomNormal"
        " RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize Round ScaledTanh Scan Selu"
        " Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Upsample",
        "fhbil": "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean"
        " Min Mod Mul Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean"
        " ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign"
        " SpaceToDepth Sub Sum TopK",
        "fhbilo": "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity If"
        " Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze"
        " Where",
        "fhbilou": "Cast CastLike",
        "fhbilq": "Gelu",
        "fh": "DeformConv GridSample Mish NonMaxSuppression NonZero RoiAlign",
        "o": "And Not Or Xor",
    }
)
"""Branch release/10.1-GA."""

OPERATORS_10_15: Types = OPERATORS_10_1 | _table(
    {
        "fhbil": "Pow",
        "fhbqe": "Attention",
        "fhb": "RMSNormalization RotaryEmbedding",
        "fhbi": "TensorScatter",
        "fh": "BlackmanWindow HammingWindow HannWindow",
        "f": "STFT",
    }
)
"""Additions and changes of 10.15 relative to 10.1."""
