"""Order, back-pressure, and waking of waiting threads."""

from __future__ import annotations

import threading

import pytest

from edgevision.sources.channel import Channel, ChannelClosed

PATIENCE_S = 5.0


def test_items_are_in_order_and_waiting_items_survive_the_end() -> None:
    channel: Channel[int] = Channel(3)
    assert [channel.put(number) for number in range(3)] == [None, None, None]
    channel.end()
    assert [channel.take(), channel.take(), channel.take()] == [0, 1, 2]
    with pytest.raises(ChannelClosed):
        channel.take()


def test_nothing_in_time_is_none() -> None:
    assert Channel[int](1).get(0.01) is None


def test_a_full_channel_holds_its_producer_back() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    second = threading.Thread(target=channel.put, args=(2,))
    second.start()
    second.join(0.05)
    assert second.is_alive()
    assert channel.take() == 1
    second.join(PATIENCE_S)
    assert not second.is_alive()
    assert channel.take() == 2


def test_newest_displaces_the_oldest_and_never_waits() -> None:
    channel: Channel[str] = Channel(1, newest=True)
    assert channel.put("old") is None
    assert channel.put("new") == "old"
    assert channel.take() == "new"


@pytest.mark.parametrize("side", ["put", "get"])
def test_abort_wakes_a_side_that_waits(side: str) -> None:
    channel: Channel[int] = Channel(1)
    if side == "put":
        channel.put(0)
    woken = threading.Event()

    def wait() -> None:
        try:
            channel.put(1) if side == "put" else channel.get()
        except ChannelClosed:
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    channel.abort()
    thread.join(PATIENCE_S)
    assert woken.is_set()


def test_abort_drops_what_waits() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.abort()
    with pytest.raises(ChannelClosed):
        channel.get()
    with pytest.raises(ChannelClosed):
        channel.put(2)
