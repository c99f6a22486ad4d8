"""`submit` and what `verify` makes of its file: every claim that is moved is found and named."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from commands import ROOT, Outcome, invoke
from PIL import Image

SCORED = ("--limit", 50, "--threads", 1, "--offline")


@pytest.fixture(scope="module")
def submitted(tiny_run: Path, small_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result file of the tiny run on two suites: the small one, and one without corruptions of another limit."""
    file = tmp_path_factory.mktemp("submitted") / "tiny.json"
    done = _submit(tiny_run, small_suite, file)
    assert done.code == 0, done.err
    assert done.out.strip() == str(file)
    return file


def _submit(run: Path, suite: Path, out: Path, *more: object) -> Outcome:
    return invoke("submit", run, "--suite", suite, "--store", run.parent, "--out", out, *SCORED, *more)


def _verify(file: Path, store: Path) -> tuple[Outcome, dict[str, str]]:
    done = invoke("verify", file, "--store", store, "--format", "json")
    return done, {} if done.code == 2 else {check["check"]: check["result"] for check in json.loads(done.out)}


def _changed(file: Path, change: Callable[[Any], Any], to: Path) -> Path:
    document = copy.deepcopy(json.loads(file.read_text()))
    change(document)
    to.write_text(json.dumps(document))
    return to


def test_it_holds_what_was_scored_with_all_that_made_it(submitted: Path, tiny_run: Path) -> None:
    document = json.loads(submitted.read_text())
    assert document["name"] == "fred (dm × fred), IPC 1" and document["sets"].keys() == {"entry", "start", "control"}
    entry = document["sets"]["entry"]
    assert entry["run"] == "tiny" and entry["made_by"].startswith("fredbench distill digits --ipc 1 ")
    assert entry["ledger"]["params_strict"] == 31_040 and entry["bytes"]["stored"] == 30_720 * 4 + 10 * 128
    (score,) = document["scores"]
    assert score["pictures"] == {"clean": 50, "brightness": 50, "contrast": 50} and score["severities"] == [1, 5]
    for row in score["rows"].values():
        assert len(row["clean"]["values"]) == row["students"] == 2
        assert [len(each) for each in row["corruptions"]["contrast"]["by_student"]] == [2, 2]
    assert document["scored_in"]["threads"] == 1 and document["scored_in"]["versions"]["torch"]


def test_it_is_the_same_bytes_again_and_tells_nothing_of_the_place(
    submitted: Path, tiny_run: Path, small_suite: Path, tmp_path: Path
) -> None:
    assert _submit(tiny_run, small_suite, tmp_path / "again.json").code == 0
    text = (tmp_path / "again.json").read_text()
    assert text == submitted.read_text()
    assert str(tiny_run.parent) not in text and str(ROOT) not in text and socket.gethostname() not in text


GIVEN = {
    "scores[0] two.entry.compared",
    *(f"scores[0] two.{role}.storage" for role in ("entry", "start", "control")),
}


def test_all_of_it_is_verified_where_run_and_data_are(submitted: Path, tiny_run: Path) -> None:
    done, results = _verify(submitted, tiny_run.parent)
    assert done.code == 0, done.err
    # The suite is the user's own: nothing comes with fredbench to hold it against.
    assert {check for check, result in results.items() if result != "ok"} == {"scores[0].suite", *GIVEN}
    assert results["sets.entry.bytes.coded"] == "ok"
    for role in ("entry", "start", "control"):
        assert {f"scores[0] two.{role}: predictions", f"scores[0] two.{role}: arithmetic"} <= results.keys()


def test_calibration_is_counted_again_as_far_as_a_file_says_it(
    submitted: Path, tiny_run: Path, small_suite: Path, tmp_path: Path
) -> None:
    """A file of an earlier version has fewer measures, which is no contradiction; a moved number is one."""
    asked = ("--store", tiny_run.parent, *SCORED, "--calibration", "--format", "json")
    scored = invoke("corrupt-eval", tiny_run, "--suite", small_suite, *asked)
    assert scored.code == 0, scored.err
    said = json.loads(scored.out)["rows"][0]["calibration"]

    def earlier(document: Any) -> None:
        _entry(document)["calibration"] = {
            domain: {name: found[name] for name in ("nll", "ece")} for domain, found in said.items()
        }

    whole = _changed(submitted, lambda document: _entry(document).update(calibration=said), tmp_path / "whole.json")
    older = _changed(submitted, earlier, tmp_path / "older.json")
    assert [_verify(file, tiny_run.parent)[0].code for file in (whole, older)] == [0, 0]
    for key, place in (("brier", "mean"), ("ece", "mean")):
        moved = _changed(whole, _by(0.5, *ROW, "calibration", "clean", key, place), tmp_path / "moved.json")
        done, results = _verify(moved, tiny_run.parent)
        assert done.code == 1 and results[f"scores[0] two.entry.calibration.clean.{key}.{place}"] == "MISMATCH"


def test_what_is_not_at_hand_is_said_and_no_failure(submitted: Path, tmp_path: Path) -> None:
    done, results = _verify(submitted, tmp_path / "empty")
    assert done.code == 0
    open_ = {check for check, result in results.items() if result == "not checked"}
    assert open_ == {"scores[0].suite", "sets.entry: run", "sets.start: run", "sets.control: run", *GIVEN}


def _entry(document: Any) -> Any:
    return document["scores"][0]["rows"]["entry"]


def _by(amount: float, *keys: Any) -> Callable[[Any], None]:
    """Add to the number at the end of `keys`."""

    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] += amount

    return change


ROW = ("scores", 0, "rows", "entry")
MOVED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "mean": (_by(0.001, *ROW, "clean", "mean"), "scores[0] two.entry.clean.mean"),
    "deviation": (_by(0.001, *ROW, "average", "std"), "scores[0] two.entry.average.std"),
    "interval": (_by(-1, *ROW, "clean", "ci95", 0), "scores[0] two.entry.clean.ci95[0]"),
    "value": (_by(2, *ROW, "clean", "values", 1), "scores[0] two.entry.clean.mean"),
    "share": (_by(0.5, *ROW, "clean", "values", 1), "scores[0] two.entry.clean.values"),
    "student": (_by(2, *ROW, "corruptions", "contrast", "by_student", 0, 1), "scores[0] two.entry.average.mean"),
    "severity": (_by(-2, *ROW, "corruptions", "contrast", "by_severity", 1), "corruptions.contrast.by_severity[1]"),
    "drop": (_by(1, *ROW, "drop"), "scores[0] two.entry.drop"),
    "control": (_by(1, "scores", 0, "rows", "control", "clean", "mean"), "scores[0] two.control.clean.mean"),
    "fewer scalars": (_by(-10_000, *ROW, "params"), "scores[0] two.entry.params"),
    "ledger": (_by(-20, "sets", "entry", "ledger", "params_strict"), "sets.entry.ledger.params_strict"),
    "masks": (_by(-3_200, "sets", "entry", "ledger", "mask_bits"), "sets.entry.ledger.params_strict"),
    "budget": (_by(-1, "sets", "entry", "budget"), "sets.entry.budget"),
    "bytes": (_by(-1, "sets", "entry", "bytes", "stored"), "sets.entry.bytes.stored"),
    "coded": (_by(-1, "sets", "entry", "bytes", "coded"), "sets.entry.bytes.coded"),
    "comparison": (_by(3, *ROW, "compared", 0, "difference"), "scores[0] two.entry.compared[0].difference"),
    "spec": (_by(1, "sets", "entry", "spec", "run", "seed"), "sets.entry.spec_sha256"),
    "recipe": (_by(1, "sets", "control", "spec", "student", "epochs"), "sets.control.spec.student.epochs"),
    "constants": (_by(1, "scores", 0, "suite", "constants", "seed"), "scores[0] two.suite.digest"),
    "students": (_by(1, *ROW, "students"), "scores[0] two.entry.students"),
    "data": (lambda d: d["data"].update(fingerprint="0" * 64), "data.fingerprint"),
    "tensors": (lambda d: d["sets"]["entry"].update(tensors_sha256="0" * 64), "sets.entry.tensors_sha256"),
    "method": (lambda d: _entry(d).update(method="dm"), "scores[0] two.entry.method"),
    "a false start": (lambda d: _entry(d).update(start=True), "scores[0].rows.entry.start"),
    "less corrupted": (lambda d: _entry(d)["corruptions"].pop("contrast"), "scores[0] two.entry.corruptions"),
    "schema": (lambda d: _entry(d)["clean"].update(mean=140), "scores[0].rows.entry.clean.mean: 140 is above 100"),
}  # fmt: skip


@pytest.mark.parametrize("how", MOVED)
def test_a_claim_that_was_moved_is_found_and_named(how: str, submitted: Path, tiny_run: Path, tmp_path: Path) -> None:
    change, place = MOVED[how]
    done, results = _verify(_changed(submitted, change, tmp_path / "moved.json"), tiny_run.parent)
    wrong = [check for check, result in results.items() if result == "MISMATCH"]
    assert done.code == 1 and any(place in check for check in wrong), wrong
    assert place in done.err and "Traceback" not in done.err


def test_numbers_that_fit_each_other_and_were_never_predicted_are_found(
    submitted: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """The start's accuracies in the place of the entry's: all arithmetic holds, the predictions say otherwise."""

    def change(document: Any) -> None:
        start = document["scores"][0]["rows"]["start"]
        for key in ("clean", "average", "drop", "corruptions", "mce", "relative_mce"):
            _entry(document)[key] = start[key]
        _entry(document)["clean"] = document["scores"][0]["rows"]["control"]["clean"]
        for key in ("average", "drop", "corruptions"):
            _entry(document)[key] = document["scores"][0]["rows"]["control"][key]
        # What was compared says how far apart they were: a liar leaves it out.
        del _entry(document)["compared"]

    moved = _changed(submitted, change, tmp_path / "moved.json")
    assert _verify(moved, tmp_path / "empty")[0].code == 0
    done, results = _verify(moved, tiny_run.parent)
    assert done.code == 1 and results["scores[0] two.entry: predictions"] == "MISMATCH"
    assert results["scores[0] two.entry: arithmetic"] == "ok"


def test_a_set_that_was_altered_since_is_found(submitted: Path, tiny_run: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_run.parent, store)
    file = store / "tiny" / "synset.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    tensors["coefficients"].flatten()[0] += 1
    file.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    done, results = _verify(submitted, store)
    assert done.code == 1 and results["tensors' checksum"] == "MISMATCH"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "fredbench-result/9"}'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    invoke("verify", tmp_path / "result.json").problem()


def test_an_older_form_says_what_to_do() -> None:
    error, hint = invoke("verify", ROOT / "results" / "twelve-digits-ipc1.json").problem()
    assert "older form" in error and "fredbench submit" in hint


def test_a_name_that_is_none_and_a_run_that_is_not_there_are_refused(
    tiny_run: Path, small_suite: Path, tmp_path: Path
) -> None:
    assert _submit(tiny_run, small_suite, tmp_path / "out.json", "--name", "").code == 2
    invoke("submit", "nothing", "--store", tiny_run.parent, "--out", tmp_path / "out.json").problem()
    assert not (tmp_path / "out.json").exists()


def test_the_board_shows_it_with_what_it_says(submitted: Path, tmp_path: Path) -> None:
    done = invoke("board", submitted, "--out", tmp_path / "site")
    assert done.code == 0, done.err
    front = (tmp_path / "site" / "index.html").read_text()
    assert "fred (dm × fred), IPC 1" in front and "bytes stored" in front and "digits, two, 50 test pictures" in front
    assert len(list((tmp_path / "site" / "rows").iterdir())) == 3


def test_a_folder_of_pictures_is_told_by_its_name_alone(tmp_path: Path) -> None:
    """Neither the path of the pictures nor what a run has of it in its name; all holds beside the run."""
    draws = np.random.default_rng(0)
    for split, label, count in itertools.product(("train", "test"), ("ant", "bee"), range(8)):
        file = tmp_path / "secret" / "flowers" / split / label / f"{count}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    folder, store = f"folder:{tmp_path / 'secret' / 'flowers'}", tmp_path / "store"
    pixels = ("--method", "random", "--ipc", 1, "--preset", "quick", "--network", "convnet-d3-w8-in", "--threads", 1)
    few = ("--set", "student.epochs=1", "--set", "student.students=2", "--offline")
    made = invoke("distill", folder, *pixels, *few, "--store", store)
    assert made.code == 0, made.err
    done = invoke("submit", made.folder, "--store", store, "--threads", 1, "--offline", "--out", tmp_path / "out.json")
    assert done.code == 0, done.err
    text = (tmp_path / "out.json").read_text()
    assert "secret" not in text and json.loads(text)["data"]["dataset"] == "folder:flowers"
    beside, results = _verify(tmp_path / "out.json", store)
    assert beside.code == 0, beside.err
    assert results["scores[0] clean.entry: predictions"] == "ok" and results["data.fingerprint"] == "ok"
    assert _verify(tmp_path / "out.json", tmp_path / "none")[0].code == 0
