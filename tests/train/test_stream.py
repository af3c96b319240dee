"""The order of batches depends only on the seed, wherever a run starts."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.train.data.stream import BatchStream

Drawn = tuple[tuple[int, ...], tuple[float, ...], int]


def draw(indices: list[int], generators: list[np.random.Generator], share: float) -> Drawn:
    return tuple(indices), tuple(rng.random() for rng in generators), int(share)


def stream(*, seed: int = 5, rank: int = 0, world: int = 1) -> BatchStream[Drawn]:
    return BatchStream(11, 4, draw, seed=seed, rank=rank, world=world)


def test_an_epoch_has_full_batches_of_different_images() -> None:
    batches = list(stream())
    assert len(batches) == len(stream()) == 2
    seen = [index for indices, _, _ in batches for index in indices]
    assert len(set(seen)) == 8


def test_epochs_differ_and_seeds_differ() -> None:
    one = stream()
    first, second = list(one), list(one)
    assert first != second
    assert first != list(stream(seed=6))
    assert [step for _, _, step in first + second] == [0, 1, 2, 3]


@pytest.mark.parametrize("step", range(5))
def test_a_stream_continues_identically_after_a_seek(step: int) -> None:
    whole = stream()
    everything = [batch for _ in range(3) for batch in whole]
    late = stream()
    late.seek(step)
    rest = list(late)
    while len(rest) < len(everything) - step:
        rest += list(late)
    assert rest == everything[step:]


def test_a_consumer_that_counts_instead_of_exhausting_sees_the_next_epoch() -> None:
    """Lightning takes `len` batches and asks for a new iterator."""
    one, whole = stream(), stream()
    expected = [batch for _ in range(2) for batch in whole]
    got = []
    for _ in range(2):
        iterator = iter(one)
        got += [next(iterator) for _ in range(len(one))]
    assert got == expected


def test_processes_share_each_batch() -> None:
    whole = list(stream())
    parts = [list(stream(rank=rank, world=2)) for rank in range(2)]
    for place, (indices, numbers, _) in enumerate(whole):
        assert indices[0::2] == parts[0][place][0]
        assert indices[1::2] == parts[1][place][0]
        assert numbers[1::2] == parts[1][place][1]


def test_a_batch_that_cannot_be_shared() -> None:
    with pytest.raises(UsageError, match="batch 4 cannot be shared by 3"):
        stream(world=3)


def test_an_error_in_drawing_reaches_the_consumer() -> None:
    def fail(indices: list[int], generators: list[np.random.Generator], share: float) -> Drawn:
        raise ValueError("broken picture")

    with pytest.raises(ValueError, match="broken picture"):
        list(BatchStream(4, 2, fail, seed=0))
