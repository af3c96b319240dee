"""200 ways to damage plans, manifests and bundles: each gives one clear error, and nothing is deleted."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle, FileEntry, Golden, write_bundle
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.manifest import EngineManifest, Platform, Run, Running
from edgevision.engines.tensorrt.plan_file import read_plan_file
from edgevision.engines.tensorrt.store import (
    StoredEngine,
    choose_engine,
    decide_engine,
    open_engine,
    stored_engines,
)
from edgevision.errors import BundleError, EdgevisionError
from tests.doubles import detector

HERE = Running("tensorrt", "10.3.0", Platform("linux", "aarch64", "Orin", 87, "540", "12.6"))
PLAN = bytes(random.Random(1).randbytes(5000))
SEEDS = range(50)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with one engine that would run here."""
    spec = detector()
    arrays = tuple(
        np.zeros((1, *tensor.shape[1:]), tensor.dtype)  # what no test reads
        for tensor in spec.outputs
    )
    made = write_bundle(tmp_path / "b", spec, b"graph", Golden(np.zeros((1, 64, 64, 3), np.uint8), arrays))
    folder = made.path / "engines" / "tensorrt-10.3.0-sm87-float-00000000"
    folder.mkdir(parents=True)
    (folder / "model.plan").write_bytes(PLAN)
    (folder / "engine.json").write_bytes(_manifest(made).to_json())
    return made.path


def _manifest(bundle: Bundle) -> EngineManifest:
    return EngineManifest(
        "0.1.0",
        "tensorrt",
        "10.3.0",
        87,
        HERE.platform,
        bundle.graph("float").file,
        "float",
        BatchRange(),
        FileEntry("model.plan", hashlib.sha256(PLAN).hexdigest(), len(PLAN)),
        (),
    )


def opened(bundle: Path) -> bytes:
    """What an engine's session does before it hands the plan to TensorRT."""
    found = Bundle.open(bundle)
    found.check_files()
    engine = choose_engine(found, HERE)
    if not isinstance(engine, StoredEngine):
        raise BundleError(str(engine))
    return engine.plan()


def test_whole_it_opens(bundle: Path) -> None:
    assert opened(bundle) == PLAN
    assert isinstance(decide_engine(Bundle.open(bundle), stored_engines(bundle).engines[0], HERE), Run)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One of: cut, a byte changed, a piece taken out, doubled, zeroed, replaced by noise, or all gone."""
    at, length = chance.randrange(len(data)), chance.randrange(1, 64)
    return chance.choice(
        [
            data[:at],
            data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :],
            data[:at] + data[at + length :],
            data + data[:at],
            data[:at] + bytes(length) + data[at + length :],
            data[:at] + chance.randbytes(length) + data[at + length :],
            b"",
        ]
    )


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(action: Callable[[], object], folder: Path, *names: str) -> None:
    """The action fails with one of our errors that names a file and fits a line; every file stays as it is."""
    before = tree(folder)
    with pytest.raises(EdgevisionError) as caught:
        action()
    message = str(caught.value)
    assert any(name in message for name in names), message
    assert len(message) < 600
    assert "\n" not in message
    assert tree(folder) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_plans(bundle: Path, seed: int) -> None:
    (plan,) = bundle.rglob("model.plan")
    plan.write_bytes(damaged(PLAN, random.Random(seed)))
    check(lambda: opened(bundle), bundle, "model.plan")


def json_faults() -> list[Callable[[dict[str, Any]], Any]]:
    """Wrong in meaning, where the text is JSON still."""

    def put(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda data: {**data, key: value}

    wrong: tuple[Any, ...] = (None, "x", [], -1)
    return [
        *[put(key, value) for key in ("plan", "sm", "flavour", "schema") for value in wrong],
        *[put("tensors", value) for value in (None, "x", [7], -1)],
        put("plan", {"name": "../../model.onnx", "sha256": "0", "size_bytes": 5}),
        put("plan", {"name": "/etc/passwd", "sha256": "0", "size_bytes": 5}),
        put("batch", {"min": 4, "opt": 1, "max": 1}),
        put("surprise", 1),
        put("schema", 99),
        lambda data: [data],
        lambda data: {},
        lambda data: 7,
        lambda data: {key: value for key, value in data.items() if key != "plan"},
        lambda data: {key: value for key, value in data.items() if key != "built_on"},
    ]


@pytest.mark.parametrize("fault", range(len(json_faults())))
def test_wrong_manifests(bundle: Path, fault: int) -> None:
    (file,) = bundle.rglob("engine.json")
    file.write_text(json.dumps(json_faults()[fault](json.loads(file.read_bytes()))))
    check(lambda: opened(bundle), bundle, "engine.json")


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"{}" * 1_000_000, b"\xff\xfe", b"NaN", b'{"schema": 1e999}', b"null", b"\0" * 100],
    ids=["nested", "long", "binary", "nan", "huge-number", "null", "zeros"],
)
@pytest.mark.parametrize("name", ["engine.json", "bundle.json"])
def test_strange_manifests(bundle: Path, name: str, content: bytes) -> None:
    (file,) = bundle.rglob(name)
    file.write_bytes(content)
    check(lambda: opened(bundle), bundle, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_manifests(bundle: Path, seed: int) -> None:
    """A changed letter can leave a valid manifest with another meaning; it must not open the plan."""
    (file,) = bundle.rglob("engine.json")
    chance, text = random.Random(seed), file.read_bytes()
    file.write_bytes(text[: chance.randrange(len(text))])
    check(lambda: opened(bundle), bundle, "engine.json")


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_bundles(bundle: Path, seed: int) -> None:
    name = ("bundle.json", "model.onnx", "golden.npz")[seed % 3]
    file, chance = bundle / name, random.Random(seed)
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])
    check(lambda: opened(bundle), bundle, name)


@pytest.mark.parametrize("name", ["model.plan", "engine.json", "bundle.json", "model.onnx", "golden.npz"])
@pytest.mark.parametrize("what", ["missing", "folder"])
def test_files_that_are_none(bundle: Path, name: str, what: str) -> None:
    (file,) = bundle.rglob(name)
    file.unlink()
    if what == "folder":
        file.mkdir()
    check(lambda: opened(bundle), bundle, name)


def test_one_damaged_engine_does_not_hide_a_whole_one(bundle: Path) -> None:
    (folder,) = (bundle / "engines").iterdir()
    other = folder.with_name("tensorrt-10.3.0-sm87-int8-11111111")
    shutil.copytree(folder, other)
    (other / "engine.json").write_text("{")
    assert opened(bundle) == PLAN
    (problem,) = stored_engines(bundle).problems
    assert str(other) in str(problem)


def test_what_a_user_put_among_the_engines_is_let_be(bundle: Path) -> None:
    root = bundle / "engines"
    (root / "notes.txt").write_text("mine")
    (root / ".hidden").mkdir()
    assert opened(bundle) == PLAN
    (root / "my folder").mkdir()
    with pytest.raises(BundleError, match="my folder/engine.json"):
        open_engine(root / "my folder")
    assert opened(bundle) == PLAN


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_plans_with_a_header(tmp_path: Path, seed: int) -> None:
    header = json.dumps({"task": "detect", "imgsz": [640, 640], "names": {"0": "a"}}).encode()
    whole = len(header).to_bytes(4, "little") + header + PLAN
    chance = random.Random(seed)
    file = tmp_path / "theirs.engine"
    lengths = [0, 3, len(whole) * 2, 2**31 - 1, 2**32 - 1]
    file.write_bytes(
        chance.choice(
            [
                whole[: chance.randrange(len(header) + 4)],
                chance.choice(lengths).to_bytes(4, "little") + whole[4:],
                whole[:4] + bytes([255]) + whole[5:],
                whole[: len(header) + 4],
            ]
        )
    )
    check(lambda: read_plan_file(file), tmp_path, "theirs.engine")
