"""The few constructors that a pickle may call, all implemented here: the file cannot choose the code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import torch

from edgevision.checkpoint.pickled import PickledDtype, PickledGlobal, PickledObject, PickledStorage
from edgevision.errors import CheckpointError, UnsafeCheckpointError

EXPANDED_LIMIT = 1 << 24
"""Maximum number of elements of a view with repeated memory (stride 0)."""

_MAX_DIMENSIONS = 16


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(type(item) is int for item in value):
        raise CheckpointError(f"expected a tuple of integers, found {type(value).__name__}")
    return value


def _view(storage: object, offset: object, size: object, stride: object) -> torch.Tensor:
    """A tensor over a storage, after a check that all its elements lie within it."""
    if not isinstance(storage, PickledStorage) or type(offset) is not int:
        raise CheckpointError("a tensor without a storage or an offset")
    sizes, strides, flat = _integers(size), _integers(stride), storage.flat
    if len(sizes) != len(strides) or len(sizes) > _MAX_DIMENSIONS or min((offset, *sizes, *strides)) < 0:
        raise CheckpointError(f"a tensor of size {sizes[:9]}, strides {strides[:9]} and offset {offset}")
    count = math.prod(sizes)
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if count and last >= len(flat):
        raise CheckpointError(f"a tensor ends at element {last + 1} of a storage that holds {len(flat)}")
    if count > max(len(flat), EXPANDED_LIMIT):
        raise CheckpointError(f"a tensor claims {count:,} elements of a storage that holds {len(flat):,}")
    if not count and math.prod(n for n in sizes if n) > EXPANDED_LIMIT:
        raise CheckpointError(f"an empty tensor of size {sizes}")
    if not count:
        return flat.new_empty(sizes)
    return torch.as_strided(flat, sizes, strides, offset)


def _tensor(*arguments: object) -> torch.Tensor:
    if len(arguments) not in (4, 6, 7):
        raise CheckpointError(f"a tensor described by {len(arguments)} values, expected 4, 6 or 7")
    if len(arguments) == 7 and arguments[6]:
        raise CheckpointError(
            "a lazily conjugated or negated tensor; save it after .resolve_conj().resolve_neg()"
        )
    return _view(*arguments[:4])


def _tensor_of_dtype(*arguments: object) -> torch.Tensor:
    if len(arguments) not in (7, 8):
        raise CheckpointError(f"a tensor described by {len(arguments)} values, expected 7 or 8")
    storage, dtype = arguments[0], arguments[6]
    if not isinstance(storage, PickledStorage) or not isinstance(dtype, torch.dtype):
        raise CheckpointError("a tensor without a storage or a dtype")
    if storage.flat.numel() * storage.flat.element_size() % dtype.itemsize:
        raise CheckpointError(
            f"a storage of {storage.flat.numel()} elements holds no whole number of {dtype}"
        )
    return _view(PickledStorage(storage.flat.view(dtype)), *arguments[1:4])


def _parameter(*arguments: object) -> torch.Tensor:
    if not arguments or not isinstance(arguments[0], torch.Tensor):
        raise CheckpointError("a parameter without a tensor")
    return arguments[0]


def _from_type(*arguments: object) -> object:
    """A tensor with attributes or of a subclass; attributes are dropped, and subclasses are rejected."""
    function, kind, values, _ = arguments if len(arguments) == 4 else (None, None, None, None)
    if kind not in (PickledGlobal("torch", "Tensor"), PickledGlobal("torch.nn.parameter", "Parameter")):
        raise CheckpointError("a tensor of a subclass; expected torch.Tensor or torch.nn.Parameter")
    if (
        not isinstance(function, PickledGlobal)
        or function.module != "torch._utils"
        or not isinstance(values, tuple)
    ):
        raise CheckpointError("a tensor with attributes that cannot be read")
    rebuild: Callable[..., object] = CONSTRUCTORS[function.module, function.name]
    return rebuild(*values)


def _bound_method(*arguments: object) -> PickledObject:
    """A note of a getattr: fused layers pickle ``self.forward_fuse`` that way; it is not looked up."""
    target, name = arguments if len(arguments) == 2 else (None, None)
    fits = isinstance(name, str) and re.fullmatch(r"forward[a-z_]{0,40}", name) is not None
    if not fits or not isinstance(target, PickledObject):
        raise UnsafeCheckpointError(
            "its pickle calls builtins.getattr, which is not allowed; nothing was executed"
        )
    return PickledObject("builtins.getattr", arguments)


def is_key(value: object) -> bool:
    """True for a valid dict key or set member: scalars and flat tuples of them.

    A hash of deeply nested tuples would exhaust the C stack.
    """
    scalars = (str, int, float, bool, bytes, type(None))
    if isinstance(value, tuple):
        return all(isinstance(item, scalars) for item in value)
    return isinstance(value, scalars)


def _only_list(*arguments: object) -> list[object]:
    if not arguments:
        return []
    if len(arguments) != 1 or not isinstance(arguments[0], (list, tuple, set, frozenset)):
        raise CheckpointError("a collection of something other than a list")
    return list(arguments[0])


def _members(*arguments: object) -> list[object]:
    members = _only_list(*arguments)
    if not all(is_key(member) for member in members):
        raise CheckpointError("a set with members that are not plain values")
    return members


def _set(*arguments: object) -> set[object]:
    return set(_members(*arguments))


def _frozenset(*arguments: object) -> frozenset[object]:
    return frozenset(_members(*arguments))


def _tuple(*arguments: object) -> tuple[object, ...]:
    return tuple(_only_list(*arguments))


def _dict(*arguments: object) -> dict[object, object]:
    if len(arguments) == 1 and isinstance(arguments[0], dict):
        return dict(arguments[0])
    pairs = _only_list(*arguments)
    found: dict[object, object] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not is_key(pair[0]):
            raise CheckpointError("a dict of something other than pairs")
        found[pair[0]] = pair[1]
    return found


def _default_dict(*_factory: object) -> dict[object, object]:
    return {}


def _bytes(*arguments: object) -> bytes:
    if arguments:
        raise CheckpointError("bytes built from arguments")
    return b""


def _encode(*arguments: object) -> bytes:
    """Decode the bytes of protocol 2, which are text whose characters are the bytes."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        raise CheckpointError("text in an encoding other than latin1")
    try:
        return arguments[0].encode("latin1")
    except UnicodeEncodeError as error:
        raise CheckpointError("text that is not latin1") from error


def _numpy_dtype(*arguments: object) -> PickledDtype | None:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or re.fullmatch(r"[<>|=]?[biufcSUV]\d{1,3}", code) is None:
        raise CheckpointError(f"a numpy dtype {str(code)[:20]!r} that is not of plain values")
    return PickledDtype(code.lstrip("<>|="), code[0] if code[0] in "<>|=" else "=")


def _numpy_scalar(*arguments: object) -> object:
    if (
        len(arguments) != 2
        or not isinstance(arguments[0], PickledDtype)
        or not isinstance(arguments[1], bytes)
    ):
        raise CheckpointError("a numpy number that cannot be read")
    code = arguments[0].order + arguments[0].code
    if re.fullmatch(r"[<>|=](b1|[iu][1248]|f[248]|c8|c16)", code) is None:
        raise CheckpointError(f"a numpy value of dtype {code!r}, expected a number")
    dtype = np.dtype(code)
    if dtype.itemsize != len(arguments[1]):
        raise CheckpointError(f"a numpy {code} of {len(arguments[1])} bytes")
    return np.frombuffer(arguments[1], dtype)[0].item()


CONSTRUCTORS: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): _dict,
    ("collections", "Counter"): _dict,
    ("collections", "defaultdict"): _default_dict,
    ("torch", "Size"): lambda *arguments: _integers(_tuple(*arguments)),
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _numpy_dtype,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
    **{
        (module, name): function
        for module in ("__builtin__", "builtins")
        for name, function in {
            "set": _set,
            "frozenset": _frozenset,
            "list": _only_list,
            "tuple": _tuple,
            "dict": _dict,
            "bytes": _bytes,
            "getattr": _bound_method,
        }.items()
    },
}
"""Callables that REDUCE may use, by the module and name in the file."""
