"""A diffusion network whose condition is a text: the words of a caption instead of a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.words import LENGTH, PADDING, WORDS

NO_TEXT = WORDS.index(PADDING)
"""Every token of an empty text."""
_WIDTH = 64
_NEIGHBOURS = 2
"""Words on each side that give a word its meaning, such as "on" before the colour of the paper."""


class PhraseEncoder(nn.Module):
    """Tokens int64 ``[B,LENGTH]`` to vectors ``[B,width]``: the mean over words of each with its neighbours."""

    def __init__(self, width: int, words: int = len(WORDS)) -> None:
        super().__init__()
        self.words = nn.Embedding(words, _WIDTH)
        self.places = nn.Parameter(torch.randn(LENGTH, _WIDTH) * 0.1)
        self.near = nn.Conv2d(_WIDTH, 2 * _WIDTH, (1, 2 * _NEIGHBOURS + 1), padding=(0, _NEIGHBOURS))
        self.output = nn.Linear(2 * _WIDTH, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens to vectors; an empty text has the vector of the output layer's bias."""
        stated = (tokens != NO_TEXT).float()[:, None, None]
        known = (self.words(tokens) + self.places).transpose(1, 2)[:, :, None] * stated
        found = (F.silu(self.near(known)) * stated).sum((2, 3)) / stated.sum((2, 3)).clamp(min=1)
        out: torch.Tensor = self.output(found)
        return out


class TextDenoiser(Denoiser):
    """A `Denoiser` that takes tokens int64 ``[B,LENGTH]`` as labels; an empty text stands for none."""

    def __init__(
        self, channels: int = 3, width: int = 48, size: int = 28, given: int = 0, words: int = len(WORDS)
    ) -> None:
        super().__init__(channels, 1, width, "flow", size, given)
        self.embedding.label = PhraseEncoder(2 * width, words)  # type: ignore[assignment]  # in place of the table
        self.classes, self.word_count = NO_TEXT, words
