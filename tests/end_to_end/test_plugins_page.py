"""The code on docs/plugins.md is complete: it runs as it stands there, and passes the checks that the page promises.

Always in a child: what a plug-in registers stays in its process.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import ROOT, TINY, Outcome, run_in_child

PAGE = (ROOT / "docs" / "plugins.md").read_text()
CHECKS = """
import sys
sys.path.insert(0, {folder!r})
import test_mine
tests = [value for name, value in vars(test_mine).items() if name.startswith("test_")]
assert len(tests) == 3
for test in tests:
    test()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the page's Python files, by the name in the first line of each."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, body in re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(body)
    assert {file.name for file in folder.iterdir()} == {"lowres.py", "moments.py", "test_mine.py"}
    return folder


def run_line(line: str, files: Path, scratch: Path, *more: object) -> Outcome:
    """A command of the page, with its files where they lie."""
    words = [str(files / word) if word.endswith(".py") else word for word in line.split()]
    return run_in_child(scratch / "log", *words, *more, "--store", scratch / "runs")


def test_the_pages_checks_pass(files: Path, tmp_path: Path) -> None:
    done = run_in_child(tmp_path, "list", "objectives", prelude=CHECKS.format(folder=str(files)))
    assert done.code == 0 and "first two moments of every pixel" in done.out, done.err


def test_the_pages_commands_make_and_score_a_run(files: Path, tmp_path: Path) -> None:
    distill, score = re.findall(r"^fredbench (--plugin .*)$", PAGE, re.MULTILINE)
    made = run_line(distill, files, tmp_path, "--iterations", 20, *TINY)
    assert made.code == 0, made.err
    losses = [json.loads(line)["loss"] for line in (made.folder / "progress.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    ledger = json.loads((made.folder / "result.json").read_text())["ledger"]
    assert (ledger["params"], ledger["decoded"]) == (30_720, 40)
    few = ("--severity", 1, "--students", 1, "--threads", 1, "--format", "json")
    scored = run_line(score, files, tmp_path, *few)
    assert scored.code == 0, scored.err
    own, start, control = json.loads(scored.out)["rows"]
    assert own["method"] == start["method"] == "moments-lowres" and start["start"] and control["control"]
    # Who does not know the storage cannot decode the set, and is told so.
    without = run_in_child(tmp_path / "log", "verify", made.folder)
    assert without.code in {1, 2} and "lowres" in without.out + without.err
