"""Records the signatures of TensorRT's real Python bindings, so that tests need neither wheels nor library.

Run it to refresh ``tests/builder/bindings/*.json`` or to add a version to `WHEELS` (needs pip, a C compiler, and a
Python that the wheels are made for)::

    python tests/builder/record_bindings.py

The wheels of the bindings hold no TensorRT, and importing one asks the linker for its libraries. Only about a dozen
entry points are looked up in them, none of which an import calls: empty libraries with those names satisfy the linker,
and pybind11 then prints the true signature of every class in the module.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "bindings"
WHEELS = (
    ("tensorrt-bindings", "8.6.1"),
    ("tensorrt-cu12-bindings", "10.3.0"),
    ("tensorrt-cu12-bindings", "10.6.0"),
    ("tensorrt-cu12-bindings", "10.13.3.9"),
    ("tensorrt-cu12-bindings", "11.0.0.114"),
    ("tensorrt-cu12-bindings", "11.4.0.106"),
    ("tensorrt-rtx-cu12-bindings", "1.7.1.116"),
)
"""At least one of each row of the table; 8.6, 10.3 and 10.13 are those of JetPack 6.0, 6.1 and 7."""
CLASSES = [
    "Builder",
    "IBuilderConfig",
    "INetworkDefinition",
    "OnnxParser",
    "ParserError",
    "IOptimizationProfile",
    "ITimingCache",
    "IHostMemory",
    "ILogger",
    "IProgressMonitor",
    "ILayer",
    "ITensor",
    "Runtime",
    "ICudaEngine",
    "EngineInspector",
    "IExecutionContext",
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "MemoryPoolType",
    "DeviceType",
    "DataType",
    "LayerType",
    "ProfilingVerbosity",
    "LayerInformationFormat",
    "ComputeCapability",
    "HardwareCompatibilityLevel",
    "EngineValidity",
    "EngineInvalidityDiagnostics",
    "TensorIOMode",
    "IInt8EntropyCalibrator2",
    "TensorLocation",
    "IRuntimeCache",
    "IRuntimeConfig",
    "CudaGraphStrategy",
    "OnnxParserFlag",
    "ExecutionContextAllocationStrategy",
    "TacticSource",
    "IConvolutionLayer",
    "IDeconvolutionLayer",
    "IMatrixMultiplyLayer",
]
"""What a builder and a runtime touch."""
BASES = "(bases)"
"""Stands among the members of a class, for the classes that it is derived from."""


def signatures(module: object) -> dict[str, dict[str, dict[str, object]]]:
    """Members of `CLASSES` as the module has them; classes that it lacks are left out."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for name in CLASSES:
        cls = getattr(module, name, None)
        if cls is not None:
            found[name] = {
                member: _member(cls, member)
                for member in dir(cls)
                if member == "__init__"
                or member == "add_optimization_profile"
                or not member.startswith(("_", "add_"))
            }
            bases = [base.__name__ for base in cls.__mro__[1:] if base.__name__.startswith("I")]
            if bases:
                found[name][BASES] = {"classes": bases}
            bases = [base.__name__ for base in cls.__mro__[1:] if base.__name__.startswith("I")]
            found[name].update({BASES: {"classes": bases}} if bases else {})
    return found


def _member(cls: type, name: str) -> dict[str, object]:
    value = getattr(cls, name)
    if isinstance(value, property):
        return {"property": _lines(value.fget), "settable": value.fset is not None}
    if callable(value) and not isinstance(value, type):
        return {"method": _lines(value)}
    if isinstance(value, type) and hasattr(value, "__members__"):
        return {"enum": {key: int(entry) for key, entry in value.__members__.items()}}
    return {"value": int(value)} if hasattr(value, "__int__") else {"other": True}


def _lines(function: object) -> list[str]:
    """The signatures that pybind11 wrote: one, or one a numbered line where there are overloads."""
    text = (getattr(function, "__doc__", None) or "").strip()
    overloads = re.findall(r"^\s*\d+\. (\w+\(.*)$", text, flags=re.MULTILINE)
    first = text.splitlines()[0] if text else ""
    found = overloads if "Overloaded function" in text else [first]
    return [re.sub(r"\b(?:tensorrt\w*\.)+", "", line) for line in found]


_PRINT = """
import ctypes, importlib.util, json, sys
sys.path.insert(0, {here!r})
import record_bindings
for library in {libraries!r}: ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
spec = importlib.util.spec_from_file_location({module!r}, {binding!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(record_bindings.signatures(module)))
"""


def record(package: str, version: str, work: Path) -> dict[str, Any]:
    """Download a wheel of bindings, import it beside empty libraries, and return what it says of itself."""
    words = (
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        f"{package}=={version}",
        "-d",
        str(work),
    )
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (wheel,) = work.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(work)
    (binding,) = [path for path in work.rglob("tensorrt*.so") if "plugin" not in path.parts]
    libraries = [_empty_library(name, binding, work) for name in _needed(binding)]
    program = _PRINT.format(
        here=str(FOLDER.parent), libraries=libraries, module=binding.stem, binding=str(binding)
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return {"source": wheel.name, "version": version, "classes": json.loads(done.stdout)}


def _needed(binding: Path) -> list[str]:
    text = subprocess.run(["readelf", "-d", binding], check=True, capture_output=True, text=True).stdout
    return re.findall(r"\[(lib(?:nv|tensorrt)[^\]]+)\]", text)


def _empty_library(name: str, binding: Path, work: Path) -> str:
    """A library of that name which holds every function that the binding may look up in it, doing nothing."""
    text = subprocess.run(
        ["readelf", "-Ws", "--dyn-syms", binding], check=True, capture_output=True, text=True
    ).stdout
    symbols = sorted(set(re.findall(r"FUNC\s+GLOBAL\s+DEFAULT\s+UND\s+(\w+)\s*$", text, flags=re.MULTILINE)))
    source = work / f"{name}.c"
    source.write_text(
        "".join(f"void *{s}(void) {{ return 0; }}\n" for s in symbols if not s.startswith("Py"))
    )
    library = work / name
    subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", library, source], check=True)
    return str(library)


def _text(facts: dict[str, Any]) -> str:
    """JSON with a line for each member, so that a change of a signature is a change of a line."""
    classes = []
    for name, members in sorted(facts["classes"].items()):
        lines = [f'   "{member}": {json.dumps(what)}' for member, what in sorted(members.items())]
        classes.append(f'  "{name}": {{\n' + ",\n".join(lines) + "\n  }")
    head = f' "source": "{facts["source"]}",\n "version": "{facts["version"]}",\n'
    return "{\n" + head + ' "classes": {\n' + ",\n".join(classes) + "\n }\n}\n"


def main() -> None:
    """Record every version in `WHEELS`."""
    for package, version in WHEELS:
        with tempfile.TemporaryDirectory() as folder:
            facts = record(package, version, Path(folder))
        family = "rtx" if "rtx" in package else "tensorrt"
        path = FOLDER / f"{family}-{version}.json"
        path.write_text(_text(facts))
        print(f"{path.name}: {len(facts['classes'])} classes")


if __name__ == "__main__":
    main()
