"""Detection of frozen and black frames without false alarms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.errors import UsageError
from edgevision.sources.freeze import FreezeDetector, FreezeOptions

Thumbnail = npt.NDArray[np.uint8]
RANDOM = np.random.default_rng(5)
SCENE = RANDOM.integers(40, 200, (90, 160)).astype(np.uint8)
OPTIONS = FreezeOptions(freeze_after_s=2.0)


def noisy(scene: Thumbnail, sigma: float) -> Thumbnail:
    return np.clip(np.rint(scene + RANDOM.normal(0, sigma, scene.shape)), 0, 255).astype(np.uint8)


def verdicts(pictures: list[Thumbnail], options: FreezeOptions = OPTIONS, fps: float = 2.0) -> list[str]:
    watch = FreezeDetector(options)
    return [watch.look(picture, number / fps) for number, picture in enumerate(pictures)]


def test_a_repeated_image_is_frozen_after_the_limit_until_the_next_one() -> None:
    found = verdicts([SCENE] * 7 + [SCENE[::-1]] * 2)
    assert found == ["good"] * 4 + ["frozen"] * 3 + ["good"] * 2


def test_an_encoders_ripple_does_not_count_as_change() -> None:
    ripple = [
        SCENE + (number % 2) * (RANDOM.random(SCENE.shape) < 0.3).astype(np.uint8) for number in range(8)
    ]
    assert verdicts(ripple)[4:] == ["frozen"] * 4


@pytest.mark.parametrize("sigma", [0.7, 1.0, 3.0])
def test_a_static_scene_with_a_sensors_noise_is_not_frozen(sigma: float) -> None:
    assert set(verdicts([noisy(SCENE, sigma) for _ in range(12)])) == {"good"}


def test_a_single_point_that_moves_is_a_change() -> None:
    pictures = []
    for number in range(12):
        picture = SCENE.copy()
        picture[40, 10 * number] ^= 128
        pictures.append(picture)
    assert set(verdicts(pictures)) == {"good"}


def test_dusk_is_a_change() -> None:
    pictures = [(SCENE.astype(np.float32) * (1 - 0.004 * n)).astype(np.uint8) for n in range(20)]
    assert set(verdicts(pictures)) == {"good"}


def test_a_static_scene_without_noise_counts_as_frozen_unless_disabled() -> None:
    assert verdicts([SCENE] * 9)[-1] == "frozen"
    assert set(verdicts([SCENE] * 9, FreezeOptions(freeze_after_s=None))) == {"good"}


def test_zero_withholds_each_repeat() -> None:
    assert verdicts([SCENE, SCENE, SCENE[::-1]], FreezeOptions(freeze_after_s=0)) == [
        "good",
        "frozen",
        "good",
    ]


@pytest.mark.parametrize(
    ("level", "lit", "expected"),
    [(0, 0, "black"), (16, 0, "black"), (20, 60, "black"), (21, 0, "good"), (0, 100, "good")],
    ids=["none", "limited range", "a few points", "grey", "a lamp"],
)
def test_black_is_dark_without_a_lamp(level: int, lit: int, expected: str) -> None:
    picture = np.full((90, 160), level, np.uint8)
    picture.reshape(-1)[:lit] = 200
    assert verdicts([picture]) == [expected]
    assert verdicts([picture], FreezeOptions(black_level=None)) == ["good"]


def test_a_black_frame_restarts_the_still_period() -> None:
    black = np.zeros_like(SCENE)
    found = verdicts([SCENE] * 5 + [black] + [SCENE] * 5)
    assert found == ["good"] * 4 + ["frozen", "black"] + ["good"] * 4 + ["frozen"]


def test_another_size_counts_as_change() -> None:
    assert verdicts([SCENE, SCENE[:45]], FreezeOptions(freeze_after_s=0)) == ["good", "good"]


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(UsageError, match="freeze_after_s is -1; expected seconds"):
        FreezeOptions(freeze_after_s=-1)
