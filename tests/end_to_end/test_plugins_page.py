"""The code on docs/plugins.md is complete: it runs as it stands there, and passes the checks that the page promises.

Always in a child: what a plug-in registers stays in its process.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from commands import ROOT, TINY, Outcome, interpret, run_in_child

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
    for name, body in re.findall(r"^```(?:python|toml)\n# (\S+\.\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(body)
    assert {file.name for file in folder.iterdir()} == {
        "lowres.py",
        "moments.py",
        "small_moments.py",
        "my_net.py",
        "mine.toml",
        "middle.py",
        "test_mine.py",
    }
    return folder


def commands() -> list[str]:
    """The page's lines for a shell, in order."""
    return re.findall(r"^fredbench (--plugin .*)$", PAGE, re.MULTILINE)


def run_words(line: str, files: Path) -> list[str]:
    """Its words, the page's files where they lie."""
    return [str(files / word) if word.endswith((".py", ".toml")) else word for word in line.split()]


def run_line(line: str, files: Path, scratch: Path, *more: object) -> Outcome:
    """A command of the page, with its files where they lie."""
    return run_in_child(scratch / "log", *run_words(line, files), *more, "--store", scratch / "runs")


def test_the_pages_checks_pass(files: Path, tmp_path: Path) -> None:
    done = run_in_child(tmp_path, "list", "objectives", prelude=CHECKS.format(folder=str(files)))
    assert done.code == 0 and "first two moments of every pixel" in done.out, done.err


def test_the_pages_commands_make_and_score_a_run(files: Path, tmp_path: Path) -> None:
    distill, score, *_ = commands()
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


def test_the_pages_system_is_listed_runs_by_its_name_and_is_a_row_of_a_suite(files: Path, tmp_path: Path) -> None:
    *_, distill, suite, _ = commands()
    plugins = distill.partition("distill")[0]
    listed = run_in_child(tmp_path / "log", *run_words(f"{plugins}list methods --format json", files))
    rows = {row["method"]: row for row in json.loads(listed.out)}
    assert rows["small-moments"]["objective"] == "moments" and rows["fred"]["objective"] == "tm"

    made = run_line(distill, files, tmp_path, "--threads", 1)
    assert made.code == 0, made.err
    assert "note: falls fast" in made.err
    spec = tomllib.loads((made.folder / "spec.toml").read_text())
    assert (spec["run"]["method"], spec["run"]["iterations"]) == ("small-moments", 20)
    assert spec["parameterization"]["factor"] == 2 and spec["objective"]["batch_real"] == 64

    recipe = run_in_child(
        tmp_path / "log",
        *run_words(f"{plugins}recipe digits --ipc 5 --method small-moments --format json", files),
    )
    said = {(line["section"], line["setting"]): line for line in json.loads(recipe.out)}
    assert said["run", "iterations"]["value"] == 200 and said["student", "epochs"]["value"] == 300
    assert said["objective", "batch_real"]["why"] == "IPC 5 is not published; the settings of IPC 1"

    done = run_line(suite, files, tmp_path, "--limit", 20, "--threads", 1, "--format", "json")
    assert done.code == 0, done.err
    found = {row["method"]: row for row in json.loads(done.out)["rows"] if not row["start"]}
    assert found.keys() == {"random", "small-moments"}
    assert Path(found["small-moments"]["run"]).name == made.folder.name  # the run that was made by that name
    # Asked for by its parts it is the same system, as ours are; with one part changed it is not.
    for storage, same in (("lowres", True), ("pixels", False)):
        line = f"{plugins}recipe digits --ipc 1 --objective moments --parameterization {storage}"
        parts = run_in_child(tmp_path / "log", *run_words(line, files))
        assert parts.code == 0 and ("the loss has come to rest on digits" in parts.out) == same


def test_the_pages_choice_of_pictures_is_a_run_and_has_no_published_recipe(files: Path, tmp_path: Path) -> None:
    *_, distill = commands()
    made = run_line(distill, files, tmp_path, "--threads", 1)
    assert made.code == 0, made.err
    spec = tomllib.loads((made.folder / "spec.toml").read_text())
    assert (spec["run"]["method"], spec["run"]["objective"], spec["objective"]["epochs"]) == ("middle", "none", 2)
    assert json.loads((made.folder / "result.json").read_text())["ledger"]["decoded"] == 100


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_package_of_anyone", "no_such_package_of_anyone"),
        ("from fredbench.recipes import *\nbroken = (", "cannot be imported"),
        (
            "from fredbench.recipes import *\n"
            "register_method(Method('x', 'dm', 'pixels', 'p', 'v'), [by_budget('run', {1: {'iterations': 2}}, "
            "'chosen', 'why', where())])",
            "holds list, not rows alone",
        ),
        (
            "from fredbench.recipes import *\n"
            "register_method(Method('dm', 'tm', 'pixels', 'p', 'v'))",
            "method 'dm' is already registered",
        ),
        ("from fredbench.recipes import *\nchosen('objectives', 'why', lr=1)", "section 'objectives'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_plug_in_is_told_in_words(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    done = interpret("--plugin", tmp_path / "mine.py", "list", "methods")
    assert done.code == 2 and said in done.err and "Traceback" not in done.err


def test_the_pages_network_is_distilled_with_and_makes_the_same_student_twice(files: Path, tmp_path: Path) -> None:
    plugin = ("--plugin", files / "my_net.py")
    tiny = ("--set", "objective.batch_real=8", "--set", "student.epochs=1", "--threads", 1, "--offline")
    asked = (
        "distill",
        "digits",
        "--ipc",
        1,
        "--method",
        "dm",
        "--preset",
        "quick",
        "--iterations",
        1,
        "--network",
        "mynet",
    )
    students = []
    for store in (tmp_path / "a", tmp_path / "b"):
        made = run_in_child(tmp_path / "log", *plugin, *asked, *tiny, "--name", "one", "--store", store)
        assert made.code == 0, made.err
        score = (
            "evaluate",
            "one",
            "--network",
            "mynet",
            "--students",
            1,
            "--limit",
            10,
            "--threads",
            1,
            "--store",
            store,
        )
        scored = run_in_child(tmp_path / "log", *plugin, *score, "--store", store)
        assert scored.code == 0 and "mynet" in scored.out, scored.err
        students.append({file.name: file.read_bytes() for file in store.glob("one/cells/student-*")})
    assert students[0] == students[1] and len(students[0]) == 1
