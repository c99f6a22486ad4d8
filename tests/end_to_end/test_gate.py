"""The regression gate: deliberate faults are caught and named, honest reruns pass."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from commands import Outcome, invoke

from fredbench.corruptions import engine, severities
from fredbench.evaluation import scoring
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.packed import packed, unpacked
from fredbench.parameterizations import frequency
from fredbench.runs import assembly
from fredbench.training import batches, loop, preprocessing

CORRUPTIONS = """
name = "two"
title = "two corruptions of the digits"
dataset = "digits"
profile = "cifar"
corruptions = ["brightness", "contrast"]
severities = [1, 5]
"""
GRID = """
kind = "grid"
name = "gate"
title = "two storages, one of them whitened"
objectives = ["dm"]
parameterizations = ["pixels", "fred"]

[[datasets]]
name = "digits"
scored_on = "{suite}"
ipcs = [1]
preset = "quick"
limit = 40
students = 2
iterations = 1
network = "convnet-d2-w4-in"
set = ["student.epochs=8", "objective.batch_real=8"]
{changes}
"""
WHITENED = """
[[changes]]
parameterization = "pixels"
why = "to hold whitening too"
set = ["data.whitening=mtt"]
"""


class Gate:
    """A grid, its reference by a few seeds, and checks of it in stores of their own."""

    def __init__(self, folder: Path, seeds: int, changes: str = "") -> None:
        self.folder, self.count = folder, 0
        (folder / "two.toml").write_text(CORRUPTIONS)
        (folder / "gate.toml").write_text(GRID.format(suite=folder / "two.toml", changes=changes))
        self.file = folder / "reference.json"
        asked = [word for seed in range(seeds) for word in ("--seed", seed)]
        made = invoke("check", "--record", self.file, folder / "gate.toml", *asked, "--store", folder / "runs", *ONE)
        assert made.code == 0, made.err

    def check(self, seed: int, *more: object) -> Outcome:
        self.count += 1
        store = self.folder / f"runs-{self.count}"
        # What a whitening is fitted to is the data's, not the seed's; to fit it anew takes most of the time.
        if (self.folder / "runs" / "whitening").is_dir():
            shutil.copytree(self.folder / "runs" / "whitening", store / "whitening")
        return invoke("check", "--reference", self.file, "--seed", seed, "--store", store, *ONE, *more)


ONE = ("--threads", 1, "--offline")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"), 3)


@contextlib.contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """An attribute in place of which stands what `make` makes of it."""
    with mock.patch.object(owner, name, make(getattr(owner, name))):
        yield


def random_mask(ratio: torch.Tensor, k: int) -> torch.Tensor:
    return torch.randperm(ratio.numel(), generator=torch.Generator().manual_seed(0))[:k]


def shifted_labels(init: Any) -> Any:
    def made(self: Any, images: Any, labels: Any, **more: Any) -> None:
        init(self, images, (labels + 1) % more["classes"], **more)

    return made


def swapped(own: Any) -> Any:
    """Mean for deviation and deviation for mean, but where a recipe has none of its own: zeros divide nothing."""

    def made(images: Any, mean: Any, std: Any, *more: Any, **named: Any) -> Any:
        return own(images, *((std, mean) if all(mean) else (mean, std)), *more, **named)

    return made


def _tenth(optimiser: Any, rate: float) -> None:
    for settings in optimiser.param_groups:
        settings["lr"] = rate / 10


def harder(name: str) -> AbstractContextManager[Any]:
    table = severities._TABLES["cifar"]
    return mock.patch.dict(table, {name: (*table[name][1:], table[name][-1])})


Fault = tuple[Callable[[], AbstractContextManager[Any]], str]
# What is done, and a quantity of a row that must be named.
FAULTS: dict[str, Fault] = {
    "mask at random": (
        lambda: replaced(frequency, "top_positions", lambda _: random_mask), r"dm × fred, ipc 1: start at seed 0, std"
    ),
    "mean and std swapped": (
        lambda: replaced(preprocessing, "normalise", lambda own: swapped(own)),
        r"dm × \w+, ipc 1: test pictures given, mean",
    ),
    "augmentation dropped": (
        lambda: replaced(loop, "apply_stages", lambda _: lambda draws, images, constants: images),
        r"dm × \w+, ipc 1: student of fixed pictures, way",
    ),
    "learning rate × 0.1": (
        lambda: replaced(loop, "_set_rate", lambda _: _tenth), r"dm × \w+, ipc 1: student of fixed pictures, way"
    ),
    "labels shifted by one": (
        lambda: replaced(batches.RealPictures, "__init__", shifted_labels), r"dm × \w+, ipc 1: start at seed 0, tilt"
    ),
    "test labels shifted by one": (
        lambda: replaced(TestDomains, "labels_of", lambda own: lambda self, name: (own(self, name) + 1) % 10),
        r"suite: labels is",
    ),
    "wrong severity": (lambda: harder("contrast"), r"suite: change by contrast 1"),
    "a corruption that does nothing": (
        lambda: mock.patch.dict(engine._MAKERS, {"contrast": lambda batch: batch.pictures}),
        r"suite: change by contrast 5",
    ),
    "a corruption skipped": (
        lambda: replaced(
            TestDomains, "names", lambda own: lambda self: tuple(n for n in own(self) if n != "contrast")
        ),
        r"dm × pixels, ipc 1: domains is",
    ),
    "whitening forgotten in training": (
        lambda: replaced(assembly, "fit_of", lambda _: lambda *a, **k: None),
        r"dm × pixels, ipc 1: start at seed 0, std",
    ),
    "whitening forgotten in scoring": (
        lambda: replaced(scoring, "fit_of", lambda _: lambda *a, **k: None),
        r"dm × pixels, ipc 1: test pictures given",
    ),
    "trained on the wrong split": (
        lambda: replaced(assembly, "training_split", lambda _: lambda dataset, split: dataset.test),
        r"dm × \w+, ipc 1( control)?: (start at seed 0|students' pictures)",
    ),
}  # fmt: skip


def caught(gate: Gate, fault: str, seed: int = 7) -> None:
    """The check ends in 1, its message says how many, and a line of the row and quantity is outside."""
    inject, named = FAULTS[fault]
    with inject():
        outcome = gate.check(seed, "--format", "json")
    assert outcome.code == 1, outcome.err[-2000:]
    lines = json.loads(outcome.out)["lines"]
    wrong = [line for line in lines if not line["holds"]]
    said = [f"{line['row']}: {line['quantity']} {'is missing' if line['found'] is None else 'is'}" for line in wrong]
    assert any(re.match(named, each) for each in said), said
    assert f"{len(wrong)} of {len(lines)} lines do not hold" in outcome.err and f"{wrong[0]['row']}: " in outcome.err
    assert "Traceback" not in outcome.err


def test_an_honest_rerun_passes_and_says_what_was_compared(gate: Gate) -> None:
    outcome = gate.check(11)
    assert outcome.code == 0, outcome.out
    lines = len(json.loads(gate.file.read_text())["lines"])
    assert f"{lines} of {lines} lines of gate.toml (smoke) hold" in outcome.out and "at most 0.01" in outcome.out
    assert "dm × fred, ipc 1 start" in outcome.out and "dm × pixels, ipc 1 control" in outcome.out
    # The same store again: nothing is made, the same is found.
    store = gate.folder / f"runs-{gate.count}"
    again = invoke("check", "--reference", gate.file, "--seed", 11, "--store", store, "--no-make", *ONE)
    assert again.code == 0 and again.out == outcome.out


@pytest.mark.parametrize("fault", ["augmentation dropped", "a corruption skipped"])
def test_a_fault_is_caught_and_its_row_named(gate: Gate, fault: str) -> None:
    caught(gate, fault)


def test_what_is_missing_in_a_store_is_named(gate: Gate, tmp_path: Path) -> None:
    outcome = invoke("check", "--reference", gate.file, "--store", tmp_path / "empty", "--no-make", *ONE)
    assert outcome.code == 1 and "MISSING" in outcome.out


def test_the_tiers_stored_and_published_read_the_store(gate: Gate, tmp_path: Path) -> None:
    file, grid = tmp_path / "stored.json", gate.folder / "gate.toml"
    made = invoke("check", "--record", file, grid, "--tier", "stored", "--store", gate.folder / "runs", *ONE)
    assert made.code == 0, made.err
    document = json.loads(file.read_text())
    assert {line["rule"] for line in document["lines"]} == {"students"} and document["lines"][0]["n"] == 2
    same = invoke("check", "--reference", file, "--store", gate.folder / "runs", *ONE)
    assert same.code == 0, same.err
    # Students of one set here, several sets there: two units, which are not compared.
    several = invoke("check", "--reference", file, "--seed", 0, "--seed", 1, "--store", gate.folder / "runs", *ONE)
    assert several.code == 2 and "sets of seed 0, and here are those of seed 0, 1" in several.err
    document["lines"][0]["value"] += 5000
    file.write_text(json.dumps(document))
    moved = invoke("check", "--reference", file, "--store", gate.folder / "runs", *ONE)
    assert moved.code == 1 and f"{document['lines'][0]['row']}: clean" in moved.err
    none = invoke("check", "--record", file, grid, "--tier", "published", "--store", gate.folder / "runs", *ONE)
    assert none.code == 2 and "no scored cell with a published number" in none.err


def test_a_run_is_compared_with_packed_predictions(gate: Gate, tmp_path: Path) -> None:
    """Of a run with itself every difference is 0, with others that of the means; other pictures are refused."""
    store, file = gate.folder / "runs", tmp_path / "kept.safetensors"
    made = invoke("compare", "--pack", file, gate.folder / "gate.toml", "--store", store, *ONE)
    assert made.code == 0 and f"{file.stat().st_size:,} bytes" in made.err, made.err
    run = next(path for path in sorted(store.glob("*-dm-ipc1-*-it1-s0-*")))
    students = {path: path.stat().st_mtime_ns for path in run.rglob("student-*")}
    two = ("--students", 2)  # as the grid has; the run's own number is another
    compared = invoke("compare", run, "--against", file, "--store", store, "--format", "json", *two, *ONE)
    assert compared.code == 0, compared.err
    document = json.loads(compared.out)
    own = next(each for each in document["against"] if each["run"] == run.name)
    assert own["clean_compared"]["difference"] == own["average_compared"]["difference"] == 0
    for each in document["against"]:
        difference = document["row"]["clean"]["mean"] - each["clean"]
        assert each["clean_compared"]["difference"] == pytest.approx(difference, abs=1e-3)
        assert each["clean_compared"]["pictures"] == 40 and each["clean_compared"]["model"] == "none"  # two students
    assert {path: path.stat().st_mtime_ns for path in run.rglob("student-*")} == students, "nothing is trained again"
    text = invoke("compare", run, "--against", file, "--store", store, *two, *ONE).out
    assert "n too small" in text and "dm × fred, ipc 1 start" in text
    with harder("contrast"):
        other = invoke("compare", run, "--against", file, "--store", store, *ONE)
    assert other.code == 2 and "of other pictures than digits has here: contrast" in other.err
    kept = unpacked(file)
    other_networks = [dataclasses.replace(row, network="convnet-d3-w8-in") for row in kept.rows]
    packed(dataclasses.replace(kept, rows=(*other_networks[:-1], kept.rows[-1])), tmp_path / "one", classes=10)
    one = invoke("compare", run, "--against", tmp_path / "one", "--store", store, *two, *ONE)
    assert one.code == 0 and "Left out" in one.out and "network convnet-d3-w8-in, not convnet-d2-w4-in" in one.out
    packed(dataclasses.replace(kept, rows=tuple(other_networks)), tmp_path / "none", classes=10)
    none = invoke("compare", run, "--against", tmp_path / "none", "--store", store, *two, *ONE)
    assert none.code == 2 and "no packed row is of the kind" in none.err
    file.write_bytes(file.read_bytes()[:-9])
    broken = invoke("compare", run, "--against", file, "--store", store, *ONE)
    assert broken.code == 2 and "cannot be read" in broken.err and "Traceback" not in broken.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give one of --reference"),
        (("--record", "x.json"), "needs the suite"),
        (("--reference", "{file}", "smoke"), "names its suite itself"),
        (("--reference", "no-such.json"), "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused(gate: Gate, arguments: tuple[str, ...], said: str) -> None:
    outcome = invoke("check", *(word.format(file=gate.file) for word in arguments))
    assert outcome.code == 2 and said in outcome.err


@pytest.fixture(scope="module")
def whitened(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("whitened"), 5, WHITENED)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_caught(whitened: Gate, fault: str) -> None:
    caught(whitened, fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 30))
def test_ten_honest_reruns_pass(whitened: Gate, seed: int) -> None:
    outcome = whitened.check(seed)
    assert outcome.code == 0, outcome.err
