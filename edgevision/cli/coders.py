"""Opening of an autoencoder by the commands that encode and decode."""

from __future__ import annotations

from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import coder_openers
from edgevision.errors import UsageError
from edgevision.inference.coding import Autoencoder


def open_autoencoder(path: Path, engine: str | None, options: SessionOptions) -> Autoencoder:
    """The encoder and decoder of a bundle; raises `BundleError`, and `UsageError` for a model without them."""
    if path.suffix == ".onnx":
        raise UsageError(f"{path} is one graph; pass the bundle, which holds encoder and decoder")
    bundle = Bundle.open(path)
    if bundle.spec.task == "part":
        raise UsageError(f"{bundle.spec.name} is one graph of several; pass the bundle that contains it")
    return Autoencoder(bundle.spec, coder_openers(bundle, engine, options))
