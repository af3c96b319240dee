"""Texts to the tokens that a model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edgevision.contract.spec import ModelSpec
from edgevision.errors import BundleError, UsageError, first_line


class TextTokens:
    """The tokenizers of a bundle, each with the length of the model's input."""

    def __init__(self, spec: ModelSpec, files: tuple[Path, ...]) -> None:
        given = spec.tensors.of_kind("tokens")
        if given is None:
            raise UsageError(f"{spec.name} takes no text; omit it")
        if not files:
            raise UsageError(
                f"{spec.name} takes tokens, but its tokenizer is not here; pass the bundle, not its .onnx file"
            )
        self._shape = given.shape
        try:
            self._tokenizers = [Tokenizer.from_str(file.read_text(encoding="utf-8")) for file in files]
        except Exception as error:  # the library raises bare exceptions
            raise BundleError(
                f"a tokenizer of {spec.name} cannot be read: {first_line(error)}; export the bundle again"
            ) from error

    def __call__(self, text: str) -> npt.NDArray[np.int32]:
        """Numbers int32 of the shape of one row of the input; a long text is cut."""
        rows = [tokenizer.encode(text).ids for tokenizer in self._tokenizers]
        return np.array(rows, np.int32).reshape(self._shape)

    def cut(self, text: str) -> str | None:
        """The end of the text that does not fit; None if all does."""
        encoded = self._tokenizers[0].encode(text)
        if not encoded.overflowing:
            return None
        end = max(end for _, end in encoded.offsets)
        return text[end:].strip() or None
