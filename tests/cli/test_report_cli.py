from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, invoke

COMMON = ("--threads", 1, "--offline", "--limit", 40)


def _report(store: Path, out: Path, *what: object) -> Outcome:
    return invoke("report", *what, "--store", store, *COMMON, "--out", out)


def _rows(page: str) -> list[dict[str, Any]]:
    match = re.search(r'id="fredbench-rows">(.*?)</script>', page, re.S)
    assert match is not None
    return json.loads(match.group(1))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def page(tiny_run: Path, small_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    done = _report(tiny_run.parent, out, small_suite)
    assert done.code == 0, done.err
    assert done.out == f"{out}\n"
    return out.read_text()


def test_the_page_shows_the_set_its_start_and_its_control(page: str) -> None:
    (section,) = _rows(page)
    assert section["suite"] == "two" and section["severities"] == [1, 5]
    assert [(row["method"], row["start"], row["control"]) for row in section["rows"]] == [
        ("fred", False, False), ("fred", True, False), ("random", False, True),
    ]  # fmt: skip
    assert all(list(row["corruptions"]) == ["brightness", "contrast"] for row in section["rows"])
    assert page.count("frequencies kept for class") == 20 and page.count("pictures of class") == 30


def test_the_page_says_the_numbers_that_corrupt_eval_prints(page: str, tiny_run: Path, small_suite: Path) -> None:
    """Cells on disk are read again, so the two cannot differ, and nothing is scored anew."""
    store = tiny_run.parent
    cells = set(store.glob("*/cells/*"))
    done = invoke(
        "corrupt-eval", "--suite", small_suite, "tiny", "--store", store, *COMMON, "--calibration", "--format", "json"
    )
    assert done.code == 0 and set(store.glob("*/cells/*")) == cells
    printed = [{**row, "run": Path(row["run"]).name} for row in json.loads(done.out)["rows"]]
    assert printed == _rows(page)[0]["rows"]


def test_the_page_tells_how_to_make_it_again(page: str) -> None:
    assert (
        "fredbench distill digits --ipc 1 --method fred --objective dm --preset quick --seed 0 --iterations 2" in page
    )
    assert "objective.batch_real=8" in page and "not exactly" not in page
    assert re.search(r"fredbench report \S*two\.toml --limit 40 --out page\.html", page)


def test_the_page_shows_profile_confidences_and_spectra(page: str) -> None:
    for needle in (
        "Profile", "digital is contrast alone", "adversarial (takes --attack)", "Brier clean", "Reliability diagrams",
        "1,297 evenly spaced training pictures", "white noise, for comparison",
    ):  # fmt: skip
        assert needle in page, needle
    assert "No Brier score" not in page and "Under attack" not in page


def test_attacks_are_asked_for_as_elsewhere(tiny_run: Path, small_suite: Path, tmp_path: Path) -> None:
    asked = ("--attack", "fgsm", "--epsilon", "4/255", "--attack-limit", 10)
    done = _report(tiny_run.parent, tmp_path / "x.html", small_suite, *asked)
    assert done.code == 0, done.err
    page = (tmp_path / "x.html").read_text()
    assert "adversarial (takes" not in page and "Under attack" in page
    assert "--attack-limit 10 --attack fgsm --epsilon 4/255 --out x.html" in page
    assert [row["attacked"]["pictures"] for row in _rows(page)[0]["rows"]] == [10, 10, 10]


def test_a_run_by_name_brings_its_datasets_suite(tiny_run: Path, tmp_path: Path) -> None:
    done = invoke(
        "report", "tiny", "--store", tiny_run.parent, "--threads", 1, "--offline", "--limit", 10, "--severity", 1,
        "--students", 1, "--title", "mine & yours", "--out", tmp_path / "x.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    text = (tmp_path / "x.html").read_text()
    (section,) = _rows(text)
    assert (
        section["suite"] == "digitsc" and section["severities"] == [1] and len(section["rows"][0]["corruptions"]) == 15
    )
    assert section["rows"][0]["students"] == 1 and "<title>mine &amp; yours</title>" in text


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for what in ((), ("digitsc",)):
        error, hint = _report(store, tmp_path / "x.html", *what).problem()
        assert "no finished run" in error and "fredbench distill" in hint
    assert not (tmp_path / "x.html").exists()


def test_bad_input_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    store, out = tiny_run.parent, tmp_path / "x.html"
    assert "no run 'nothing'" in _report(store, out, "nothing").problem()[0]
    assert "no suite file" in _report(store, out, tmp_path / "nothing.toml").problem()[0]
    assert "severities" in _report(store, out, "tiny", "--severity", 6).problem()[0]
    invoke("report", "tiny", "--store", store).problem()
    _report(store, tmp_path, "tiny").problem()
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_run_is_left_out_and_named(tiny_run: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "all.html"
    shutil.copytree(tiny_run, store / "tiny")
    shutil.copytree(tiny_run, store / "broken")
    spec = (store / "broken" / "spec.toml").read_text()
    (store / "broken" / "spec.toml").write_text(spec.replace('dataset = "digits"', 'dataset = "folder:/gone/away"'))
    done = _report(store, out, "--students", 1)
    assert done.code == 0, done.err
    assert "left out broken" in done.err and "/gone/away" in done.err
    page = out.read_text()
    assert "left out: broken" in page and {row["method"] for row in _rows(page)[0]["rows"]} == {"fred", "random"}
    # Asked for by name it is an error.
    assert "/gone/away" in _report(store, out, store / "broken").problem()[0]


def test_a_grid_is_reported_by_its_name(tmp_path: Path) -> None:
    grid = tmp_path / "one.toml"
    grid.write_text(
        'kind = "grid"\nname = "one"\ntitle = "One"\nmethods = ["random"]\n[[datasets]]\nname = "digits"\n'
        'scored_on = "digitsc"\nipcs = [1]\npreset = "quick"\nnetwork = "convnet-d3-w8-in"\nlimit = 20\n'
        'severities = [3]\nstudents = 1\nset = ["student.epochs=1"]\n'
    )
    store, out = tmp_path / "store", tmp_path / "grid.html"
    common = ("--store", store, "--threads", 1, "--offline")
    error, hint = invoke("report", grid, *common, "--out", out).problem()
    assert "no finished run of the grid" in error and f"fredbench suite run {grid}" in hint
    assert invoke("suite", "run", grid, *common).code == 0
    cells = set(store.glob("*/students/*"))
    done = invoke("report", grid, *common, "--out", out)
    assert done.code == 0, done.err
    # Scored as the grid scored it, so nothing is made anew.
    assert set(store.glob("*/students/*")) == cells
    (section,) = _rows(out.read_text())
    assert section["severities"] == [3] and section["rows"][0]["limit"] == 20
