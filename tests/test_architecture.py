"""Packages in layers, what each may import, and what keeps a file readable: read off the tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgevision

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "edgevision"
SKELETONS = PACKAGE / "skeletons"
LAYERS = (
    "storage",
    "settings",
    "device",
    "contract",
    "bundle",
    "verification",
    "engines",
    "sources",
    "datasets",
    "analytics",
    "drawing",
    "sinks",
    "pipeline",
    "explain",
    "inference",
    "benchmark",
    "evaluation",
    "graph",
    "builder",
    "doctor",
    "service",
    "fleet",
    "checkpoint",
    "models",
    "quantize",
    "train",
    "export",
    "cli",
)
"""Packages from the lowest to the highest: each imports only what stands before it."""
ROOT = {"__init__", "__main__", "errors"}
"""Modules outside of packages, which everybody may import."""
MOST_FILES = 18
"""Maximum number of files in a folder."""
WORKSTATION = ("checkpoint", "export", "models", "graph", "train", "quantize")
"""Packages that a device never imports."""
ALLOWED = {
    "checkpoint": {"torch", "safetensors"},
    "export": {"torch", "onnx", "onnxslim", "onnxruntime", "safetensors"},
    "models": {"torch"},
    "graph": {"onnx", "onnxslim", "onnxruntime"},
    "quantize": {"onnx", "onnxruntime", "modelopt", "matplotlib", "pycocotools"},
    "evaluation": {"pycocotools", "skimage"},
    "datasets": {"pycocotools", "yaml"},
    "train": {"torch", "lightning", "matplotlib", "safetensors", "pycocotools"},
    "engines": {"onnxruntime", "openvino"},
    "engines/tensorrt": {"tensorrt", "tensorrt_rtx"},
    "builder": {"tensorrt"},
    "benchmark/paired/ranks.py": {"scipy"},
    "benchmark/scenarios/loadgen.py": {"mlperf_loadgen"},
    "contract/supervision.py": {"supervision"},
    "inference/prediction.py": {"pandas"},  # inside `to_pandas`, for those who have it
    "analytics/tracker.py": {"supervision", "trackers"},
    "sources/feeds": {"av"},
    "device/power": {"pynvml"},
    "sinks": {"paho", "urllib3", "av"},
    "fleet/cluster.py": {"ray"},
    "service/web": {"aiohttp", "prometheus_client"},
    "service/config": {"tomllib", "tomli"},  # the one in the other's place before Python 3.11
    "cli": {"click"},
}
"""Permitted imports besides numpy and OpenCV, by folder or file."""
EVERYWHERE = {"numpy", "cv2", "edgevision"}


def python_files(folder: Path) -> list[Path]:
    """All modules; the skeletons of recipes are data, which `new-recipe` copies."""
    return sorted(path for path in folder.rglob("*.py") if SKELETONS not in path.parents)


def imported(path: Path, *, top_level_only: bool) -> set[str]:
    """First parts of all imported modules; those under `if TYPE_CHECKING` do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def package(path: Path) -> str:
    """The package of a file; empty for the modules of the root."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else ""


def arrows(path: Path) -> set[tuple[str, str]]:
    """(package, what is imported) for each import of another package of ours, those for types included."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *[f"{node.module}.{alias.name}" for alias in node.names]]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            names = [str(getattr(node.args[0], "value", ""))]
        for name in names:
            parts = name.split(".")
            if (
                len(parts) > 1
                and parts[0] == "edgevision"
                and parts[1] in LAYERS
                and parts[1] != package(path)
            ):
                found.add((parts[1], name))
    return found


def test_every_package_has_its_layer() -> None:
    assert {package(path) for path in python_files(PACKAGE)} == {"", *LAYERS}
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT


@pytest.mark.parametrize(
    "path",
    [path for path in python_files(PACKAGE) if package(path)],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_imports_point_downward(path: Path) -> None:
    own = LAYERS.index(package(path))
    upward = [
        f"{package(path)} -> {name}" for other, name in sorted(arrows(path)) if LAYERS.index(other) > own
    ]
    assert not upward, f"{path.relative_to(PACKAGE)} imports a higher layer: {', '.join(upward)}"


def test_folders_have_at_most_18_files() -> None:
    folders = {path.parent for path in python_files(PACKAGE)}
    counts = {str(folder.relative_to(PACKAGE)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}
    assert counts["."] <= 5


def declared(layer: str) -> tuple[str, list[str]]:
    """A package's contents and permitted imports, from its docstring."""
    text = ast.get_docstring(ast.parse((PACKAGE / layer / "__init__.py").read_text())) or ""
    holds, _, names = text.partition("\n\nMay import: ")
    return holds, [] if names == "nothing." else " ".join(names.split()).rstrip(".").split(", ")


@pytest.mark.parametrize("layer", LAYERS)
def test_package_docstrings_match_their_contents_and_imports(layer: str) -> None:
    holds, names = declared(layer)
    used = {other for path in python_files(PACKAGE / layer) for other, _ in arrows(path)}
    assert holds.endswith("."), "one line on what it holds"
    assert names == [name for name in LAYERS if name in used]


def test_the_documentation_shows_the_layers() -> None:
    rows = [
        f"| `{layer}` | {declared(layer)[0]} | {', '.join(declared(layer)[1]) or '-'} |" for layer in LAYERS
    ]
    assert "\n".join(rows) in (REPOSITORY / "docs" / "architecture.md").read_text()


def allowed(path: Path) -> set[str]:
    relative = path.relative_to(PACKAGE)
    places = {str(relative), *[str(parent) for parent in relative.parents]}
    return set().union(*[names for place, names in ALLOWED.items() if place in places])


@pytest.mark.parametrize("path", python_files(PACKAGE), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_package_imports_only_what_it_may(path: Path) -> None:
    third_party = imported(path, top_level_only=False) - set(sys.stdlib_module_names) - EVERYWHERE
    assert third_party <= allowed(path)


@pytest.mark.parametrize("path", python_files(REPOSITORY / "export"), ids=lambda p: p.stem)
def test_a_recipe_imports_torch_only_inside_functions(path: Path) -> None:
    assert "torch" not in imported(path, top_level_only=True)


def device_modules() -> list[str]:
    names = []
    for path in python_files(PACKAGE):
        relative = path.relative_to(REPOSITORY).with_suffix("")
        if package(path) not in WORKSTATION and path.name not in ("__init__.py", "__main__.py"):
            names.append(".".join(relative.parts))
    return names


def test_all_device_modules_import_with_torch_and_onnx_blocked() -> None:
    program = "\n".join(
        [
            "import sys, importlib",
            "sys.modules.update({name: None for name in ('torch', 'onnx', 'onnxslim', 'safetensors')})",
            f"for name in {device_modules()!r}: importlib.import_module(name)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_recipe_loads_with_torch_blocked() -> None:
    program = "\n".join(
        [
            "import sys",
            "sys.modules['torch'] = None",
            "from edgevision.models.recipe import available_recipes, load_recipe",
            "print(*[load_recipe(name).name for name in available_recipes()])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(path.stem for path in (REPOSITORY / "export").glob("*.py"))


def test_import_loads_no_arrays() -> None:
    program = "import sys, edgevision; print('numpy' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_all_is_sorted_and_is_what_is_visible() -> None:
    assert edgevision.__all__ == sorted(edgevision.__all__)
    visible = {name for name in dir(edgevision) if not name.startswith("_")}
    assert visible == set(edgevision.__all__)
    for name in edgevision.__all__:
        assert getattr(edgevision, name).__module__.startswith("edgevision.")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from edgevision.cli.root import edgevision\n"
        "try: edgevision(['--help'])\n"
        "except SystemExit: pass\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize(
    "path",
    [
        p
        for folder in ("edgevision", "export", "benchmarks", "tests")
        for p in python_files(REPOSITORY / folder)
    ],
    ids=lambda p: str(p.relative_to(REPOSITORY)),
)
def test_files_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "a file has at most 400 lines"
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            assert node.end_lineno - node.lineno < 60, f"{node.name} has 60 lines or more"
