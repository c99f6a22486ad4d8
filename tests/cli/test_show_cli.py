from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import invoke, refused
from PIL import Image

import fredbench


def test_show_says_card_budget_and_progress(tiny_run: Path) -> None:
    done = invoke("show", tiny_run)
    assert done.code == 0, done.err
    for needle in ("# fred on digits", "30,720", "31,040", "10,240", "finished", "loss, first and last logged"):
        assert needle in done.out


def test_show_as_json_agrees_with_the_artefact(tiny_run: Path) -> None:
    facts = json.loads(invoke("show", "tiny", "--store", tiny_run.parent, "--format", "json").out)
    synset = fredbench.load(tiny_run)
    ledger = synset.ledger.to_mapping()
    assert {key: facts["budget"][key] for key in ledger} == ledger
    assert facts["progress"]["state"] == "finished" and facts["progress"]["last logged iteration"] == 2
    assert facts["run"]["dataset"] == "digits" and facts["header"]["method"] == "fred"


@pytest.mark.parametrize("form", ["csv", "latex", "markdown"])
def test_the_other_formats_hold_the_budget(tiny_run: Path, form: str) -> None:
    done = invoke("show", tiny_run, "--format", form)
    assert done.code == 0 and "31" in done.out
    if form == "csv":
        records = {(r["section"], r["item"]): r["value"] for r in csv.DictReader(io.StringIO(done.out))}
        assert records["budget", "params_strict"] == "31040"


def test_a_bare_synset_file_can_be_shown(tiny_run: Path) -> None:
    facts = json.loads(invoke("show", tiny_run / "synset.safetensors", "--format", "json").out)
    assert "progress" not in facts and facts["budget"]["params"] == 30720


def test_pictures_are_drawn_whole(tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "set.png"
    assert invoke("show", tiny_run, "--pictures", file).code == 0
    drawn = np.asarray(Image.open(file))
    picture = fredbench.load(tiny_run).pixels()[0].permute(1, 2, 0).numpy()
    large = picture.repeat(4, axis=0).repeat(4, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(drawn[34:162], (128, 128, 3)).squeeze()
    assert any(np.array_equal(window, large) for window in windows)
    assert [path.name for path in file.parent.iterdir()] == ["set.png"]


def test_an_unfinished_run_says_how_far_it_is(copied_run: Path, tmp_path: Path) -> None:
    for name in ("result.json", "synset.safetensors"):
        (copied_run / name).unlink()
    (copied_run / "progress.jsonl").write_text('{"iteration": 10, "loss": 3.5}\n{"iteration": 20, "loss"')
    facts = json.loads(invoke("show", copied_run, "--format", "json").out)
    assert "unfinished" in facts["progress"]["state"] and facts["progress"]["last logged iteration"] == 10
    assert invoke("show", copied_run).code == 0
    error, _ = invoke("show", copied_run, "--pictures", tmp_path / "x.png").problem()
    assert "no pictures yet" in error and not (tmp_path / "x.png").exists()


def test_bad_input_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    assert "no run 'nothing'" in invoke("show", "nothing", "--store", tmp_path).problem()[0]
    assert "PNG" in invoke("show", tiny_run, "--pictures", tmp_path / "x.jpeg").problem()[0]
    (tmp_path / "no.safetensors").write_text("text")
    assert "cannot be read" in invoke("show", tmp_path / "no.safetensors").problem()[0]


def test_fields_are_drawn_at_another_size_and_coefficients_are_not(tiny_run: Path, tmp_path: Path) -> None:
    made = invoke(
        *("distill", "digits", "--ipc", "1", "--method", "ddif", "--objective", "dm", "--preset", "quick"),
        *("--iterations", "1", "--network", "convnet-d3-w4-in", "--threads", "1", "--offline", "--store", tmp_path),
        *("--set", "parameterization.fit_steps=2", "--set", "objective.batch_real=8"),
    )
    assert made.code == 0, made.err
    sizes = []
    for side in (32, 96):
        file = tmp_path / f"{side}.png"
        done = invoke("show", made.folder, "--pictures", file, "--size", side)
        assert done.code == 0, done.err
        sizes.append(fredbench.load(made.folder).pixels(side).shape[2:])
        assert Image.open(file).height > 10 * side
    assert sizes == [(32, 32), (96, 96)]
    refused(tmp_path, "show", tiny_run, "--pictures", tmp_path / "no.png", "--size", 96, say="'fred' decodes at the")
    refused(tmp_path, "show", made.folder, "--size", 96, say="--size is of the pictures", hint="--pictures")
    assert not (tmp_path / "no.png").exists()
