from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from commands import invoke

from fredbench.corruptions import NAMES
from fredbench.suite_reading import names_of


def test_the_suites_are_listed() -> None:
    records = json.loads(invoke("suite", "list", "--format", "json").out)
    assert [record["suite"] for record in records] == names_of("corruptions", "grid")
    cifar = next(record for record in records if record["suite"] == "cifar10c")
    assert cifar["dataset"] == "cifar10" and cifar["corruptions"] == 15 and cifar["severities"] == "1, 2, 3, 4, 5"
    assert len(invoke("suite", "list").out.splitlines()) == 2 + len(records)


def test_a_suite_shows_its_corruptions_in_the_literatures_order() -> None:
    shown = json.loads(invoke("suite", "show", "cifar10c", "--format", "json").out)
    assert tuple(shown["corruptions"]) == NAMES and shown["seed"] == 0
    records = dict(csv.reader(io.StringIO(invoke("suite", "show", "cifar10c", "--format", "csv").out)))
    assert records["corruptions"] == ", ".join(NAMES)


def test_a_file_is_a_suite_too(small_suite: Path) -> None:
    assert "two corruptions of the digits" in invoke("suite", "show", small_suite).out


def test_bad_suites_are_refused(tmp_path: Path) -> None:
    assert "cifar10c" in invoke("suite", "show", "cifar10d").problem()[1]
    assert "no suite file" in invoke("suite", "show", tmp_path / "none.toml").problem()[0]
    file = tmp_path / "bad.toml"
    for text, needle in (
        ("name = ", "not TOML"),
        ('name = "x"', "lacks"),
        ('name = "x"\ncolour = 1', "colour"),
    ):
        file.write_text(text)
        assert needle in invoke("suite", "show", file).problem()[0]
    invoke("suite").problem()
