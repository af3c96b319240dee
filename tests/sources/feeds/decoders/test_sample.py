"""The doctor's probe: an encoded sample, and what it says without hardware."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgevision.sources.feeds.decoders import sample
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate
from edgevision.sources.feeds.decoders.decoder import PyAvDecoder
from edgevision.sources.feeds.decoders.probe import UNITS


def test_a_machine_without_hardware(use: Callable[..., None]) -> None:
    use()
    choice = sample.probe_sample()
    assert choice.candidate is None
    assert choice.reason == "software: this machine has no hardware decoder that edgevision uses"


def test_a_missing_pyav_is_named(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(DecoderCandidate("cuda", accelerator="cuda"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert sample.probe_sample().reason.endswith("pip install 'edgevision[rtsp]'")


def test_the_sample_is_decoded_and_probed(use: Callable[..., None]) -> None:
    kind, units = sample._sample((320, 192))
    assert (str(kind), len(units), units[0].key) == ("h264 320x192", UNITS, True)
    decoder = PyAvDecoder(kind)
    assert sum(len(decoder.decode(unit)) for unit in units) + len(decoder.finish()) == UNITS
    use(DecoderCandidate("stand-in", "openh264dec"))
    assert sample.probe_sample((320, 192)).reason.startswith(
        "h264 320x192 is decoded in software; stand-in: "
    )
