"""Containers, and the place of the model in them."""

from __future__ import annotations

import copy
import hashlib
import io
import random
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import read_checkpoint, state_dict_from_module
from edgevision.errors import CheckpointError


def _small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _saved(path: Path, value: object, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def _same(found: Any, expected: Any) -> bool:
    return list(found) == list(expected) and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


def test_a_state_dict_of_each_format(tmp_path: Path) -> None:
    expected = _small().state_dict()
    safetensors.torch.save_file(expected, tmp_path / "a.safetensors")
    paths = (
        tmp_path / "a.safetensors",
        _saved(tmp_path / "zip.pth", expected),
        _saved(tmp_path / "protocol4.pth", expected, pickle_protocol=4),
        _saved(tmp_path / "legacy.pth", expected, _use_new_zipfile_serialization=False),
    )
    for path in paths:
        found = read_checkpoint(path)
        assert dict(found.tensors).keys() == expected.keys(), path
        assert all(torch.equal(found.tensors[name], expected[name]) for name in expected), path
        assert (found.kind, found.module, found.entry) == ("state dict", None, "")
        assert found.path == path
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("zipped", [True, False])
def test_every_dtype_as_torch_reads_it(zipped: bool, tmp_path: Path) -> None:
    names = (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
    )
    values = {name: torch.tensor([[0, 1], [1, 3]]).to(getattr(torch, name)) for name in names}
    if zipped:
        values["uint16"] = torch.tensor([[1, 65535]], dtype=torch.uint16)
        values["float8_e4m3fn"] = torch.tensor([[1.0, -2.0]]).to(torch.float8_e4m3fn)
    path = _saved(tmp_path / "a.pt", values, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path).tensors
    for name, tensor in values.items():
        floating = tensor.dtype.is_floating_point
        assert found[name].dtype == (torch.float32 if floating else tensor.dtype)
        assert torch.equal(found[name], tensor.float() if floating else tensor), name


def test_views_keep_their_strides_and_share_their_storage(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    path = _saved(
        tmp_path / "a.pt", {"whole": whole, "part": whole[1:3, ::2], "turned": whole.T, "none": whole[:0]}
    )
    found = read_checkpoint(path).tensors
    assert torch.equal(found["part"], whole[1:3, ::2])
    assert torch.equal(found["turned"], whole.T)
    assert found["none"].shape == (0, 6)
    assert found["whole"].data_ptr() == found["turned"].data_ptr()


def test_big_endian_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.tensor([[1.5, -2.0]]), "n": torch.tensor([[258]])}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(tmp_path / "a.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                width = 4 if struct.unpack("<f", data[:4])[0] == 1.5 else 8
                data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
            target.writestr(name, data)
    found = read_checkpoint(tmp_path / "a.pt").tensors
    assert found["w"].tolist() == [[1.5, -2.0]]
    assert found["n"].tolist() == [[258]]


@pytest.mark.parametrize(
    ("entry", "wrap"),
    [
        (
            "state_dict",
            lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {0: {"m": torch.ones(2, 2)}}}},
        ),
        ("model", lambda s: {"optimizer_states": [{"m": torch.ones(2, 2)}], "model": s}),
        ("model_state_dict", lambda s: {"loss": torch.tensor(1.0), "model_state_dict": s}),
        ("ema", lambda s: {"model": {"0.weight": torch.ones(1, 1)}, "ema": s}),
        ("model", lambda s: {"ema": None, "model": s}),
        ("model", lambda s: {"ema": {"decay": torch.tensor(0.9)}, "model": s}),
        ("", lambda s: {**s, "epoch": 7}),
        ("", lambda s: {f"module.{name}": tensor for name, tensor in s.items()}),
        ("state_dict", lambda s: {"state_dict": {f"module._orig_mod.{n}": t for n, t in s.items()}}),
    ],
)
def test_where_the_state_dict_lies(entry: str, wrap: Any, tmp_path: Path) -> None:
    expected = _small().state_dict()
    found = read_checkpoint(_saved(tmp_path / "a.pt", wrap(expected)))
    assert _same(found.tensors, expected)
    assert found.entry == entry


def test_a_pickled_module_is_walked(tmp_path: Path) -> None:
    module = _small()
    module[1].register_buffer("scratch", torch.ones(3), persistent=False)
    module[0].register_parameter("tied", nn.Parameter(torch.ones(2)))
    found = read_checkpoint(_saved(tmp_path / "a.pt", {"ema": None, "model": module.half(), "epoch": 1}))
    assert found.kind == "module"
    assert found.entry == "model"
    assert isinstance(found.module, PickledObject)
    assert found.module.class_name == "torch.nn.modules.container.Sequential"
    assert _same(
        found.tensors,
        {name: t.float() if t.is_floating_point() else t for name, t in module.state_dict().items()},
    )
    assert _same(state_dict_from_module(found.module), found.tensors)
    assert found.tensors["0.weight"].dtype == torch.float32


def test_the_average_is_preferred_to_the_last_step(tmp_path: Path) -> None:
    last, average = _small(), _small()
    average.load_state_dict({name: torch.ones_like(t) for name, t in average.state_dict().items()})
    found = read_checkpoint(_saved(tmp_path / "a.pt", {"model": last, "ema": average}))
    assert found.entry == "ema"
    assert torch.equal(found.tensors["0.weight"], torch.ones(4, 3, 3, 3))


@pytest.mark.parametrize("names", [["cat", "dog"], {0: "cat", 1: "dog"}, ("cat", "dog")])
def test_class_names_next_to_the_weights(names: object, tmp_path: Path) -> None:
    state = _small().state_dict()
    assert read_checkpoint(_saved(tmp_path / "a.pt", {"state_dict": state, "names": names})).class_names == (
        "cat",
        "dog",
    )


@pytest.mark.parametrize("names", [{0: "cat", 2: "dog"}, [1, 2], "cat", {"cat": 0}, None])
def test_what_is_no_list_of_class_names(names: object, tmp_path: Path) -> None:
    state = _small().state_dict()
    assert read_checkpoint(_saved(tmp_path / "a.pt", {"state_dict": state, "names": names})).class_names == ()


def test_class_names_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for text, expected in (('["cat", "dog"]', ("cat", "dog")), ("not JSON", ())):
        safetensors.torch.save_file(_small().state_dict(), path, {"classes": text})
        assert read_checkpoint(path).class_names == expected


def test_what_training_leaves_in_a_checkpoint(tmp_path: Path) -> None:
    import argparse
    import datetime

    module = _small()
    momentum = {"momentum_buffer": torch.ones(4, 3, 3, 3)}
    optimizer = {"state": {0: momentum}, "param_groups": [{"lr": 0.1, "nesterov": True, "params": [0, 1]}]}
    value = {
        "epoch": 1,
        "best_fitness": np.array([0.5]),
        "fitness": np.float64(0.5),
        "model": module,
        "ema": None,
        "optimizer": optimizer,
        "opt": argparse.Namespace(save_dir=Path("runs/exp"), lr=0.1),
        "date": datetime.datetime(2024, 1, 1),
        "counts": OrderedDict(a=torch.Size([1, 2])),
    }
    assert _same(read_checkpoint(_saved(tmp_path / "a.pt", value)).tensors, module.state_dict())


def _damaged_files() -> dict[str, tuple[bytes, str]]:
    buffer, legacy, scripted = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(_small().state_dict(), buffer)
    torch.save(_small().state_dict(), legacy, _use_new_zipfile_serialization=False)
    good, old = buffer.getvalue(), legacy.getvalue()
    weights = safetensors.torch.save(_small().state_dict())
    position = good.find(_small().state_dict()["0.weight"].numpy().tobytes())
    flipped = bytearray(good)
    flipped[position] ^= 1
    with zipfile.ZipFile(scripted, "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl", "a/code/__torch__.py"):
            archive.writestr(name, b"N.")
    return {
        "truncated zip": (good[: len(good) // 2], "truncated or damaged"),
        "zip without its last byte": (good[:-1], "truncated or damaged"),
        "flipped bit": (bytes(flipped), "Bad CRC-32"),
        "truncated legacy": (old[:-8], "truncated"),
        "truncated safetensors": (weights[:-4], "truncated or damaged safetensors"),
        "safetensors without a header": (weights[:8] + b"{}" + weights[10:], "safetensors"),
        "empty": (b"", "an empty file"),
        "a web page": (b"<!DOCTYPE html><html>", "neither a torch file nor a safetensors file"),
        "a pickle alone": (b"\x80\x02}q\x00.", "neither a torch file"),
        "another zip": (_zip({"word/document.xml": b"x"}), "it has no data.pkl"),
        "TorchScript": (scripted.getvalue(), "TorchScript"),
        "two pickles": (_zip({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "data.pkl"),
        "a number": (_zip({"a/data.pkl": b"I1\n."}), "holds a int"),
        "nothing": (_zip({"a/data.pkl": b"}."}), "holds no model; entries: none"),
        "another entry": (_zip({"a/data.pkl": b"}S'epoch'\nI1\ns."}), "entries: 'epoch'"),
        "a class that is no module": (
            _zip({"a/data.pkl": b"cmodels.common\nConv\n)\x81."}),
            "models.common.Conv",
        ),
        "unknown byte order": (_zip({"a/data.pkl": b"}.", "a/byteorder": b"middle"}), "byte order b'middle'"),
        "compressed": (
            _zip({"a/data.pkl": b"}." + bytes(10**6)}, zipfile.ZIP_DEFLATED),
            "compressed or encrypted",
        ),
    }


def _zip(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


DAMAGED = _damaged_files()


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_clear_line(damage: str, tmp_path: Path) -> None:
    data, reason = DAMAGED[damage]
    path = tmp_path / "bad.pt"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert message.isprintable()
    assert len(message) < 400


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match="a folder"):
        read_checkpoint(tmp_path)


def test_entries_that_overlap_cannot_declare_more_than_the_file(tmp_path: Path) -> None:
    # The directory of a zip file may point many names at the same bytes.
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"}.")
        archive.writestr("a/data/0", bytes(10_000))
        for number in range(1, 100):
            repeated = copy.copy(archive.getinfo("a/data/0"))
            repeated.filename = repeated.orig_filename = f"a/data/{number}"
            archive.filelist.append(repeated)
    with pytest.raises(CheckpointError, match=r"declare 1,000,002 bytes in a file of"):
        read_checkpoint(path)


def test_repeated_views_of_one_storage_are_rejected(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(4000, 4000)
    with pytest.raises(CheckpointError, match="claim"):
        read_checkpoint(_saved(tmp_path / "a.pt", {str(number): wide for number in range(100)}))


def test_nan_is_named(tmp_path: Path) -> None:
    state = _small().state_dict()
    state["0.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"'0\.weight' holds 1 NaN of 108 values"):
        read_checkpoint(_saved(tmp_path / "a.pt", state))


def test_a_class_of_another_architecture_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("ultralytics.models.sam")
    model = type("Sam", (nn.Module,), {"__module__": "ultralytics.models.sam"})
    module.__dict__["Sam"] = model
    with monkeypatch.context() as patch:
        for name in ("ultralytics", "ultralytics.models"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, "ultralytics.models.sam", module)
        path = _saved(tmp_path / "a.pt", {"model": model()})
    with pytest.raises(CheckpointError, match=r"ultralytics\.models\.sam\.Sam.*edgevision adopt"):
        read_checkpoint(path)


def test_random_damage_raises_nothing_else(tmp_path: Path) -> None:
    generator = random.Random(0)
    sources = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(
            {"model": _small(), "set": {1}, "size": torch.Size([2])},
            buffer,
            _use_new_zipfile_serialization=zipped,
        )
        sources.append(buffer.getvalue())
    path = tmp_path / "a.pt"
    outcomes = {"read": 0, "refused": 0}
    for number in range(300):
        data = bytearray(sources[number % 2])
        # The first kilobytes hold the pickle.
        for _ in range(generator.choice((1, 2, 8))):
            data[generator.randrange(len(data) if number % 3 else 2500)] = generator.randrange(256)
        path.write_bytes(data)
        try:
            read_checkpoint(path)
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
