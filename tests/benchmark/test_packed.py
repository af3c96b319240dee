"""Compressed samples: exact, small, and checked when they are read."""

from __future__ import annotations

import base64
import random
import zlib
from dataclasses import replace

import pytest

from edgevision.benchmark.packed import PackedSamples

THREE = PackedSamples.of([1, 256, 2**40])


def test_the_bytes_are_as_documented() -> None:
    raw = zlib.decompress(base64.b64decode(THREE.data))
    assert raw.hex() == "010000000000000000010000000000000000000000010000"
    assert (THREE.count, THREE.encoding, THREE.unit) == (3, "int64-le zlib base64", "ns")


def test_samples_return_exactly_and_take_less_than_as_text() -> None:
    coin = random.Random(0)
    values = [round(coin.gauss(8e6, 4e5)) for _ in range(2000)]
    packed = PackedSamples.of(values)
    assert list(packed.values_ns()) == values
    assert len(packed.data) < 0.7 * len(",".join(map(str, values)))
    assert PackedSamples.of([]).values_ns() == ()


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (replace(THREE, data="no base64!"), "damaged samples"),
        (replace(THREE, data=base64.b64encode(b"no zlib").decode()), "damaged samples"),
        (replace(THREE, data=THREE.data[:8]), "damaged samples"),
        (replace(THREE, count=2), "expected 16 bytes, found 17"),
        (replace(THREE, count=4), "expected 32 bytes, found 24"),
        (replace(THREE, count=-1), "cannot hold -1 samples"),
        (replace(THREE, count=10**12), "cannot hold"),
    ],
)
def test_damage_is_an_error(damaged: PackedSamples, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        damaged.values_ns()


def test_a_small_file_does_not_fill_the_memory() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(10_000_000), 9)).decode()
    with pytest.raises(ValueError, match="expected 800 bytes, found 801"):
        PackedSamples(100, bomb).values_ns()
