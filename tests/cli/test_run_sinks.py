"""`edgevision run` with sinks whose server responds, hangs, or is absent."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.cli.commands.run import command
from edgevision.errors import SinkError
from edgevision.sources.opening import open_source
from tests.sinks.broker import Listener, MosquittoBroker, free_port
from tests.sinks.conftest import no_thread_is_left_behind
from tests.sinks.results import wait_until

__all__ = ["no_thread_is_left_behind"]
"""A fixture for these tests too."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_live_run_continues_while_all_sinks_fail(brightness_bundle: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hook = f"http://127.0.0.1:{mute.getsockname()[1]}"
        broker = f"mqtt://127.0.0.1:{free_port()}/cams"
        outputs = ("--jsonl", "/dev/full", "--mqtt", broker, "--webhook", hook, "--webhook-results")
        good = tmp_path / "out.csv"
        done = run(
            brightness_bundle, "yard=demo:64x48@60", "--threshold", 0, "--limit", 30, *outputs, "--csv", good
        )
    assert done.exit_code == 0, done.output
    for name, message in (
        ("/dev/full", r"0 results written, 30 lost (cannot write /dev/full: No space left on device"),
        (broker, "0 results written, 30 lost ("),
        (hook, "0 results written, 30 lost"),
        (good, "30 results written"),
    ):
        assert f"{name}: {message}" in done.output
    with good.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {"yard"}
    assert len({row["frame"] for row in rows}) == 30


def test_a_file_s_run_ends_if_an_image_cannot_be_kept(brightness_bundle: Path, tmp_path: Path) -> None:
    clip = tmp_path / "in.mp4"
    with MosquittoBroker(tmp_path, "allow_anonymous true") as broker:
        address = f"mqtt://127.0.0.1:{broker.port}"
        made = run(brightness_bundle, "demo:64x48@60", "--limit", 20, "-o", clip)
        assert made.exit_code == 0, made.output
        with open_source(clip) as source:
            count = len(list(source))
        with Listener(broker.port, "+/+/detections") as listener:
            done = run(brightness_bundle, clip, "--threshold", 0, "--mqtt", address)
            assert done.exit_code == 0, done.output
            assert wait_until(lambda: len(listener.heard) >= count), "a file's run waits and loses nothing"
        frames = [json.loads(payload)["frame"] for _, payload, *_ in listener.heard]
    assert frames == list(range(count))
    if Path("/dev/full").exists():
        failed = run(brightness_bundle, clip, "--jsonl", "/dev/full")
        assert isinstance(failed.exception, SinkError)
