"""Every system by its own `--method` name: distilled, verified, within its budget, and scored beside its control.

One store for all: as in a study, systems share experts and, where students are alike, the control.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import invoke

import fredbench
from fredbench.recipes.methods import METHODS
from fredbench.runs.store import Store

ITERATIONS = 2
NETWORK = "convnet-d3-w4-in"
# By objective, then by name: what makes a step, and what comes before the first one, a moment's work.
SMALL: dict[str, tuple[str, ...]] = {
    "none": ("epochs=1",),
    **dict.fromkeys(("dc", "dsa"), ("batch_real=8", "epochs=1")),
    "cafe": ("batch_real=8", "batch_probe=8", "most_rounds=2", "most_epochs=1"),
    "idc": ("batch_real=8", "train_pictures=16"),
    "dm": ("batch_real=8",),
    "tm": ("steps=2", "experts=1", "expert_epochs=1", "start_epochs=1", "expert_batch=1000"),
    **dict.fromkeys(("kip", "label-solve"), ("kernel=fc2", "batch_real=40")),
    "frepo": ("batch_real=40", "pool=2", "max_age=4"),
}
STORED = {
    "haba": ("parameterization.extractor_width=8",),
    **dict.fromkeys(("ddif", "gsdd"), ("parameterization.fit_steps=5",)),
}
OWN_NETWORK = {"frepo": "frepo-d2-w4-bn"}
BUDGET = 10 * 3 * 32 * 32


def command(name: str) -> tuple[str, ...]:
    """`fredbench distill` of the system, tiny; only a matching system takes a number of iterations."""
    method = METHODS.get(name)
    settings = [f"objective.{each}" for each in SMALL[method.objective]] if name != "random" else []
    settings += ["student.epochs=1", "student.students=2"]
    settings += STORED.get(method.parameterization, ())
    steps = ("--iterations", str(ITERATIONS)) if method.objective != "none" else ()
    return (
        *("distill", "digits", "--ipc", "1", "--preset", "quick", "--method", name, *steps),
        *("--network", OWN_NETWORK.get(name, NETWORK), "--threads", "1", "--offline"),
        *(word for setting in settings for word in ("--set", setting)),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("name", METHODS)
def test_a_system_runs_by_its_name_and_is_scored(name: str, store: Path) -> None:
    chosen = METHODS.get(name).objective == "none"
    made = invoke(*command(name), "--store", store)
    assert made.code == 0, made.err
    run = Store(store).find(made.folder.name)
    assert run.finished and invoke("verify", made.folder).code == 0
    spec, synset = run.spec(), fredbench.load(made.folder)
    assert (spec.method, spec.objective) == (name, METHODS.get(name).objective)
    assert spec.parameterization == METHODS.get(name).parameterization
    assert synset.header["spec_sha256"] == spec.digest()
    assert synset.header["iterations"] == (0 if chosen else ITERATIONS)
    assert 0.9 * BUDGET < synset.ledger.params <= spec.budget == BUDGET
    assert bool(synset.images.isfinite().all()) and synset.images.shape[1:] == (3, 32, 32)

    scored = invoke(
        *("evaluate", made.folder, "--store", store, "--offline", "--threads", 1, "--limit", 50, "--format", "json")
    )
    assert scored.code == 0, scored.err
    rows = json.loads(scored.out)["rows"]
    # The row itself; what it started from, where there was a start; random pictures, where it is not those itself.
    wanted = [(name, name == "random", False)]
    wanted += [] if chosen else [(name, False, True)]
    wanted += [] if name == "random" else [("random", True, False)]
    assert [(row["method"], row["control"], row["start"]) for row in rows] == wanted
    for row in rows:
        assert row["students"] == row["clean"]["n"] == 2 and 0 <= row["clean"]["mean"] <= 100
        assert row["params"] <= BUDGET
    folders = [Path(row["run"]) for row in rows]
    assert len(set(folders)) == len(folders) and folders[0] == made.folder


def test_every_system_has_a_tiny_form() -> None:
    """A system that is added without one is told here, and not by minutes of its published settings."""
    assert {method.objective for method in METHODS.values()} <= SMALL.keys()
