"""A pickle reader that executes nothing.

A pickle is a program for a stack machine, and Python's own machine looks up and calls whatever the program names. This
machine handles only data. It defends against:

- *Calls* (GLOBAL, STACK_GLOBAL, INST, OBJ, REDUCE, NEWOBJ): a name becomes a stand-in, or is rejected if it is on no
  list; nothing is imported. REDUCE reaches only the functions of `edgevision.checkpoint.rebuild`. A value from the file
  is never called, and no attribute of one is looked up. ``__setstate__``, ``append``, ``__reduce__`` or dotted names
  ("os.system" as an attribute path) therefore have no effect.
- *State* (BUILD): attributes are stored in a stand-in's dict. A class or function takes none.
- *Extensions* (EXT1, EXT2, EXT4) name objects by number in a registry of the process; they are rejected.
- *Memory*: the memo is a dict, so that an index of 2**31 costs one entry; lengths are checked against the file; tensors
  are views whose bounds are checked; keys are scalars, because hashing deeply nested tuples exhausts the C stack.
- *Depth*: the machine does not recurse; the function that walks its result (`state_dict_from_module`) limits depth.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable

from edgevision.checkpoint.pickled import (
    DTYPES,
    PickledDtype,
    PickledGlobal,
    PickledObject,
    PickledStorage,
    is_inert,
    storage_dtype,
)
from edgevision.checkpoint.rebuild import CONSTRUCTORS, is_key
from edgevision.errors import CheckpointError, UnsafeCheckpointError

PersistentLoad = Callable[[object], PickledStorage]

_PUSH_ARGUMENT = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    ]
)
_IGNORED = frozenset({"PROTO", "FRAME"})
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def unpickle(stream: io.BytesIO, persistent_load: PersistentLoad) -> object:
    """Read one pickle from the current position of `stream`, and leave it at the pickle's end.

    Returns plain Python values, tensors and `PickledObject` stand-ins. Raises `UnsafeCheckpointError` for a name
    outside the allow-list, `CheckpointError` for a damaged or unknown form.
    """
    machine = _PickleReader(persistent_load)
    try:
        for opcode, argument, position in pickletools.genops(stream):
            machine.step(opcode.name, argument, position or 0)
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, struct.error) as error:
        raise CheckpointError(f"damaged pickle: {str(error)[:200] or type(error).__name__}") from error
    return machine.result()


class _PickleReader:
    """The stack, its marks, and the memo."""

    def __init__(self, persistent_load: PersistentLoad) -> None:
        self._persistent_load = persistent_load
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._operations: dict[str, Callable[[object], None]] = {
            "MARK": self._mark,
            "STOP": lambda _: None,
            "POP": self._pop_any,
            "POP_MARK": self._drop_to_mark,
            "DUP": lambda _: self._stack.append(self._stack[-1]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_SET": lambda _: self._stack.append(set()),
            "TUPLE": lambda _: self._stack.append(tuple(self._pop_to_mark())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "LIST": lambda _: self._stack.append(self._pop_to_mark()),
            "DICT": self._dict,
            "FROZENSET": lambda _: self._construct(
                PickledGlobal("builtins", "frozenset"), (self._pop_to_mark(),)
            ),
            "APPEND": lambda _: self._extend([self._pop()]),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "SETITEM": lambda _: self._set_items([self._pop(), self._pop()][::-1]),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "ADDITEMS": self._add_items,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "GLOBAL": lambda text: self._global(*_split(text)),
            "STACK_GLOBAL": lambda _: self._global(*reversed((self._pop(), self._pop()))),
            "INST": lambda text: self._instance(_split(text)),
            "OBJ": self._object,
            "REDUCE": self._reduce,
            "NEWOBJ": self._reduce,
            "NEWOBJ_EX": self._reduce_with_keywords,
            "BUILD": self._build,
            "BINPERSID": lambda _: self._stack.append(self._persistent_load(self._pop())),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), self._get),
        }

    def step(self, name: str, argument: object, position: int) -> None:
        """Execute one instruction; raises `CheckpointError` with the position of an unknown one."""
        if name in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in self._operations:
            self._operations[name](argument)
        elif name not in _IGNORED:
            raise UnsafeCheckpointError(f"pickle instruction {name} at byte {position} is not allowed")

    def result(self) -> object:
        """The value left on the stack at the end."""
        if len(self._stack) != 1 or self._marks:
            raise CheckpointError(f"damaged pickle: {len(self._stack)} values left at its end, expected 1")
        return self._stack[0]

    def _pop(self) -> object:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise CheckpointError("damaged pickle: its stack is empty")
        return self._stack.pop()

    def _pop_any(self, _argument: object) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _mark(self, _argument: object) -> None:
        self._marks.append(len(self._stack))

    def _pop_to_mark(self) -> list[object]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _drop_to_mark(self, _argument: object) -> None:
        self._pop_to_mark()

    def _tuple(self, count: int) -> None:
        self._stack.append(tuple([self._pop() for _ in range(count)][::-1]))

    def _put(self, index: object) -> None:
        self._memo[_index(index)] = self._stack[-1]

    def _get(self, index: object) -> None:
        self._stack.append(self._memo[_index(index)])

    def _dict(self, _argument: object) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise CheckpointError(f"damaged pickle: items appended to {_described(target)}")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError(f"damaged pickle: {len(items)} keys and values set in {_described(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not is_key(key):
                raise CheckpointError(f"a dict with {_described(key)} as a key, expected a plain value")
            target[key] = value

    def _add_items(self, _argument: object) -> None:
        items, target = self._pop_to_mark(), self._stack[-1]
        if not isinstance(target, set) or not all(is_key(item) for item in items):
            raise CheckpointError(f"damaged pickle: members added to {_described(target)}")
        target.update(items)

    def _global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise CheckpointError("damaged pickle: a global whose name is not text")
        named = PickledGlobal(module, name)
        if module == "torch" and name in DTYPES:
            self._stack.append(DTYPES[name])
        elif (module, name) in CONSTRUCTORS or storage_dtype(named) is not None or is_inert(named):
            self._stack.append(named)
        else:
            raise UnsafeCheckpointError(_refusal(named))

    def _instance(self, names: tuple[str, str]) -> None:
        arguments = self._pop_to_mark()
        self._global(*names)
        self._construct(self._pop(), tuple(arguments))

    def _object(self, _argument: object) -> None:
        target, *arguments = self._pop_to_mark()
        self._construct(target, tuple(arguments))

    def _reduce(self, _argument: object) -> None:
        arguments, target = self._pop(), self._pop()
        self._construct(target, arguments)

    def _reduce_with_keywords(self, _argument: object) -> None:
        keywords, arguments, target = self._pop(), self._pop(), self._pop()
        if keywords != {}:
            raise CheckpointError(f"{_described(target)} constructed with keyword arguments")
        self._construct(target, arguments)

    def _construct(self, target: object, arguments: object) -> None:
        """Create a stand-in, or a value with one of our own constructors; `target` itself is never called."""
        if not isinstance(target, PickledGlobal) or not isinstance(arguments, tuple):
            raise CheckpointError(f"damaged pickle: a call of {_described(target)}")
        constructor = CONSTRUCTORS.get((target.module, target.name))
        if constructor is not None:
            self._stack.append(constructor(*arguments))
        elif is_inert(target):
            self._stack.append(PickledObject(str(target), arguments))
        else:
            raise UnsafeCheckpointError(_refusal(target))

    def _build(self, _argument: object) -> None:
        state, target = self._pop(), self._stack[-1]
        if isinstance(target, PickledObject):
            _set_state(target, state)
        elif isinstance(target, PickledDtype):
            if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "=", "|"):
                target.order = str(state[1])
        elif not isinstance(target, dict):  # a dict's attributes (`_metadata` of a state dict) are dropped
            raise CheckpointError(f"damaged pickle: a state for {_described(target)}")


def _set_state(target: PickledObject, state: object) -> None:
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(part is None or isinstance(part, dict) for part in parts):
        target.state[""] = state
        return
    for part in parts:
        for name, value in part.items() if isinstance(part, dict) else ():
            if not isinstance(name, str):
                raise CheckpointError(
                    f"damaged pickle: {_described(target)} with an attribute that has no name"
                )
            target.state[name] = value


def _index(value: object) -> int:
    if not isinstance(value, int):
        raise CheckpointError("damaged pickle: a memo entry without a number")
    return value


def _split(text: object) -> tuple[str, str]:
    module, _, name = str(text).partition(" ")
    return module, name


def _described(value: object) -> str:
    """A value in a few characters, without terminal control sequences."""
    if isinstance(value, PickledGlobal):
        return ascii(f"{str(value)[:120]}")[1:-1]
    return repr(value)[:120] if isinstance(value, PickledObject) else f"a {type(value).__name__}"


def _refusal(named: PickledGlobal) -> str:
    text = f"its pickle names {_described(named)}, which is not on the allow-list; nothing was executed"
    if named.module.startswith("ultralytics"):
        return f"{text}; for models of the ultralytics package: export to ONNX there, then run `edgevision adopt`"
    return f"{text}; if you trust the file, save the model's state_dict() where it was trained, and use that file"


__all__ = ["PersistentLoad", "unpickle"]
