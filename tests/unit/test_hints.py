"""What messages tell people to type exists: commands, options, settings."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator

import click
import pytest
from commands import ROOT

from fredbench.cli import cli
from fredbench.objectives import OBJECTIVES, coresets
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig
from fredbench.recipes.methods import METHODS
from fredbench.training.loop import TrainingRecipe

# Of other programs that hints name.
# Of pip, of Ray, and what click gives every command.
FOREIGN_OPTIONS = {"--no-build-isolation", "--upgrade", "--head", "--help"}


def text_of(node: ast.expr) -> str:
    """A string as it is written, what is put into it as `…`; nothing for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) if isinstance(value, ast.Constant) else "…" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} {text_of(node.orelse)}"
    return ""


def _bound(tree: ast.AST) -> dict[str, str]:
    """Strings bound to a name, such as `_MEND`, by name."""
    return {
        target.id: text_of(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def hints() -> Iterator[tuple[str, str]]:
    """(place, text) of every hint and advice in the package."""
    for file in sorted((ROOT / "fredbench").rglob("*.py")):
        tree = ast.parse(file.read_text())
        bound = _bound(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in {"hint", "memory_advice", "provide"}:
                named = bound.get(node.value.id, "") if isinstance(node.value, ast.Name) else text_of(node.value)
                if named:
                    yield f"{file.relative_to(ROOT)}:{node.value.lineno}", named


def strings() -> Iterator[tuple[str, str]]:
    """(place, text) of every string in the package."""
    for file in sorted((ROOT / "fredbench").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and (text := text_of(node)):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", text


def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    found = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[f"{before}{name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
    return found


COMMANDS = commands(cli)
OPTIONS = {option for command in [cli, *COMMANDS.values()] for param in command.params for option in param.opts}
HINTS = list(hints())


def settings() -> dict[str, set[str]]:
    def fields(*kinds: type) -> set[str]:
        return {field.name for kind in kinds for field in dataclasses.fields(kind)}

    choices = [coresets.config_of(m.name) for m in METHODS.values() if m.objective == coresets.OBJECTIVE]
    return {
        "objective": fields(*(OBJECTIVES.get(name).Config for name in OBJECTIVES), *choices),
        "parameterization": fields(*(PARAMETERIZATIONS.get(name).Config for name in PARAMETERIZATIONS)),
        "labels": fields(LabelConfig),
        "student": fields(TrainingRecipe) | {"network", "students"},
    }


def test_hints_are_found() -> None:
    assert len(HINTS) > 150 and len(COMMANDS) > 15


def named_commands(text: str) -> Iterator[str]:
    """`fredbench …` as typed: up to two words."""
    yield from re.findall(r"fredbench ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", text)


def unknown_command(words: str) -> bool:
    first, _, second = words.partition(" ")
    command = COMMANDS.get(first)
    if command is None:
        return True
    return isinstance(command, click.Group) and bool(second) and f"{first} {second}" not in COMMANDS


def test_every_command_that_a_message_names_exists() -> None:
    wrong = [
        f"{place}: fredbench {words}"
        for place, text in strings()
        for quoted in re.findall(r"`(fredbench [^`]*)`", text)
        for words in named_commands(quoted)
        if unknown_command(words)
    ]
    wrong += [
        f"{place}: fredbench {words}"
        for place, text in HINTS
        for words in re.findall(r"(?:: |`)fredbench ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", text)
        if unknown_command(words)
    ]
    assert wrong == []


def test_every_option_that_a_hint_names_exists() -> None:
    wrong = [
        f"{place}: {option}"
        for place, text in HINTS
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
        if option not in OPTIONS | FOREIGN_OPTIONS
    ]
    assert wrong == []


def test_every_setting_that_a_hint_names_exists() -> None:
    known = settings()
    wrong = [
        f"{place}: {section}.{key}"
        for place, text in [*HINTS, *(found for found in strings() if "--set " in found[1])]
        for section, key in re.findall(r"\b(objective|parameterization|labels|student)\.([a-z_]+)(?=[=. ,…]|$)", text)
        if key not in known[section]
    ]
    assert wrong == []


@pytest.mark.parametrize("text", ["fredbench distil", "fredbench data fech", "fredbench suites"])
def test_a_command_that_does_not_exist_is_told(text: str) -> None:
    assert any(unknown_command(words) for words in named_commands(text))
