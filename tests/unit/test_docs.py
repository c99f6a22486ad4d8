"""What the pages say of tests and versions is true: every test that they name exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
from commands import ROOT

import fredbench

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")


@functools.cache
def names_in(file: Path) -> frozenset[str]:
    """Names of the test functions of a file."""
    tree = ast.parse(file.read_text())
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def missing(text: str) -> list[str]:
    """Tests and test files that `text` names and that do not exist."""
    found = []
    for file, test in NAMED.findall(text):
        path = ROOT / file
        if not path.is_file() or (test and test not in names_in(path)):
            found.append(f"{file}::{test}" if test else file)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert missing(page.read_text()) == []


def test_a_test_that_is_none_would_be_seen() -> None:
    here = "tests/unit/test_docs.py"
    text = f"`{here}`, `{here}::test_no_such`, `{here}::names_in`, `tests/unit/test_no_such.py`, `{here}::{KNOWN}`"
    assert missing(text) == [f"{here}::test_no_such", f"{here}::names_in", "tests/unit/test_no_such.py"]


KNOWN = test_every_test_that_a_page_names_exists.__name__


def test_every_footgun_says_what_holds_it() -> None:
    _, *entries = re.split(r"^## ", (ROOT / "docs" / "footguns.md").read_text(), flags=re.MULTILINE)
    assert len(entries) > 20
    for number, entry in enumerate(entries, 1):
        title = entry.partition("\n")[0]
        assert title.startswith(f"{number}. ")
        assert "```" in entry and "Held by" in entry, title
        assert any(test for _, test in NAMED.findall(entry.partition("Held by")[2])), title


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {fredbench.__version__}\n" in text and text.startswith("cff-version: 1.2.0\n")
    license_ = re.search(r'^license = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert license_ is not None and f"\nlicense: {license_[1]}\n" in text


def test_the_workflow_runs_what_every_commit_is_held_to() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "run: .ci/run\n" in text and (ROOT / ".ci" / "run").stat().st_mode & 0o100
