"""Tokens of captions: one number for each word, the same as those of the `tokenizers` file that a bundle holds."""

from __future__ import annotations

import json
import re

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN = "[pad]", "[unk]"
WORDS = (
    *(PADDING, UNKNOWN, ","),
    *("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("thin", "fine", "medium", "thick", "bold"),
    *("slanted", "leaning", "left", "right", "upright", "straight"),
    *("black", "white", "red", "green", "blue", "yellow"),
    *("a", "the", "digit", "handwritten", "in", "on", "ink", "paper", "background"),
)
"""A word's place is its number; weights depend on this order."""
LENGTH = 16
"""Tokens of a text: shorter ones are padded, longer ones cut."""

_NUMBERS = {word: place for place, word in enumerate(WORDS)}
_PIECE = re.compile(r"\w+|[^\w\s]+")


def tokens_of_texts(texts: list[str]) -> npt.NDArray[np.int32]:
    """Numbers int32 ``[N,LENGTH]``."""
    found = np.full((len(texts), LENGTH), _NUMBERS[PADDING], np.int32)
    for row, text in zip(found, texts, strict=True):
        numbers = [_NUMBERS.get(word, _NUMBERS[UNKNOWN]) for word in _PIECE.findall(text.lower())][:LENGTH]
        row[: len(numbers)] = numbers
    return found


def tokenizer_json() -> str:
    """The same tokenizer in the format of the library tokenizers."""
    content: dict[str, object] = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": LENGTH, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": LENGTH},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": _NUMBERS[PADDING],
            "pad_type_id": 0,
            "pad_token": PADDING,
        },
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": _NUMBERS, "unk_token": UNKNOWN},
    }
    return json.dumps(content, indent=1) + "\n"
