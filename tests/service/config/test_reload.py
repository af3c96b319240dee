"""Differences between two configuration files, and reuse of sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.errors import SinkError
from edgevision.service.config.reading import read_deployment
from edgevision.service.config.reload import differences
from edgevision.service.config.settings import Settings, SinkSettings
from edgevision.service.config.wiring import Wiring
from edgevision.sinks.sink import Sink
from tests.doubles import ListSink

BEFORE = """\
[model]
bundle = "model"
[[camera]]
name = "door"
address = "rtsp://me:secret@host/1"
lines.in = [0.5, 0, 0.5, 1]
[[camera]]
name = "yard"
address = "demo:"
[[sink]]
name = "alarm"
address = "https://host/secret1"
secret = "abc"
[[sink]]
name = "all"
address = "all.csv"
"""
AFTER = """\
[model]
bundle = "model"
iou = 0.5
[[camera]]
name = "door"
address = "rtsp://me:other@host/1"
threshold = 0.4
track = true
[[camera]]
name = "gate"
address = "demo:"
[[sink]]
name = "alarm"
address = "https://elsewhere/secret2"
secret = "def"
[page]
"""


def settings_of(file: Path) -> Settings:
    return read_deployment(file, {}).require()


def test_each_change_is_a_line_without_secrets(write_file: Callable[[str], Path]) -> None:
    before = settings_of(write_file(BEFORE))
    after = settings_of(write_file(AFTER))
    assert differences(before, after) == (
        "model: iou: none -> 0.5",
        "camera yard: removed",
        "camera door: address: changed",
        "camera door: threshold: none -> 0.4",
        "camera door: track: false -> true",
        "camera door: lines: in [0.5, 0.0, 0.5, 1.0] -> none",
        "camera gate: added",
        "sink all: removed",
        "sink alarm: address: https://host -> https://elsewhere",
        "sink alarm: secret: changed",
        "page: added",
    )
    assert differences(after, after) == ()
    assert differences(after, replace(after, page=None)) == ("page: removed",)


class Opener:
    """Opens `ListSink`s and remembers them by their addresses."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, ListSink]] = []
        self.refuses = ""

    def __call__(self, sink: SinkSettings, _: Path, __: Mapping[str, str]) -> Sink:
        if sink.address == self.refuses:
            raise SinkError(f"cannot open {sink.address}")
        self.opened.append((sink.address, ListSink()))
        return self.opened[-1][1]


def with_sinks(settings: Settings, *pairs: tuple[str, str]) -> Settings:
    return replace(settings, sinks=tuple(SinkSettings(name, address) for name, address in pairs))


def test_renamed_sinks_are_kept(write_file: Callable[[str], Path]) -> None:
    settings = settings_of(write_file(BEFORE))
    opener = Opener()
    wiring = Wiring(with_sinks(settings, ("a", "a.csv"), ("b", "b.csv")), {}, opener)
    first = dict(wiring.sinks)
    change = wiring.prepare(with_sinks(settings, ("a", "a.csv"), ("renamed", "b.csv"), ("c", "c.csv")))
    assert dict(wiring.sinks) == first
    change.keep()
    assert wiring.sinks["a"] is first["a"]
    assert wiring.sinks["renamed"] is first["b"]
    assert [address for address, _ in opener.opened] == ["a.csv", "b.csv", "c.csv"]
    wiring.close()
    assert [sink.close_count for _, sink in opener.opened] == [1, 1, 1]


def test_a_change_that_is_discarded_closes_only_what_is_new(write_file: Callable[[str], Path]) -> None:
    settings = settings_of(write_file(BEFORE))
    opener = Opener()
    wiring = Wiring(with_sinks(settings, ("a", "a.csv")), {}, opener)
    wiring.prepare(with_sinks(settings, ("a", "a.csv"), ("b", "b.csv"))).discard()
    assert [sink.close_count for _, sink in opener.opened] == [0, 1]
    assert list(wiring.sinks) == ["a"]


def test_where_one_cannot_be_opened_none_is_left_open(write_file: Callable[[str], Path]) -> None:
    settings = settings_of(write_file(BEFORE))
    opener = Opener()
    opener.refuses = "b.csv"
    with pytest.raises(SinkError):
        Wiring(with_sinks(settings, ("a", "a.csv"), ("b", "b.csv")), {}, opener)
    assert [sink.close_count for _, sink in opener.opened] == [1]


def test_the_real_sinks_get_their_options_and_secrets(
    write_file: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("urllib3")
    settings = settings_of(write_file(BEFORE))
    wiring = Wiring(settings, {})
    assert [sink.public_name for sink in wiring.sinks.values()] == ["https://host", str(tmp_path / "all.csv")]
    wiring.close()
