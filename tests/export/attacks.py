"""Pickles that would execute something in Python's own reader, for tests of ours and of what stands on it."""

from __future__ import annotations

import pickle
from pathlib import Path

PLANT = "edgevision_planted_module"
"""A module that writes a file when it is imported."""


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def global_name(module: str, name: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(name) + b"\x93"


class _Reduced:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would write `marker`, or load what could, each with the name that the refusal must contain."""
    return {**_calls(marker), **_detours(marker)}


def _calls(marker: Path) -> dict[str, tuple[bytes, str]]:
    """A function named outright, by every instruction that can."""
    import os

    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    shell = command.encode()
    return {
        "REDUCE of os.system": (pickle.dumps(_Reduced(os.system, command), 2), "posix.system"),
        "REDUCE of eval": (pickle.dumps(_Reduced(eval, code), 2), "__builtin__.eval"),
        "REDUCE of exec, protocol 4": (pickle.dumps(_Reduced(exec, code), 4), "builtins.exec"),
        "GLOBAL, text protocol": (b"cos\nsystem\n(S'" + shell + b"'\ntR.", "os.system"),
        "INST": (b"(S'" + shell + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'" + shell + b"'\no.", "os.system"),
        "STACK_GLOBAL": (b"\x80\x04" + global_name("os", "system") + text(command) + b"\x85R.", "os.system"),
        "names that the stack computes": (
            b"\x80\x04" + text("os") + b"\x94\x8c\x06system\x94h\x00h\x01\x93" + text(command) + b"\x85R.",
            "os.system",
        ),
        "dotted name under a trusted module": (
            b"\x80\x04"
            + global_name("torch.nn.modules.module", "torch.hub.os.system")
            + text(command)
            + b"\x85R.",
            "torch.nn.modules.module.torch.hub.os.system",
        ),
        "dunder path under models": (
            b"\x80\x04" + global_name("models.common", "__builtins__.eval") + text(code) + b"\x85R.",
            "models.common.__builtins__.eval",
        ),
    }


def _detours(marker: Path) -> dict[str, tuple[bytes, str]]:
    """A function reached through another one, through a file, or under a name that looks trusted."""
    command = f"touch {marker}"
    shell = command.encode()
    return {
        "module path of a planted file": (b"c" + PLANT.encode() + b"\nf\n)R.", PLANT),
        "planted file below a trusted prefix": (b"cmodels/../" + PLANT.encode() + b"\nf\n)R.", PLANT),
        "getattr of a global": (
            b"cbuiltins\ngetattr\n(cos\nsystem\nS'system'\ntR.",
            "os.system",
        ),
        "getattr of a stand-in": (
            b"cbuiltins\ngetattr\n(cmodels.common\nConv\n)\x81S'__class__'\ntR.",
            "builtins.getattr",
        ),
        "operator.attrgetter": (b"coperator\nattrgetter\n(S'system'\ntR.", "operator.attrgetter"),
        "functools.partial": (b"cfunctools\npartial\n(cos\nsystem\nS'x'\ntR.", "functools.partial"),
        "nested torch.load": (b"ctorch.serialization\nload\n(S'x'\ntR.", "torch.serialization.load"),
        "nested storage bytes": (
            b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
            "torch.storage._load_from_bytes",
        ),
        "nested pickle": (b"c_pickle\nloads\n(S'x'\ntR.", "_pickle.loads"),
        "numpy's object loader": (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        "torch.hub": (b"ctorch.hub\nload\n(S'x'\ntR.", "torch.hub.load"),
        "importlib": (
            b"cimportlib\nimport_module\n(S'" + PLANT.encode() + b"'\ntR.",
            "importlib.import_module",
        ),
        "NEWOBJ of a process": (
            b"\x80\x02csubprocess\nPopen\n(S'" + shell + b"'\nt\x81.",
            "subprocess.Popen",
        ),
        "NEWOBJ_EX": (
            b"\x80\x04"
            + global_name("subprocess", "Popen")
            + b")}"
            + text("args")
            + text(command)
            + b"s\x92.",
            "subprocess.Popen",
        ),
        "PERSID": (b"Pos.system\n.", "PERSID"),
        "bytes behind the allowed name": (b"ctorch\nFloatStorage; import os\n.", "FloatStorage; import os"),
    }
