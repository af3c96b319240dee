"""Hostile pickles: each is rejected or stays inert, and none may execute, import, or exhaust the machine."""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from edgevision.checkpoint.pickled import PickledObject, PickledStorage
from edgevision.checkpoint.reading import read_checkpoint, state_dict_from_module
from edgevision.checkpoint.unpickle import unpickle
from edgevision.errors import CheckpointError, UnsafeCheckpointError
from tests.export.attacks import PLANT, attacks, global_name, text


def _no_storage(_reference: object) -> PickledStorage:
    raise AssertionError("no storage was expected")


def _load(data: bytes) -> object:
    return unpickle(io.BytesIO(data), _no_storage)


def _write(path: Path, pickled: bytes, entries: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in (entries or {}).items():
            archive.writestr(f"archive/{name}", data)
    return path


ATTACKS = tuple(attacks(Path("/nowhere")))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_executes_nothing_and_is_named(attack: str, planted: Path, tmp_path: Path) -> None:
    pickled, named = attacks(planted)[attack]
    path = _write(tmp_path / "hostile.pt", pickled)
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert named in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert not planted.exists()
    assert PLANT not in sys.modules


def test_the_attacks_are_real(planted: Path) -> None:
    # Without this, a marker that no pickle could ever write would make every test above pass.
    for attack in ("REDUCE of os.system", "GLOBAL, text protocol", "INST", "STACK_GLOBAL"):
        pickle.loads(attacks(planted)[attack][0])
        assert planted.exists(), attack
        planted.unlink()


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_extension_codes_are_refused_even_when_registered(opcode: bytes, planted: Path) -> None:
    copyreg.add_extension("os", "system", 1)
    try:
        with pytest.raises(UnsafeCheckpointError, match="EXT"):
            _load(b"\x80\x02" + opcode + text(f"touch {planted}") + b"\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 1)
    assert not planted.exists()


def test_stand_ins_are_never_constructed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_keywords: object) -> None:
        raise AssertionError("a layer was constructed")

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", refuse)
    monkeypatch.setattr(torch.nn.Module, "__setstate__", refuse)
    for call in (b"(I1\nI2\nI3\ntR", b"(I1\nt\x81", b"(tR}S'bias'\nNsb"):
        found = _load(b"ctorch.nn.modules.conv\nConv2d\n" + call + b".")
        assert isinstance(found, PickledObject)
        assert found.class_name == "torch.nn.modules.conv.Conv2d"


def test_state_is_stored_and_not_obeyed() -> None:
    state = (
        b"}(S'__setstate__'\nctorch.nn.functional\nrelu\nS'__class__'\ncmodels.common\nConv\nS'__dict__'\n}u"
    )
    found = _load(b"cmodels.common\nConv\n)\x81" + state + b"b}S'after'\nI1\nsb.")
    assert isinstance(found, PickledObject)
    assert type(found) is PickledObject
    assert sorted(found.state) == ["__class__", "__dict__", "__setstate__", "after"]


@pytest.mark.parametrize(
    "pickled",
    [
        b"cmodels.common\nConv\n}S'__init__'\nI1\nsb.",  # attributes for a class
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'__code__'\nI1\nsb.",  # ... for a function
        b"]}S'append'\nI1\nsb.",  # ... for a list
        b"cmodels.common\nConv\n)\x81(I1\nI2\ne.",  # APPENDS to a stand-in, whose append would be looked up
        b"cmodels.common\nConv\n)\x81I1\nI2\ns.",  # SETITEM on a stand-in
        b"cmodels.common\nConv\n)\x81)R.",  # a call of a stand-in
        b"(cmodels.common\nConv\n)\x81)\x81.",  # a stand-in as a class
        b"S'text'\n)R.",  # a call of text
    ],
)
def test_nothing_but_data_takes_items_state_or_calls(pickled: bytes) -> None:
    with pytest.raises(CheckpointError):
        _load(pickled)


@pytest.mark.parametrize(
    "truncated", [b"", b"\x80", b"(", b"}q", b"c", b"cos", b"X\xff\xff\xff\x7fab", b"N", b"NN.", b"(."]
)
def test_damage_is_a_checkpoint_error(truncated: bytes) -> None:
    with pytest.raises(CheckpointError):
        _load(truncated)


@pytest.mark.parametrize("pickled", [b"h\x07.", b"j\xff\xff\xff\xff.", b"g999999999999\n.", b"gx\n."])
def test_memo_entries_that_were_never_written(pickled: bytes) -> None:
    with pytest.raises(CheckpointError, match="damaged pickle"):
        _load(pickled)


def test_a_huge_memo_index_takes_no_memory() -> None:
    # Python's own machine allocates twice the index: 32 GiB here.
    assert _load(b"Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f.") is None


def test_lengths_beyond_the_file() -> None:
    with pytest.raises(CheckpointError, match="damaged pickle"):
        _load(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3fabc.")


def test_deep_nesting() -> None:
    assert isinstance(_load(b")" + b"\x85" * 100_000 + b"."), tuple)
    with pytest.raises(CheckpointError, match="key"):
        # Hashing the same tuple would exhaust the C stack.
        _load(b"})" + b"\x85" * 100_000 + b"Ns.")


def test_deeply_nested_modules_are_refused() -> None:
    leaf = PickledObject("torch.nn.modules.container.Sequential")
    for _ in range(1000):
        leaf = PickledObject("torch.nn.modules.container.Sequential", state={"_modules": {"0": leaf}})
    with pytest.raises(CheckpointError, match="nested deeper"):
        state_dict_from_module(leaf)


def test_modules_that_contain_themselves_are_refused() -> None:
    module = PickledObject("torch.nn.modules.container.Sequential")
    module.state["_modules"] = {"0": module}
    with pytest.raises(CheckpointError, match="nested deeper"):
        state_dict_from_module(module)


def test_modules_shared_two_to_the_sixtieth_times_are_refused_at_once() -> None:
    module = PickledObject("torch.nn.modules.container.Sequential")
    for _ in range(60):
        module = PickledObject(
            "torch.nn.modules.container.Sequential", state={"_modules": {"0": module, "1": module}}
        )
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="more than"):
        state_dict_from_module(module)
    assert time.monotonic() - started < 5


def _tensor(reference: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickle of ``{"w": tensor}`` over a storage that `reference` names."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    parts = (
        reference + b"Q",
        b"I%d\n" % offset,
        numbers(size),
        numbers(stride),
        b"\x89",
        b"ccollections\nOrderedDict\n)R",
    )
    return b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(" + b"".join(parts) + b"tRs."


def _reference(key: str = "0", count: int = 16, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return b"(S'storage'\n" + kind + b"S'" + key.encode() + b"'\nS'cpu'\nI%d\nt" % count


STORAGE = {"data/0": bytes(64)}


def test_the_tensor_that_the_next_tests_break_is_sound(tmp_path: Path) -> None:
    found = read_checkpoint(_write(tmp_path / "a.pt", _tensor(_reference(), 0, (4, 4), (4, 1)), STORAGE))
    assert found.tensors["w"].shape == (4, 4)


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (_tensor(_reference(), 1, (4, 4), (4, 1)), "ends at element 17 of a storage that holds 16"),
        (_tensor(_reference(), 0, (4, 4), (5, 1)), "ends at element 19"),
        (_tensor(_reference(), -1, (4, 4), (4, 1)), "offset -1"),
        (_tensor(_reference(), 0, (4, 4), (-4, 1)), "strides"),
        (_tensor(_reference(), 0, (4, -4), (4, 1)), "size"),
        (_tensor(_reference(), 0, (4, 4), (4,)), "strides"),
        (_tensor(_reference(), 0, (1 << 40, 2), (0, 1)), "claims"),
        (_tensor(_reference(), 0, (1 << 62, 1 << 62), (1, 1)), "ends at element"),
        (_tensor(_reference(), 0, (0, 1 << 62, 1 << 62), (1, 1, 1)), "empty tensor"),
        (_tensor(_reference(), 0, (4096, 4096), (0, 0)), "claim"),
        (_tensor(_reference("1"), 0, (4, 4), (4, 1)), "storage '1' is missing"),
        (_tensor(_reference("../../../etc/passwd"), 0, (4, 4), (4, 1)), "is missing"),
        (_tensor(_reference(count=17), 0, (4, 4), (4, 1)), "has 64 bytes, expected 68"),
        (_tensor(_reference(count=1 << 60), 0, (4, 4), (4, 1)), "without type, key or size"),
        (_tensor(_reference(count=-16), 0, (4, 4), (4, 1)), "without type, key or size"),
        (_tensor(_reference(kind=b"cmodels.common\nConv\n"), 0, (4, 4), (4, 1)), "without type, key or size"),
        (_tensor(b"S'storage'\n", 0, (4, 4), (4, 1)), "something other than a storage"),
        (_tensor(b"(S'module'\nNNNNt", 0, (4, 4), (4, 1)), "something other than a storage"),
        (_tensor(b"(t", 0, (4, 4), (4, 1)), "something other than a storage"),
        (_tensor(b"N", 0, (4, 4), (4, 1)), "something other than a storage"),
    ],
)
def test_tensors_stay_within_their_storage(pickled: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(_write(tmp_path / "a.pt", pickled, STORAGE))
    assert reason in str(caught.value)


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    with pytest.raises(UnsafeCheckpointError) as caught:
        _load(b"\x80\x04" + global_name("os\x1b[2J", "system\x07" * 30) + b".")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_plain_values_are_read_as_python_reads_them() -> None:
    import argparse
    import collections
    import datetime
    import pathlib

    import numpy as np

    plain: dict[object, object] = {
        "none": None,
        "flags": [True, False],
        "numbers": (0, -1, 255, 65536, 1 << 40, -(1 << 80), 1.5, float("inf")),
        "text": "grün",
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "frozen": frozenset({"a"}),
        "ordered": collections.OrderedDict(a=1, b=[2]),
        3: {(1, "x"): "tuple key"},
    }
    plain["shared"] = [plain["flags"], plain["flags"]]
    for protocol in range(2, 5):  # torch writes 2 and takes an option; 0 and 1 are of Python 1
        assert _load(pickle.dumps(plain, protocol)) == plain
        assert _load(pickle.dumps(np.float64(0.25), protocol)) == 0.25
        assert _load(pickle.dumps(np.int32(-7), protocol)) == -7
        for inert in (
            argparse.Namespace(lr=0.1),
            datetime.datetime(2024, 1, 1),
            pathlib.PurePosixPath("a/b"),
            np.ones((2, 2)),
            range(3),
        ):
            assert isinstance(_load(pickle.dumps(inert, protocol)), PickledObject), (inert, protocol)
