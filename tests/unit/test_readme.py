"""README.md stays short, and what it and the other pages tell readers to type, or to follow, exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from commands import ROOT

from fredbench.cli import cli
from fredbench.foundation.errors import FredbenchError

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "findings" / "README.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    """A page without its fences and code spans, which hold no links."""
    return re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))


def commands(page: Path) -> list[str]:
    """Lines of a page's shell fences that call fredbench, without comments and redirections."""
    found = []
    for line in "\n".join(fences(page, "sh", "bash")).splitlines():
        for part in re.split(r"&&|>>|>", line):
            words = shlex.split(part, comments=True)
            if words and Path(words[0]).name == "fredbench":
                found.append(shlex.join(words[1:]))
    return found


def parsed(line: str) -> click.Context:
    """The context in which click would run `fredbench LINE`; raises where it would refuse to. Runs nothing."""
    words = shlex.split(line)
    while words[:1] == ["--plugin"]:
        words = words[2:]
    command: click.Command = cli
    context = click.Context(cli, info_name="fredbench")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"no command {line}"
        command = found
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    return command.make_context(command.name, list(words), parent=context)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().split()) < 900


def test_its_first_shell_block_is_the_one_that_is_tested_on_every_commit() -> None:
    """`.ci/run` takes the second line of the README's `sh` blocks."""
    trial, tests = "".join(fences(README, "sh")).splitlines()
    assert trial.endswith("fredbench quickstart") and "-m pytest" in tests


def test_its_library_lines_run(tmp_path: Path) -> None:
    """As they stand there, but for what makes them a matter of seconds."""
    (code,) = fences(README, "python")
    store = f"store={str(tmp_path / 'runs')!r}, threads=1, offline=True"
    small = {
        'preset="quick")': f'preset="quick", objective="dm", iterations=1, network="mlp", {store}, '
        'overrides=("student.epochs=1", "objective.batch_real=8"))',
        'suite="digitsc")': f'suite="digitsc", severities=(1,), limit=20, students=1, {store})',
    }
    for whole, part in small.items():
        assert code.count(whole) == 1
        code = code.replace(whole, part)
    names: dict[str, Any] = {}
    exec(compile(code, README.name, "exec"), names)
    assert names["synset"].images.shape[1:] == (3, 32, 32) and names["noisy"].shape == names["pictures"].shape
    assert [row.control for row in names["rows"]] == [False, False, True]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_parses(page: Path) -> None:
    lines = commands(page)
    assert lines or page != README
    for line in lines:
        try:
            parsed(line)
        except (click.ClickException, FredbenchError) as error:
            pytest.fail(f"{page.name}: fredbench {line}: {error}")


@pytest.mark.parametrize("line", ["distil digits", "distill digits --ipcs 1", "report --out", "suite walk twelve"])
def test_a_command_that_is_none_would_be_seen(line: str) -> None:
    with pytest.raises((click.ClickException, FredbenchError)):
        parsed(line)


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by: lower case, punctuation gone, spaces to hyphens."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path, text: str) -> list[str]:
    """Relative links of `text` that lead nowhere from `page`."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, prose(page)) == []


def test_a_link_that_leads_nowhere_would_be_seen() -> None:
    text = (
        "[a](docs/nothing.md) [b](docs/results.md#no-such-heading) [c](docs/results.md#digits-ipc-10) [d](https://x.y)"
    )
    assert broken(README, text) == ["docs/nothing.md", "docs/results.md#no-such-heading"]


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = set(re.findall(r"\]\(([^)\s#]+)\)", index.read_text()))
    assert {page.name for page in index.parent.glob("*.md")} - {"README.md"} <= linked
