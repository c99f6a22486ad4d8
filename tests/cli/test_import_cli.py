from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from commands import invoke

import fredbench


def test_a_set_is_imported_listed_shown_verified_and_scored(tiny_run: Path, small_suite: Path, tmp_path: Path) -> None:
    synset = fredbench.load(tiny_run)
    torch.save(synset.images, tmp_path / "images_best.pt")
    torch.save(synset.labels, tmp_path / "labels_best.pt")
    store = tmp_path / "store"
    places = ("--store", store, "--threads", 1, "--offline")
    done = invoke(
        "import", tmp_path / "images_best.pt", "--as", "digits", "--preset", "quick", "--name", "mine", *places
    )
    assert done.code == 0, done.err
    folder = Path(done.out.splitlines()[-1])
    assert folder.parent == store and "imported-mine" in folder.name
    assert (
        "values: normalised by digits's" in done.err
        and "no learned rate" in done.err
        and "labels: confirmed" in done.err
    )
    assert invoke("verify", folder, "--store", store).code == 0
    assert "imported:mine" in invoke("show", folder, "--store", store).out
    assert "imported:mine" in invoke("list", "runs", "--store", store).out
    few = ("--limit", 20, "--students", 1)
    scored = invoke("corrupt-eval", folder, "--suite", small_suite, *few, *places)
    assert scored.code == 0, scored.err
    assert "imported:mine" in scored.out and "random control" in scored.out and "start" not in scored.out
    assert "values: normalised by digits" in scored.out
    row = json.loads(invoke("evaluate", folder, *few, "--format", "json", *places).out)["rows"][0]
    assert row["method"] == "imported:mine" and any("values" in line for line in row["assumed"])
    page = tmp_path / "page.html"
    done = invoke("report", folder.name, *few, "--severity", 1, "--out", page, *places)
    assert done.code == 0, done.err
    assert "fredbench import FILE" in page.read_text()


def test_score_imports_and_scores_at_once(tiny_run: Path, small_suite: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.npz"
    assert invoke("export", tiny_run, "--to", "npz", "--out", target).code == 0
    few = ("--limit", 20, "--students", 1, "--suite", small_suite, "--threads", 1, "--offline")
    done = invoke("score", target, "--dataset", "digits", *few, "--store", tmp_path / "store", "--format", "json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    again = invoke("corrupt-eval", tiny_run, *few, "--store", tiny_run.parent, "--format", "json")
    ours = json.loads(again.out)["rows"]
    # The same pictures, labels, recipe and seed: the same students, whatever the budget behind the pictures was.
    assert rows[0]["clean"] == ours[0]["clean"] and rows[0]["average"] == ours[0]["average"]
    assert rows[1]["control"] and rows[0]["params"] == 40 * 3072


def test_mistakes_end_in_one_line_and_a_hint(tiny_run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((10, 8, 8, 3)), labels=np.arange(10))
    store = ("--store", tmp_path / "store", "--offline")
    for arguments, named in (
        (("import", tmp_path / "x.npz", "--dataset", "digits"), "(8, 8, 3)"),
        (("import", tmp_path / "x.npz", "--dataset", "digit"), "unknown dataset"),
        (("import", tmp_path / "nothing.pt", "--dataset", "digits"), "there is no "),
        (("import", tmp_path / "x.npz"), "--dataset"),
        (("import", tmp_path / "x.npz", "--dataset", "digits", "--temperature", 0), "positive"),
        (("score", tmp_path / "x.npz", "--dataset", "folder:nowhere"), "--suite"),
        (("evaluate", tmp_path / "x.npz"), "fits no dataset at hand"),
    ):
        done = invoke(*arguments, *store, env={"FREDBENCH_DATA": str(tmp_path / "none")})
        assert done.code == 2 and named in done.err and "hint:" in done.err and "Traceback" not in done.err, done.err
