"""Words of captions and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from edgevision.datasets.captions import caption_of, random_attributes, random_caption
from edgevision.models.generators.words import LENGTH, UNKNOWN, WORDS, tokenizer_json, tokens_of_texts


def captions() -> list[str]:
    """Captions of every wording."""
    rng = np.random.default_rng(0)
    drawn = [random_attributes(int(rng.integers(10)), rng) for _ in range(400)]
    return [caption_of(one) for one in drawn] + [random_caption(one, rng) for one in drawn]


@pytest.mark.parametrize(
    "texts",
    [[""], ["A Zebra, on... white?!"], ["seven " * 30], ["thick\tseven\n,, 7-8 _ red"], captions()],
    ids=["empty", "unknown words", "too long", "odd spaces", "captions"],
)
def test_numbers_equal_those_of_the_library(texts: list[str]) -> None:
    library = Tokenizer.from_str(tokenizer_json())
    expected = [library.encode(text).ids for text in texts]
    np.testing.assert_array_equal(tokens_of_texts(texts), expected)


def test_every_caption_fits_and_is_known() -> None:
    tokens = tokens_of_texts(captions())
    assert tokens.shape[1] == LENGTH
    assert tokens.max() == len(WORDS) - 1
    assert not (tokens == WORDS.index(UNKNOWN)).any()
    assert (tokens[:, -1] == 0).all()
    assert set(np.unique(tokens)) | {1} == set(range(len(WORDS)))
