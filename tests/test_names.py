"""A name has one meaning: classes across modules, options across commands."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import click
import pytest

from edgevision.cli.root import edgevision

PACKAGE = Path(__file__).resolve().parent.parent / "edgevision"
SEVERAL_FORMS = {
    "--batch": "of a graph a range MIN:OPT:MAX, of a run a number or auto, of a training step a number",
    "--classes": "of a training run names with commas",
    "--device": "train takes auto, and no number",
    "--engine": "build takes the engines that are built",
    "--precision": "build and quantize take auto, too",
}
"""Options that mean one thing and take values of several forms."""


def public_classes() -> dict[str, list[str]]:
    """Modules by the public classes that they define."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "skeletons":  # copied by `new-recipe`, not imported
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    return found


def options() -> dict[str, dict[str, list[str]]]:
    """Commands by option and form of its value."""
    context = click.Context(edgevision)
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in edgevision.list_commands(context):
        command = edgevision.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                form = "flag" if parameter.is_flag else parameter.type.name
                for option in parameter.opts:
                    found[option][form].append(name)
    return found


def test_a_public_class_is_defined_once() -> None:
    classes = public_classes()
    assert len(classes) > 200
    assert {name: modules for name, modules in classes.items() if len(modules) > 1} == {}


def test_an_option_takes_values_of_one_form() -> None:
    found = options()
    assert len(found) > 80
    several = {name: dict(forms) for name, forms in found.items() if len(forms) > 1}
    assert {name: forms for name, forms in several.items() if name not in SEVERAL_FORMS} == {}


@pytest.mark.parametrize(
    "option", ["--graph", "--floor", "--candidates", "--held", "--fill-ms", "--give-up-after"]
)
def test_a_second_name_for_an_option_is_not_accepted(option: str) -> None:
    assert option not in options()


def test_options_of_settings_read_alike_in_every_command() -> None:
    """`--threshold` and its like have one help text, from the definition of the setting."""
    context = click.Context(edgevision)
    texts: dict[str, set[str]] = defaultdict(set)
    for name in ("run", "live"):
        command = edgevision.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                texts[parameter.opts[0]].add(parameter.help or "")
    assert {option: found for option, found in texts.items() if len(found) > 1} == {}
