"""Reads untrusted checkpoints, safetensors and torch files, as named tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import torch

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.torch_file import LEGACY_MAGIC, ZIP_MAGIC, read_torch_legacy, read_torch_zip
from edgevision.errors import CheckpointError
from edgevision.storage.sha256 import sha256_of_file

Kind = Literal["state dict", "module"]

_MODEL_ENTRIES = (
    *("ema", "model_ema", "state_dict_ema", "ema_state_dict", "params_ema"),
    *(
        "model",
        "state_dict",
        "model_state_dict",
        "model_state",
        "net",
        "network",
        "module",
        "weights",
        "params",
    ),
)
"""Entries under which trainers store the model; averaged weights first, because evaluation uses them."""

_CLASS_ENTRIES = ("names", "classes", "class_names")
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile add to every name."""

_AVERAGED = "n_averaged"
"""Counter that torch.optim.swa_utils.AveragedModel stores beside the wrapped names."""

_MODULE_LIMIT = 20_000
_DEPTH_LIMIT = 100
_SHARING_LIMIT = 4
"""Maximum ratio of a state dict's elements to its stored bytes; more is a memory bomb, not a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The parts of a checkpoint file that a model needs.

    `tensors` are the model's parameters and buffers by dotted name, floating-point ones in float32. `module` is the
    stand-in of the pickled model if the file holds a whole one. `entry` is the model's place in the file ("ema",
    "state_dict", ... or "" for the file itself). `class_names` are those stored beside or in the model, or empty.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, torch.Tensor]
    module: PickledObject | None = None
    entry: str = ""
    class_names: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The file describes its architecture ("module") or only contains weights ("state dict")."""
        return "state dict" if self.module is None else "module"


def read_run(path: Path) -> Checkpoint:
    """`read_checkpoint` of a run folder's best weights, or of the file itself."""
    return read_checkpoint(path / "best.safetensors" if path.is_dir() else path)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a ``.safetensors``, ``.pt`` or ``.pth`` file, detected by its content.

    Nothing in the file is executed or imported. Raises `UnsafeCheckpointError` for a pickle that names a global outside
    the allow-list, and `CheckpointError` for any other failure. Messages begin with the path.
    """
    path = Path(path)
    try:
        return _read(path)
    except CheckpointError as error:
        # The same class, so that an unsafe file stays distinct from a damaged one.
        raise type(error)(f"{path}: {error}") from error
    except (OSError, RuntimeError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{path}: cannot be read: {str(error)[:200]}") from error


def _read(path: Path) -> Checkpoint:
    if not path.exists():
        raise CheckpointError("no such file")
    if not path.is_file():
        raise CheckpointError("a folder; expected a .safetensors, .pt or .pth file")
    with path.open("rb") as file:
        head = file.read(32)
    if not head:
        raise CheckpointError("an empty file")
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 1 << 32:
        return _from_safetensors(path)
    if head.startswith(ZIP_MAGIC):
        root = read_torch_zip(path)
    elif head.startswith(LEGACY_MAGIC):
        root = read_torch_legacy(path)
    else:
        raise CheckpointError(
            f"neither a torch file nor a safetensors file: it begins with {head[:8]!r}; if it was downloaded,"
            " compare its size"
        )
    return _from_pickle(path, root)


def _from_safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"truncated or damaged safetensors file: {error}") from error
    names = next((metadata[entry] for entry in _CLASS_ENTRIES if entry in metadata), "null")
    try:
        class_names = _class_names(json.loads(names))
    except ValueError:
        class_names = ()
    return Checkpoint(path, sha256_of_file(path), _finished(tensors), class_names=class_names)


def _from_pickle(path: Path, root: object) -> Checkpoint:
    entry, model = _find_model(root)
    beside = root if isinstance(root, dict) else {}
    names = next((beside[name] for name in _CLASS_ENTRIES if name in beside), None)
    if isinstance(model, PickledObject):
        tensors = state_dict_from_module(model)
        names = names if names is not None else model.state.get("names")
    else:
        tensors = _finished(model)
    return Checkpoint(
        path,
        sha256_of_file(path),
        tensors,
        model if isinstance(model, PickledObject) else None,
        entry,
        _class_names(names),
    )


def _find_model(root: object) -> tuple[str, PickledObject | dict[str, torch.Tensor]]:
    """The model in a file's content, and the name of its entry."""
    if isinstance(root, PickledObject) and "_modules" in root.state:
        return "", root
    if not isinstance(root, dict):
        described = root.class_name if isinstance(root, PickledObject) else type(root).__name__
        raise CheckpointError(f"holds a {described}, expected a model or a state dict")
    for entry in _MODEL_ENTRIES:
        value = root.get(entry)
        if isinstance(value, PickledObject) and "_modules" in value.state:
            return entry, value
        if isinstance(value, dict) and (found := _tensors_of(value)):
            return entry, found
    if found := _tensors_of(root):
        return "", found
    entries = ", ".join(ascii(str(key)[:40]) for key in list(root)[:12])
    raise CheckpointError(
        f"holds no model; entries: {entries or 'none'}; expected one of {', '.join(_MODEL_ENTRIES)}"
    )


def _tensors_of(values: Mapping[object, object]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict without wrapper prefixes; empty if none has two or more dimensions.

    Other values, such as an epoch, are skipped.
    """
    found = {
        key: value
        for key, value in values.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    if any(name.startswith(_WRAPPERS) for name in found):
        found.pop(_AVERAGED, None)
    for wrapper in _WRAPPERS * 2:
        if found and all(name.startswith(wrapper) for name in found):
            found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
    return found if any(tensor.ndim > 1 for tensor in found.values()) else {}


def state_dict_from_module(module: PickledObject) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers of a pickled module by dotted name, floating-point ones in float32.

    Raises `CheckpointError` for anything but a tree of modules of plausible depth and size, and for NaN.
    """
    tensors: dict[str, torch.Tensor] = {}
    for prefix, part in _walk(module):
        transient = part.state.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            for name, tensor in named_entries(part, group):
                skipped = group == "_buffers" and isinstance(transient, set) and name in transient
                if isinstance(tensor, torch.Tensor) and not skipped:
                    tensors[f"{prefix}{name}"] = tensor
    return _finished(tensors)


def named_entries(module: PickledObject, group: str) -> list[tuple[str, object]]:
    """A module's ``_modules``, ``_parameters`` or ``_buffers`` in order; raises `CheckpointError`."""
    values = module.state.get(group, {})
    if not isinstance(values, dict) or not all(isinstance(name, str) and len(name) <= 200 for name in values):
        raise CheckpointError(f"{module.class_name}: {group} is not a dict of names")
    return list(values.items())


def _walk(root: PickledObject) -> Iterator[tuple[str, PickledObject]]:
    """Modules depth first with their dotted prefix; bounded, as a file may nest or share them endlessly."""
    pending: list[tuple[str, int, PickledObject]] = [("", 0, root)]
    seen = 0
    while pending:
        prefix, depth, module = pending.pop()
        seen += 1
        yield prefix, module
        children = [
            (f"{prefix}{name}.", depth + 1, child)
            for name, child in named_entries(module, "_modules")
            if isinstance(child, PickledObject)
        ]
        pending.extend(reversed(children))
        if seen + len(pending) > _MODULE_LIMIT or depth > _DEPTH_LIMIT:
            raise CheckpointError(
                f"modules nested deeper than {_DEPTH_LIMIT}, or more than {_MODULE_LIMIT:,} of them"
            )


def _finished(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating-point tensors in float32; raises `CheckpointError` for a memory bomb and for NaN."""
    elements = sum(tensor.numel() for tensor in tensors.values())
    storages = [tensor.untyped_storage() for tensor in tensors.values()]
    stored = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    if elements > _SHARING_LIMIT * stored:
        raise CheckpointError(f"its tensors claim {elements:,} elements of {stored:,} stored bytes")
    finished = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    for name, tensor in finished.items():
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            count = int(tensor.isnan().sum())
            raise CheckpointError(
                f"{name[:120]!a} holds {count:,} NaN of {tensor.numel():,} values: training diverged"
            )
    return finished


def _class_names(value: object) -> tuple[str, ...]:
    """Class names from a list, or from a dict by class number; empty for anything else."""
    if isinstance(value, dict) and value and all(type(key) is int for key in value):
        value = [value[key] for key in sorted(value)] if sorted(value) == list(range(len(value))) else None
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    return ()


__all__ = ["Checkpoint", "named_entries", "read_checkpoint", "state_dict_from_module"]
