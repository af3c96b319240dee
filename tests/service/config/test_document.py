"""Line numbers of TOML values, compared with tomllib."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator

import pytest

from edgevision.service.config.document import Document, NotTomlError, parse
from edgevision.settings.kinds import KeyPath

EVERY_FORM = r'''# A comment with = and [brackets]
title = "a # b"   # [not.a.table]
"quoted key" = 1
'literal.key' = 2
"tab\tand é" = 3
dotted . "two" . three = 4
dotted.four = """
inner = 1
[no.table] \""" still inside
"""""
literal = \'\'\'
x = 'y' ''\'\'\'
numbers = [ 1, 2,   # one, two
  [ 3, "]" ],
  # between
  { k = 5, deep.er = [6] },
]
when = 1979-05-27 07:32:00
empty = []
none = {}

[table]
a = true
[table.inner]
b = -inf
[[fruit]]
name = "apple"
[fruit.physical]
colour = "red"
[[fruit.variety]]
name = "red delicious"
[[fruit.variety]]
name = "granny smith"
[[fruit]]
name = "banana"
[[fruit.variety]]
name = "plantain"
[ later . "x.y" ]
z = 0
[later]
w = 0
'''.replace("\\'", "'")


def settings_of(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from settings_of(inner, (*path, key))
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from settings_of(inner, (*path, number))


def read(text: str) -> Document:
    return parse(text.encode(), "f.toml")


def test_every_form_of_toml_has_its_line() -> None:
    document = read(EVERY_FORM)
    assert set(document.lines) == set(settings_of(document.data))
    where = {
        ("title",): 2,
        ("quoted key",): 3,
        ("literal.key",): 4,
        ("tab\tand é",): 5,
        ("dotted",): 6,
        ("dotted", "two", "three"): 6,
        ("dotted", "four"): 7,
        ("literal",): 11,
        ("numbers",): 13,
        ("numbers", 1): 13,
        ("numbers", 2): 14,
        ("numbers", 2, 1): 14,
        ("numbers", 3): 16,
        ("numbers", 3, "deep", "er", 0): 16,
        ("when",): 18,
        ("table", "inner", "b"): 25,
        ("fruit",): 26,
        ("fruit", 0, "physical", "colour"): 29,
        ("fruit", 0, "variety", 1, "name"): 33,
        ("fruit", 1): 34,
        ("fruit", 1, "variety", 0): 36,
        ("later", "x.y", "z"): 39,
        ("later", "w"): 41,
    }
    assert {path: document.lines[path] for path in where} == where


def test_windows_line_ends_and_byte_order_marks_are_accepted() -> None:
    document = parse(b"\xef\xbb\xbfa = 1\r\n\r\n[b]\r\nc = '''\r\n\r\n'''\r\nd = 2\r\n", "f.toml")
    assert document.lines == {("a",): 1, ("b",): 3, ("b", "c"): 4, ("b", "d"): 7}


def test_a_missing_key_has_the_line_of_its_table() -> None:
    document = read("a = 1\n\n[[b]]\nc = 1\n[[b]]\n")
    assert document.line(("b", 1, "c")) == 5
    assert document.line(("x", "y")) == 1
    assert str(document.problem(("b", 0, "c"), "no")) == "f.toml:4: no"


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a = 1\nb = \n", 2, "Invalid value in column"),
        (b"a = 1\nb = 1\na = 2\n", 3, "Cannot overwrite a value"),
        (b"a = 1\nb = [1,\n", 2, "end of document"),
        (b"a = 1\nb = '\xff'\n", 2, "not UTF-8"),
        (b"a = " + b"[" * 100_000, 1, "nested too deeply"),
        (b"\na = " + b"9" * 5000, 2, "digits"),
    ],
)
def test_a_syntax_error_names_its_line(data: bytes, line: int, words: str) -> None:
    with pytest.raises(NotTomlError, match=words) as caught:
        parse(data, "f.toml")
    assert caught.value.problem.line == line
    assert str(caught.value).startswith(f"f.toml:{line}: ")


class Writer:
    """Writes a document by chance, in all forms of TOML, and notes where it put each key."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.text = ""
        self.wrote: dict[KeyPath, int] = {}
        self.number = 0

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def note(self, path: KeyPath) -> None:
        self.wrote.setdefault(path, self.line)

    def document(self) -> str:
        self.pairs((), self.chance.randrange(4))
        for _ in range(self.chance.randrange(6)):
            self.table()
        return self.text

    def table(self) -> None:
        """A table, or an array of tables with tables inside."""
        name = self.name()
        if self.chance.random() < 0.5:
            inner = self.name()
            self.note((name,))
            self.note((name, inner))
            self.text += f"[{self.blank()}{self.spell(name)}{self.dot()}{self.spell(inner)}{self.blank()}]"
            self.end_line()
            return self.pairs((name, inner), self.chance.randrange(4))
        for number in range(self.chance.randrange(1, 4)):
            self.note((name,))
            self.note((name, number))
            self.text += f"[[{self.blank()}{self.spell(name)}{self.blank()}]]"
            self.end_line()
            self.pairs((name, number), self.chance.randrange(3))
            if self.chance.random() < 0.5:
                inner = self.name()
                self.note((name, number, inner))
                self.text += f"{self.blank()}[{self.spell(name)}{self.dot()}{self.spell(inner)}]"
                self.end_line()
                self.pairs((name, number, inner), self.chance.randrange(3))
        return None

    def pairs(self, table: KeyPath, count: int) -> None:
        for _ in range(count):
            while self.chance.random() < 0.3:
                self.end_line()
            self.text += self.blank()
            self.pair(table, 0)
            self.end_line()

    def pair(self, table: KeyPath, depth: int) -> None:
        names = [self.name() for _ in range(self.chance.choice([1, 1, 1, 2, 3]))]
        path = table
        for name in names:
            path = (*path, name)
            self.note(path)
        self.text += self.dot().join(self.spell(name) for name in names) + f"{self.blank()}={self.blank()}"
        self.value(path, depth)

    def value(self, path: KeyPath, depth: int) -> None:
        kind = self.chance.randrange(9 if depth < 3 else 7)
        if kind == 7:
            self.text += "["
            for number in range(self.chance.randrange(4)):
                self.gap()
                self.note((*path, number))
                self.value((*path, number), depth + 1)
                self.gap()
                self.text += ","
            self.gap()
            self.text += "]"
        elif kind == 8:
            self.text += "{"
            for number in range(self.chance.randrange(4)):
                self.text += "," * (number > 0) + self.blank()
                self.pair(path, depth + 1)
            self.text += self.blank() + "}"
        else:
            self.text += self.scalar(kind)

    def scalar(self, kind: int) -> str:
        rubbish = "".join(self.chance.choices("ab=[]{}#.,' \té\\\"\n", k=self.chance.randrange(12)))
        escaped = rubbish.replace("\\", "\\\\").replace('"', '\\"')
        few = self.chance.randrange(3)
        return (
            self.chance.choice(["1", "-2.5e3", "true", "inf", "0xff", "1_000"]),
            self.chance.choice(["1979-05-27 07:32:00", "07:32:00.5", "1979-05-27T00:32:00-07:00"]),
            '"' + escaped.replace("\n", "\\n") + '"',
            "'" + re.sub(r"['\n]", "", rubbish) + "'",
            '"""' + escaped + '"' * few + '"""',
            '"""\n' + rubbish.replace("\\", "\\\\\n  ").replace('"', "") + "x" + '"' * few + '"""',
            "'''" + rubbish.replace("'", "") + "'" * few + "'''",
        )[kind]

    def name(self) -> str:
        """One that no other key has."""
        self.number += 1
        odd = "".join(
            self.chance.choices(string.ascii_letters + " .=[]#\"'\\é\t", k=self.chance.randrange(6))
        )
        return f"k{self.number}" + (odd if self.chance.random() < 0.3 else "")

    def spell(self, name: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) and self.chance.random() < 0.7:
            return name
        if "'" not in name and self.chance.random() < 0.5:
            return f"'{name}'"
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("é", "\\u00e9")
        return f'"{escaped}"'

    def dot(self) -> str:
        return f"{self.blank()}.{self.blank()}"

    def blank(self) -> str:
        return self.chance.choice(["", "", " ", "\t", "  "])

    def gap(self) -> None:
        """Blanks, line ends and comments, as they may stand in arrays."""
        self.text += self.blank()
        if self.chance.random() < 0.3:
            self.end_line()

    def end_line(self) -> None:
        self.text += self.blank() + self.chance.choice(["", "", "# x = [1] ''' \"\"\" {"]) + "\n"


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_documents_written_by_chance_have_the_line_of_every_key(first: int) -> None:
    keys = 0
    for seed in range(first, first + 250):
        writer = Writer(seed)
        text = writer.document()
        document = read(text)
        found = set(settings_of(document.data))
        assert set(document.lines) == found, f"seed {seed}\n{text}"
        assert document.lines == writer.wrote, f"seed {seed}\n{text}"
        keys += len(found)
    assert keys > 2000
