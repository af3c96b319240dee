"""Stand-ins for the objects of a pickle: names and attributes, nothing that can be called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch


@dataclass(slots=True, eq=False, repr=False)
class PickledObject:
    """An object whose class was not imported: the class's dotted name, and its state in the file.

    `arguments` are the arguments of its constructor. `state` holds its attributes; a state that is not a dict (such as
    that of numpy arrays) is stored under the key "".
    """

    class_name: str
    arguments: tuple[object, ...] = ()
    state: dict[str, object] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The class's name without its module."""
        return self.class_name.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<pickled {self.class_name}>"


@dataclass(frozen=True, slots=True)
class PickledGlobal:
    """A class or function that a pickle names; it has not been imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class PickledStorage:
    """The memory of tensors: one-dimensional, of the storage's own dtype."""

    flat: torch.Tensor


@dataclass(slots=True, eq=False)
class PickledDtype:
    """A numpy dtype of plain numbers, such as "f8", and its byte order."""

    code: str
    order: str = "="


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"

# Layer classes: stand-ins keep their attributes, which the architectures in edgevision.models read.
_LAYER_MODULES = re.compile(
    rf"(?:yolov5\.)?models(?:\.{_NAME})+"
    rf"|torch\.nn\.modules(?:\.{_NAME})+"
    r"|torchvision\.models\.resnet"
    rf"|ultralytics(?:\.yolo)?\.(?:nn(?:\.{_NAME})*|utils|utils\.loss|utils\.tal)"
)

# Functions that layers keep as attributes (an activation, say).
_FUNCTION_MODULES = frozenset({"torch.nn.functional", "torch._C._nn"})

_INERT = frozenset(
    {
        ("argparse", "Namespace"),
        ("types", "SimpleNamespace"),
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(
            (module, name)
            for module in ("pathlib", "pathlib._local")
            for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
        ),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("torch", "Tensor"),
        ("torch", "device"),
        ("torch.nn.parameter", "Parameter"),
        ("torch.serialization", "_get_layout"),
        ("__builtin__", "xrange"),
        ("__builtin__", "slice"),
        ("builtins", "range"),
        ("builtins", "slice"),
    }
)

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
        *("complex64", "complex128"),
    )
}
"""dtypes that a pickle may name."""

_STORAGE_DTYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


def storage_dtype(named: PickledGlobal) -> torch.dtype | None:
    """The dtype of a storage class, uint8 for the untyped one; None for other classes."""
    if named.module not in ("torch", "torch.cuda", "torch.storage"):
        return None
    return _STORAGE_DTYPES.get(named.name)


def is_inert(named: PickledGlobal) -> bool:
    """True if the file may name this: it becomes a stand-in regardless of its use."""
    if (named.module, named.name) in _INERT:
        return True
    if re.fullmatch(_NAME, named.name) is None:
        return False
    return named.module in _FUNCTION_MODULES or _LAYER_MODULES.fullmatch(named.module) is not None
