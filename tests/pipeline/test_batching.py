"""The batch size that is measured to be best."""

from __future__ import annotations

import time

from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames
from edgevision.contract.spec import BatchRange
from edgevision.pipeline.batching import BatchChoice, measure_batch
from tests.doubles import BrightnessSession, detector


class Costly(BrightnessSession):
    """A call takes `fixed_s`, and `each_s` for each of its frames."""

    def __init__(self, batch: BatchRange, fixed_s: float, each_s: float) -> None:
        super().__init__(detector(batch))
        self.fixed_s, self.each_s = fixed_s, each_s

    def _infer(self, frames: Frames) -> Outputs:
        time.sleep(self.fixed_s + self.each_s * len(frames))
        return super()._infer(frames)


def test_where_a_call_costs_the_same_for_any_size_the_largest_is_best() -> None:
    assert measure_batch(Costly(BatchRange(1, 4, 8), 0.01, 0.0), 8).rows == 8


def test_a_batch_without_gain_has_one_frame() -> None:
    for _ in range(3):  # a loaded machine can slow one size in one measurement
        choice = measure_batch(Costly(BatchRange(1, 4, 8), 0.0, 0.01), 8)
        if choice.rows == 1:
            break
    assert choice.rows == 1
    assert [rows for rows, _ in choice.frames_per_s] == [1, 2, 4, 8]
    assert str(choice).startswith("batch 1 (frames/s by size: 1: ")


def test_no_more_than_there_are_sources_and_the_graph_takes() -> None:
    free = Costly(BatchRange(1, 4, 8), 0.005, 0.0)
    assert measure_batch(free, 3).rows == 3
    assert measure_batch(Costly(BatchRange(1, 2, 2), 0.005, 0.0), 9).rows == 2


def test_without_a_choice_nothing_is_run() -> None:
    for batch, sources in ((BatchRange(1, 1, 1), 8), (BatchRange(4, 4, 4), 2), (BatchRange(1, 4, 8), 1)):
        session = BrightnessSession(detector(batch))
        assert measure_batch(session, sources) == BatchChoice(batch.min)
        assert session.batches == []
