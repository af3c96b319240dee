"""Eight threads on one session: 80000 outputs, each bit-identical to that of a single thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.street import export_street
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, SessionOptions
from edgevision.engines.opening import open_session

THREADS = 8
CALLS = 10_000
QUESTIONS = 16


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real detector with its suppression, of 32x32 pixels."""
    options = ("--pre-nms-topk", "32", "--max-detections", "16")
    return export_street(tmp_path_factory.mktemp("street"), size="32x32", batch="1", options=options)


def questions() -> list[Frames]:
    chance = np.random.default_rng(7)
    return [chance.integers(0, 256, (1, 32, 32, 3), np.uint8) for _ in range(QUESTIONS)]


def equal(one: Outputs, other: Outputs) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("onnxruntime", marks=pytest.mark.exhaustive),
        pytest.param("openvino", marks=pytest.mark.slow),
    ],
)
def test_outputs_of_many_threads_equal_those_of_one(bundle: Path, engine: str) -> None:
    frames = questions()
    with open_session(bundle, engine=engine, options=SessionOptions(threads=1)) as session:
        alone = [session.infer(batch) for batch in frames]
        assert len({outputs[1].tobytes() for outputs in alone}) == QUESTIONS, "the outputs must differ"
        begin = threading.Barrier(THREADS)

        def ask(thread: int) -> int:
            begin.wait()
            wrong = 0
            for call in range(CALLS):
                number = (7 * call + thread) % QUESTIONS
                wrong += not equal(session.infer(frames[number]), alone[number])
            return wrong

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(ask, range(THREADS))) == [0] * THREADS
