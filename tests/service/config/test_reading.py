"""Configuration files with mistakes, and their error messages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.analytics.places import PlaceText
from edgevision.errors import UsageError
from edgevision.service.config.reading import read_deployment

WriteFile = Callable[[str], Path]

MODEL = '[model]\nbundle = "model"\n'
CAMERA = '[[camera]]\nname = "door"\naddress = "demo:"\n'
WHOLE = MODEL + CAMERA
WITH_MISTAKES = """\
[model]
bundel = "model"
precision = "int9"
iou = 1.0
[budgets]
batch = 0
max_age_ms = -3
batch_timeout_ms = nan
[[camera]]
name = "door"
adress = "demo:"
threshold = 2
track = "yes"
only = [
  "lamp",
  7,
]
lines.a = [0.5, 0.1, 0.5]
zones = { q = [0, 0, 1, 1, 1, 0, 0, 1] }
sinks = ["al"]
[[camera]]
name = " "
address = "demo:"
min_area = 0.5
max_area = 0.4
[[sink]]
name = "all"
address = "found.txt"
keep = 5
[page]
port = true
[wachdog]
"""


def mistakes_of(file: Path, environment: dict[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in read_deployment(file, environment or {}).problems]


def warned(file: Path, environment: dict[str, str]) -> list[str]:
    return [str(warning) for warning in read_deployment(file, environment).warnings]


def only(file: Path, environment: dict[str, str] | None = None) -> str:
    (text,) = mistakes_of(file, environment)
    return text


def test_a_small_file_is_enough(write_file: WriteFile, tmp_path: Path) -> None:
    reading = read_deployment(write_file(WHOLE), {})
    assert (reading.problems, reading.warnings) == ((), ())
    settings = reading.require()
    (camera,) = settings.cameras
    assert (camera.name, camera.address, camera.threshold, camera.sinks) == ("door", "demo:", None, ())
    assert settings.path(settings.model.bundle) == tmp_path / "model"
    assert (settings.page, settings.sinks, settings.budgets.batch) == (None, (), "auto")


def test_all_mistakes_are_reported_with_their_lines(write_file: WriteFile) -> None:
    file = write_file(WITH_MISTAKES)
    assert mistakes_of(file) == [
        'cameras.toml:2: model.bundel: unknown key; did you mean "bundle"?',
        'cameras.toml:3: model.precision: expected "float" or "fp16" or "int8" or "fp8" or "bf16" or "tf32"; received'
        ' "int9"; did you mean "int8"?',
        "cameras.toml:4: model.iou: expected a number above 0 and below 1; received 1.0",
        'cameras.toml:6: budgets.batch: expected "auto" or a whole number from 1 to 1024; received 0',
        "cameras.toml:7: budgets.max_age_ms: expected a number above 0; received -3",
        "cameras.toml:8: budgets.batch_timeout_ms: expected a number from 0 to 1000; received nan",
        'cameras.toml:11: camera[0].adress: unknown key; did you mean "address"?',
        "cameras.toml:12: camera[0].threshold: expected a number from 0 to 1; received 2",
        'cameras.toml:13: camera[0].track: expected true or false; received "yes"',
        "cameras.toml:16: camera[0].only[1]: expected a text; received 7",
        "cameras.toml:18: camera[0].lines.a: expected two points, as x1, y1, x2, y2; received 3 numbers",
        "cameras.toml:19: camera[0].zones.q: the sides of zone 'q' cross, or it has no area; expected its"
        " corners in order around it",
        'cameras.toml:20: camera[0].sinks[0]: there is no sink "al"; did you mean "all"?',
        "cameras.toml:22: camera[1].name: expected a name of up to 64 letters, digits, spaces and . _ -, not starting"
        ' with a space; received " "',
        "cameras.toml:24: camera[1].min_area: is 0.5; expected at most max_area, 0.4",
        "cameras.toml:28: sink[0].address: is not the address of a sink; expected FILE.jsonl, FILE.csv,"
        " mqtt://HOST/PREFIX, mqtts://, http://, https:// or events:FOLDER",
        "cameras.toml:31: page.port: expected a whole number from 0 to 65535; received true",
        'cameras.toml:32: wachdog: unknown key; did you mean "watchdog"?',
    ]


def test_the_error_holds_every_line(write_file: WriteFile) -> None:
    file = write_file(MODEL)
    with pytest.raises(UsageError) as caught:
        read_deployment(file, {}).require()
    assert str(caught.value) == (
        f"{file} has a mistake:\ncameras.toml:1: there is no [[camera]]; expected one for each camera"
    )
    with pytest.raises(UsageError, match="has 2 mistakes:\n"):
        read_deployment(write_file(""), {}).require()


def test_a_file_that_is_not_toml_or_not_there_is_one_error(write_file: WriteFile, tmp_path: Path) -> None:
    assert only(write_file("a = 1\nb = \n")).startswith("cameras.toml:2: Invalid value")
    with pytest.raises(UsageError, match="cannot read .*nowhere.toml: No such file"):
        read_deployment(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL + "[camera]\nname = 'x'\n", "3: camera: expected [[camera]] above the keys of each"),
        ("camera = [3]\n" + MODEL, "1: camera: expected [[camera]] above the keys of each"),
        (
            "camera = []\n" + MODEL,
            "1: camera: there is no camera; expected [[camera]] above the keys of each",
        ),
        (CAMERA + "[[model]]\nbundle = 'x'\n", "4: model: expected [model] above its keys, once"),
        (WHOLE + CAMERA, '7: camera[1].name: "door" is already used in line 4; expected different names'),
        (
            WHOLE + "lines = 3\n",
            "6: camera[0].lines: expected a table of NAME = [x1, y1, x2, y2]; received 3",
        ),
        (WHOLE + "lines.a = 3\n", "6: camera[0].lines.a: expected an array of numbers: two points"),
        (WHOLE + 'lines.a = [1, 2, 3,\n "4"]\n', "7: camera[0].lines.a[3]: expected pixels of the frame"),
        (WHOLE + "lines.a = [1, 2, 3, -4]\n", "received -4"),
        (WHOLE + "lines.a = [0.5, 0.5, 0.5, 0.5]\n", "expected two different points"),
        (WHOLE + 'zones."" = [1, 2, 3, 4, 5, 6]\n', '6: camera[0].zones."": "" is not a name'),
        (WHOLE + "zones.a = [1, 2, 3, 4]\n", "expected 3 corners or more"),
        (
            WHOLE + 'only = ["lamb"]\n',
            '6: camera[0].only[0]: the model has no class "lamb"; did you mean "lamp"?',
        ),
        (WHOLE + 'only = ["x"]\n', 'has no class "x"; expected one of: lamp'),
        (WHOLE + 'only = ["lamp", "lamp"]\n', '6: camera[0].only[1]: "lamp" is repeated'),
        (WHOLE + "sinks = ['all']\n", '"all"; expected one of: none'),
        (WHOLE + "transport = 'tpc'\n", 'expected "tcp" or "udp"; received "tpc"; did you mean "tcp"?'),
        (
            MODEL + "build = true\n" + CAMERA,
            '3: model.build: is not possible for this engine; expected engine = "tensorrt" or "tensorrt-rtx"',
        ),
        (MODEL + "precision = 'int8'\n" + CAMERA, "3: model.precision: "),
        (
            MODEL + "device = 'gpu'\n" + CAMERA,
            "3: model.device: expected cpu, cuda, cuda:N or dla:N; received",
        ),
        (
            MODEL + "device = 'dla:77'\n" + CAMERA,
            "3: model.device: this machine has no device dla:77; it has: cpu",
        ),
        (CAMERA + "[model]\nbundle = 'gone'\n", "5: model.bundle: no bundle at "),
        (
            WHOLE + "[page]\nhost = '0.0.0.0'\n",
            "7: page.host: makes the page reachable from other machines",
        ),
        (WHOLE + "[page]\ntoken_env = 'T'\n", "7: page.token_env: the environment has no variable T"),
        (
            WHOLE + "[page]\ntoken_env = 'T'\ntoken_file = 'f'\n",
            "8: page.token_file: conflicts with token_env",
        ),
        (WHOLE + "[page]\ntoken_file = 'gone'\n", "7: page.token_file: cannot read the token from "),
        (WHOLE + "[[sink]]\nname = 'a'\naddress = 'a.csv'\nsecret = 's'\n", "is only valid for webhooks"),
        (WHOLE + "[[sink]]\nname = 'a'\naddress = 'a.csv'\ngap_s = 1\n", "is only valid for events:FOLDER"),
        (
            WHOLE + "[[sink]]\nname = 'a'\naddress = 'events:p'\nclasses = ['x']\n",
            "9: sink[0].classes[0]: the model has no class",
        ),
        (
            WHOLE + "[[sink]]\nname = 'a'\naddress = 'a.csv'\n[[sink]]\nname = 'b'\naddress = './a.csv'\n",
            'is also the address of sink "a"',
        ),
        (
            WHOLE + "sinks = ['a']\n[[sink]]\nname = 'a'\naddress = 'https://h/x'\n",
            "7: sink[0]: receives only events, and none of its cameras creates events; expected lines or zones, or",
        ),
        (WHOLE + "sinks = ['a']\n[[sink]]\nname = 'a'\naddress = 'events:p'\n", "or classes for the sink"),
        (
            WHOLE + "sinks = ['a']\n[[sink]]\nname = 'a'\naddress = 'mqtt://h'\nevery_result = false\n",
            "7: sink[0]: receives only events",
        ),
        (WHOLE.replace("demo:", "gone.mp4"), "5: camera[0].address: there is no file or folder "),
        (WHOLE.replace("demo:", "loop:gone.mp4@5"), "gone.mp4"),
        (WHOLE.replace("demo:", "demo:0x0"), "5: camera[0].address: demo:0x0 is not a synthetic camera"),
        (WHOLE.replace("demo:", "ftp://x/y"), "is not a known scheme; expected an image"),
        (WHOLE.replace("demo:", "rtsp:///x"), "the address has no host; expected rtsp://host/..."),
        (WHOLE.replace("demo:", "rtsp://x:port/"), "5: camera[0].address: "),
        (WHOLE.replace("demo:", "a\\tb"), "5: camera[0].address: expected an address"),
        (WHOLE.replace("demo:", "rtsp://u:${P}@h/"), "the environment has no variable P; set it"),
    ],
)
def test_a_single_mistake_is_reported_with_its_line(write_file: WriteFile, text: str, words: str) -> None:
    problem = only(write_file(text))
    assert problem.startswith("cameras.toml:")
    assert words in problem.removeprefix("cameras.toml:")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("camera", "sink"),
    [
        ("", "address = 'https://h/x'\nevery_result = true"),
        ("", "address = 'events:p'\nclasses = ['lamp']"),
        ("", "address = 'mqtt://h/x'"),
        ("", "address = 'a.csv'"),
        ("zones.a = [0, 0, 1, 0, 1, 1]\n", "address = 'https://h/x'"),
        ("lines.a = [0, 0, 1, 1]\n", "address = 'events:p'"),
    ],
)
def test_a_sink_with_input_is_valid(write_file: WriteFile, camera: str, sink: str) -> None:
    assert mistakes_of(write_file(f"{WHOLE}sinks = ['a']\n{camera}[[sink]]\nname = 'a'\n{sink}\n")) == []


def test_variables_are_expanded_and_their_values_are_redacted(write_file: WriteFile) -> None:
    file = write_file(WHOLE.replace("demo:", "rtsp://${U}:${P}@host/$${x}"))
    settings = read_deployment(file, {"U": "me", "P": "secret"}).require()
    assert settings.cameras[0].address == "rtsp://me:secret@host/${x}"
    assert "secret" not in repr(settings)
    assert "secret" not in only(file, {"U": "me", "P": "secret\n"})
    assert "secret" not in only(file, {"U": "me", "P": "secret@/x"})


def test_places_are_pixels_or_shares(write_file: WriteFile) -> None:
    text = (
        WHOLE + 'lines."in = out" = [560, 150, 560.5, 440]\n[camera.zones]\nqueue = [0, 0, 0.5, 0, 0.5, 1]\n'
    )
    (camera,) = read_deployment(write_file(text), {}).require().cameras
    line, zone = camera.analytics.lines[0], camera.analytics.zones[0]
    assert isinstance(line, PlaceText)
    assert isinstance(zone, PlaceText)
    assert line.name == "in = out"
    assert list(line.numbers) == [560, 150, 560.5, 440]
    assert zone.points((100, 200))[-1] == (50, 200)


def test_a_password_that_all_may_read_is_a_warning(write_file: WriteFile) -> None:
    text = WHOLE.replace("demo:", "rtsp://me:secret@host/")
    text += (
        "sinks = ['a']\n[[sink]]\nname = 'a'\naddress = 'https://host/x'\nsecret = 'abc'\ntoken = '${T}'\n"
    )
    file = write_file(text)
    environment = {"T": "token"}
    assert warned(file, environment) == []
    file.chmod(0o644)
    first, second = warned(file, environment)
    assert first.startswith(
        "cameras.toml:5: camera[0].address: every user can read this password; run: chmod o-r"
    )
    assert second.startswith("cameras.toml:10: sink[0].secret: every user can read this password")
    file.write_text(text.replace("me:secret@", "${U}:${P}@").replace("'abc'", "'${S}'"))
    environment |= {"U": "me", "P": "x", "S": "y"}
    assert warned(file, environment) == []


def test_a_possible_mistake_is_a_warning(write_file: WriteFile) -> None:
    text = WHOLE.replace("demo:", "/dev/video97") + "[[sink]]\nname = 'a'\naddress = 'a.csv'\n"
    reading = read_deployment(write_file(text), {})
    assert [str(warning) for warning in reading.warnings] == [
        "cameras.toml:5: camera[0].address: /dev/video97 does not exist now",
        'cameras.toml:6: sink[0]: no camera uses the sink "a"',
    ]
    assert reading.settings is not None


def test_the_token_is_read_from_a_private_file(write_file: WriteFile, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o644)
    text = WHOLE + "[page]\nhost = '0.0.0.0'\ntoken_file = '${D}/token'\n"
    file = write_file(text)
    assert "every user can read" in only(file, {"D": str(tmp_path)})
    token.chmod(0o600)
    assert mistakes_of(file, {"D": str(tmp_path)}) == []
    token.write_text("short\n")
    assert "expected 16 or more" in only(file, {"D": str(tmp_path)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(write_file: WriteFile) -> None:
    file = write_file(WHOLE)
    file.chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        read_deployment(file, {})
