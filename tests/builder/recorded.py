"""A TensorRT of recorded signatures: exactly the members and arguments of that version's bindings.

What it answers is scripted here; what may be asked of it is not. A member that the real class lacks, an argument too
many, or one of another type raises as pybind11 would.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BASES = "(bases)"
FOLDER = Path(__file__).resolve().parent / "bindings"
VERSIONS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
"""Such as "tensorrt-10.3.0" and "rtx-1.7.1.116"."""

Classes = dict[str, dict[str, dict[str, Any]]]


def recorded_classes(version: str) -> Classes:
    """What the bindings of a version have, by class and member."""
    classes: Classes = json.loads((FOLDER / f"{version}.json").read_text())["classes"]
    return classes


@dataclass(frozen=True)
class Member:
    """A member of a recorded enum."""

    enum: str
    name: str
    value: int

    def __int__(self) -> int:
        return self.value


@dataclass
class Script:
    """What objects answer: by class and member, a value, or a function of the object and the arguments."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    calls: list[tuple[str, str, tuple[Any, ...]]] = field(default_factory=list)
    """(class, member, arguments), in order; a property that was set has its value as the argument."""

    def made(self, cls: str, member: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of that member."""
        return [arguments for c, m, arguments in self.calls if (c, m) == (cls, member)]


class RecordedModule(types.ModuleType):
    """Stands where ``import tensorrt`` would."""

    def __init__(self, version: str, script: Script) -> None:
        super().__init__("tensorrt_rtx" if version.startswith("rtx") else "tensorrt")
        self.__version__ = version.split("-", 1)[1]
        classes = recorded_classes(version)
        for cls, member in script.answers:
            assert member in classes.get(cls, {}), f"{version} has no {cls}.{member} to script"
        for name, members in classes.items():
            setattr(self, name, LAYERS.get(name) or _class(name, members, classes, script))


def _class(name: str, members: dict[str, dict[str, Any]], classes: Classes, script: Script) -> Any:
    values = {key: entry["value"] for key, entry in members.items() if "value" in entry}
    if name in ("ILogger", "IProgressMonitor", "IInt8EntropyCalibrator2"):  # those that users derive from
        nested = {key: _namespace(key, entry["enum"]) for key, entry in members.items() if "enum" in entry}
        bases = tuple(type(base, (), {}) for base in members.get(BASES, {}).get("classes", ()))
        return type(name, bases, nested)
    if values:
        return _namespace(name, values)

    def make(*arguments: Any) -> Instance:
        _check(name, "__init__", members["__init__"]["method"], arguments, classes)
        script.calls.append((name, "__init__", arguments))
        return Instance(name, classes, script)

    return make


def _namespace(name: str, values: dict[str, int]) -> Any:
    members: dict[str, Any] = {key: Member(name, key, value) for key, value in values.items()}
    return types.SimpleNamespace(**members)


class Instance:
    """An object of a recorded class."""

    def __init__(self, cls: str, classes: Classes, script: Script) -> None:
        self.__dict__.update(_cls=cls, _classes=classes, _script=script)

    def __getattr__(self, name: str) -> Any:
        entry = self._member(name)
        answer = self._script.answers.get((self._cls, name))
        if "property" in entry:
            return answer(self) if callable(answer) else answer

        def call(*arguments: Any) -> Any:
            _check(self._cls, name, entry["method"], arguments, self._classes)
            self._script.calls.append((self._cls, name, arguments))
            if answer is not None:
                return answer(self, *arguments) if callable(answer) else answer
            return self._default(entry["method"][0])

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        entry = self._member(name)
        if "property" not in entry or not entry["settable"]:
            raise AttributeError(f"can't set {self._cls}.{name}")
        kind = entry["property"][0].rsplit("->", 1)[-1]
        if not _fits(kind, value, self._classes):
            raise TypeError(f"{self._cls}.{name}: {value!r} is no {kind}")
        self._script.calls.append((self._cls, name, (value,)))
        self.__dict__[name] = value

    def _member(self, name: str) -> dict[str, Any]:
        try:
            member: dict[str, Any] = self._classes[self._cls][name]
        except KeyError:
            raise AttributeError(f"{self._cls!r} object has no attribute {name!r}") from None
        return member

    def _default(self, signature: str) -> Any:
        """An answer of the type that the signature promises."""
        kind = _bare(signature.rsplit("->", 1)[-1])
        plain: dict[str, Any] = {"None": None, "bool": True, "int": 0, "str": "", "float": 0.0}
        return plain[kind] if kind in plain else Instance(kind, self._classes, self._script)


def _check(cls: str, name: str, signatures: list[str], given: tuple[Any, ...], classes: Classes) -> None:
    """Raise `TypeError` unless one overload takes these arguments."""
    if not any(_takes(signature, given, classes) for signature in signatures):
        raise TypeError(f"{cls}.{name}: incompatible arguments {given!r}; supported: {signatures}")


def _takes(signature: str, given: tuple[Any, ...], classes: Classes) -> bool:
    inside = signature[signature.index("(") + 1 : signature.rindex(") ->")]
    parameters = [part for part in re.split(r",\s*(?![^\[]*\])", inside) if part][1:]
    least = sum("=" not in part for part in parameters)
    if not least <= len(given) <= len(parameters):
        return False
    kinds = [part.split(":", 1)[1].split(" = ")[0].strip() for part in parameters[: len(given)]]
    return all(_fits(kind, value, classes) for kind, value in zip(kinds, given, strict=True))


def _fits(kind: str, value: Any, classes: Classes) -> bool:
    bare = _bare(kind)
    if bare in ("int", "SupportsInt"):
        return isinstance(value, int)
    if bare in ("str", "bool"):
        return isinstance(value, {"str": str, "bool": bool}[bare])
    if bare in ("buffer", "Buffer"):
        return isinstance(value, bytes)
    if bare == "Dims":
        return isinstance(value, tuple) and all(isinstance(length, int) for length in value)
    if isinstance(value, Member):
        return value.enum == bare
    if isinstance(value, Instance):
        return bool(value._cls == bare)
    return bare in {base.__name__ for base in type(value).__mro__}


def _bare(kind: str) -> str:
    """The last word of a type's name: `tensorrt.BuilderFlag`, `nvonnxparser::OnnxParserFlag`."""
    return re.split(r"[.:]+", kind.strip())[-1]


Answer = Callable[..., Any]


class ITensor(types.SimpleNamespace):
    """A tensor of a scripted network."""


class ILayer(types.SimpleNamespace):
    """A layer of one."""

    def set_output_type(self, index: int, dtype: Any) -> None:
        self.__dict__.setdefault("output_types", {})[index] = dtype


class IConvolutionLayer(ILayer):
    """One that was asked for its own attributes: 8 maps of 3x3 from 3."""

    num_groups = 1
    num_output_maps = 8
    kernel_size_nd = (3, 3)


LAYERS: dict[str, type[ILayer]] = {"IConvolutionLayer": IConvolutionLayer}
"""Classes that a layer may be given so that it shows what its kind has."""


def working(version: str, plan: bytes = b"plan", cache: bytes = b"cache") -> Script:
    """A script by which a network parses and builds: pixels, convolutions in FP16 and INT8, and areas of boxes."""
    script = Script()
    classes = recorded_classes(version)

    def host(content: bytes) -> Answer:
        return lambda *_: content

    def tensor(name: str, dtype: str, shape: tuple[int, ...]) -> ITensor:
        return ITensor(name=name, dtype=Member("DataType", dtype, 0), shape=shape)

    def layer(name: str, kind: str, read: ITensor, answer: ITensor) -> ILayer:
        return ILayer(
            name=name,
            type=Member("LayerType", kind, classes["LayerType"][kind]["value"]),
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: read,
            get_output=lambda _: answer,
        )

    frames = tensor("frames", "UINT8", (-1, 64, 64, 3))
    pixels = tensor("pixels", "FLOAT", (-1, 3, 64, 64))
    a, b = tensor("a", "HALF", (-1, 8, 8, 8)), tensor("b", "INT8", (-1, 8, 8, 8))
    area, wide = tensor("area", "FLOAT", (-1, 8)), tensor("wide", "FLOAT", (-1, 1, 8))
    outputs = [("boxes", "FLOAT", (-1, 1, 4)), ("scores", "FLOAT", (-1, 1)), ("labels", "INT32", (-1, 1))]
    layers = [
        layer("pre/Cast_1", "SHUFFLE", frames, pixels),
        layer("a", "CONVOLUTION", pixels, a),
        layer("b", "CONVOLUTION", a, b),
        layer("post/Mul_1", "ELEMENTWISE", b, area),
        layer("(Unnamed Layer* 4) [Shuffle]", "SHUFFLE", area, wide),
    ]
    assert set(vars(frames)) <= set(classes["ITensor"])
    assert set(vars(layers[0])) <= set(classes["ILayer"])
    script.answers.update(
        {
            ("OnnxParser", "parse_from_file"): True,
            ("INetworkDefinition", "num_inputs"): 1,
            ("INetworkDefinition", "num_outputs"): len(outputs),
            ("INetworkDefinition", "num_layers"): len(layers),
            ("INetworkDefinition", "get_input"): lambda *_: frames,
            ("INetworkDefinition", "get_output"): lambda _, index: tensor(*outputs[index]),
            ("INetworkDefinition", "get_layer"): lambda _, index: layers[index],
            ("IBuilderConfig", "can_run_on_DLA"): True,
            ("Runtime", "num_DLA_cores"): 2,
            ("Builder", "build_serialized_network"): host(plan),
            ("ITimingCache", "serialize"): host(cache),
        }
    )
    for fast in ("platform_has_fast_fp16", "platform_has_fast_int8"):
        if fast in classes["Builder"]:
            script.answers["Builder", fast] = True
    return script
