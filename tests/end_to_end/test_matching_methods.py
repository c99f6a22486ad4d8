"""Every matching method and choice of pictures by its own name: tiny runs on digits, stopped and taken up again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from commands import invoke

import fredbench
from fredbench.datasets import load_dataset
from fredbench.foundation.errors import UsageError
from fredbench.parameterizations.budget import Budget
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import Distillation
from fredbench.runs.spec import Spec
from fredbench.training.optimisation import Optimisers, ParameterGroup

CHOICES, MATCHING = ("herding", "k-centre"), ("dc", "dsa", "cafe", "cafe-dsa", "idc")
TINY = ("objective.batch_real=8",)
SMALLER = {"idc": ("objective.train_pictures=32", "objective.renew=3"), **dict.fromkeys(CHOICES, ())}
STORED = {"pixels": "pixels", "idc": "canvases", "fred": "coefficients"}


def spec_of(method: str | None, iterations: int = 4, **asked: object) -> Spec:
    overrides = (() if method in CHOICES else TINY) + SMALLER.get(method or "", ())
    request = Request(
        ipc=1,
        method=method,
        preset="quick",
        iterations=None if method in CHOICES else iterations,
        network="convnet-d3-w8-in",
        overrides=overrides,
    )
    return resolve(dataclasses.replace(request, **asked), load_dataset("digits"), device="cpu", threads=1)


def begun(spec: Spec) -> Distillation:
    return Distillation(spec, load_dataset("digits"), torch.device("cpu"))


@pytest.mark.parametrize("method", MATCHING)
def test_a_run_taken_up_in_the_middle_ends_in_the_same_bits(method: str) -> None:
    spec = spec_of(method)
    through = begun(spec)
    for _ in range(2):
        through.step()
    saved = safetensors.torch.save(through.to_tensors())
    resumed = begun(spec)
    resumed.from_tensors(safetensors.torch.load(saved))
    for _ in range(2):
        through.step(), resumed.step()
    ends = [run.to_tensors() for run in (through, resumed)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    key = f"learned/{STORED[spec.parameterization]}"
    assert not torch.equal(ends[0][key], begun(spec).to_tensors()[key])


@pytest.mark.parametrize("method", [*CHOICES, *MATCHING])
def test_by_name_from_the_command_line_to_a_verified_file(method: str, tmp_path: Path) -> None:
    spec = spec_of(method, iterations=2)
    sets = [
        word for name in (*(() if method in CHOICES else TINY), *SMALLER.get(method, ())) for word in ("--set", name)
    ]
    command = ("distill", "digits", "--ipc", "1", "--preset", "quick", "--network", "convnet-d3-w8-in", "--offline")
    steps = () if method in CHOICES else ("--iterations", "2")
    made = invoke(*command, "--method", method, *steps, "--threads", "1", *sets, "--store", tmp_path)
    assert made.code == 0, made.err
    synset = fredbench.load(made.folder)
    synset.verify()
    assert invoke("verify", made.folder).code == 0
    assert synset.header["spec_sha256"] == spec.digest()
    assert synset.header["iterations"] == (0 if method in CHOICES else 2)
    decoded = 40 if method == "idc" else 10
    assert synset.images.shape == (decoded, 3, 32, 32) and synset.labels.bincount().tolist() == [decoded // 10] * 10
    assert synset.ledger.params == synset.ledger.params_strict == 30_720
    if method == "idc":
        assert float(synset.tensors["canvases"].min()) >= 0 and float(synset.tensors["canvases"].max()) <= 1
    if method not in CHOICES:
        (last,) = (json.loads(line) for line in (made.folder / "progress.jsonl").read_text().splitlines())
        assert last["iteration"] == 2 and last["loss"] > 0


def test_canvases_may_leave_their_bounds_between_clamps_but_not_in_a_file() -> None:
    run = begun(spec_of("idc"))
    with torch.no_grad():
        run.state.learned["canvases"] += 1
    run.step()
    assert float(run.state.learned["canvases"].detach().max()) > 1  # renew = 3: not clamped yet
    synset = run.synset(load_dataset("digits"))
    assert float(synset.tensors["canvases"].max()) == 1
    run = begun(spec_of("idc"))
    with torch.no_grad():
        run.state.learned["canvases"] += 1
    for _ in range(3):
        run.step()
    assert float(run.state.learned["canvases"].detach().max()) <= 1


def test_an_update_says_its_rate() -> None:
    ends = []
    for rate in (1.0, 0.5):
        learned = torch.ones(3, requires_grad=True)
        optimisers = Optimisers([ParameterGroup("learned", (learned,), lr=0.2)])
        for factor in (1.0, rate, 1.0):
            optimisers.zero_grad()
            learned.sum().backward()
            optimisers.step(factor)
        ends.append(float(learned.detach()[0]))
    # Momentum .5: steps of 1, 1.5 and 1.75 times the rate, the second of them halved.
    assert ends == pytest.approx([1 - 0.2 * (1 + 1.5 + 1.75), 1 - 0.2 * (1 + 0.75 + 1.75)])


@pytest.mark.parametrize("objective", ["dc", "dsa", "cafe", "idc"])
@pytest.mark.parametrize("parameterization", ["pixels", "fred", "idc"])
def test_every_objective_steps_through_every_storage(objective: str, parameterization: str) -> None:
    spec = spec_of(None, 1, objective=objective, parameterization=parameterization)
    run = begun(spec)
    key = f"learned/{STORED[parameterization]}"
    before = run.to_tensors()[key].clone()
    report = run.step()
    assert float(report["loss"]) > 0 and not torch.equal(before, run.to_tensors()[key])
    assert bool(run.to_tensors()[key].isfinite().all())
    Budget(spec.budget, 10, (3, 32, 32)).check(run.ledger)


@pytest.mark.parametrize("method", CHOICES)
def test_a_choice_is_no_start_and_has_a_control(method: str, tmp_path: Path) -> None:
    spec = spec_of(method)
    assert spec.is_choice and not spec.is_start and not spec.is_control and spec.iterations == 0
    assert spec.control().is_control and spec.control().student == spec.student
    run = fredbench.distill(
        "digits",
        ipc=1,
        method=method,
        preset="quick",
        store=tmp_path,
        threads=1,
        network="convnet-d3-w8-in",
        overrides=("objective.epochs=1", "student.epochs=1"),
    )
    rows = fredbench.evaluate([run], store=tmp_path, students=2, limit=50, threads=1)
    assert [(row.method, row.control, row.start) for row in rows] == [(method, False, False), ("random", True, False)]


def test_published_settings_reach_the_spec() -> None:
    def paper(method: str, ipc: int = 1, **asked: object) -> Spec:
        return spec_of(method, ipc=ipc, preset="paper", network=None, overrides=(), **asked)

    dc = paper("dc", 10)
    assert (dc.objective_settings["rounds"], dc.objective_settings["epochs"]) == (10, 50)
    assert (dc.student.epochs, dc.student.augmentation) == (300, "none")
    assert (dc.parameterization_settings["lr"], dc.parameterization_settings["init"]) == (0.1, "noise")
    assert paper("dc", iterations=None).iterations == 1000
    dsa = paper("dsa", 50)
    assert (dsa.objective_settings["rounds"], dsa.objective_settings["epochs"]) == (50, 10)
    assert (dsa.student.epochs, dsa.parameterization_settings["init"]) == (1000, "real")
    cafe, with_dsa = paper("cafe", iterations=None), paper("cafe-dsa", iterations=None)
    assert cafe.iterations == 2000 and cafe.objective_settings["milestones"] == [1200, 1600, 1800]
    assert (cafe.student.epochs, cafe.student.augmentation, cafe.objective_settings["augmentation"]) == (
        600,
        "none",
        "none",
    )
    assert with_dsa.student.epochs == 1000 and with_dsa.student.augmentation != "none"
    assert "scale" in with_dsa.objective_settings["augmentation"]
    idc = paper("idc", 50, iterations=None)
    assert idc.iterations == 200_000 and idc.parameterization_settings["lr"] == pytest.approx(5e-3 * 5)
    assert (idc.student.batch_size, idc.student.schedule, idc.student.cutmix) == (64, "steps", 0.5)
    assert idc.student.drop_factor == 0.2 and idc.student.augmentation == "color+crop_scale_rotate"  # digits: no flip
    assert idc.student == idc.control().student == idc.start().student


@pytest.mark.parametrize("preset", ["fair", "quick"])
def test_other_presets_train_all_students_alike(preset: str) -> None:
    recipes = {spec_of(method, preset=preset).student for method in (*CHOICES, *MATCHING)}
    assert len(recipes) == 1


@pytest.mark.parametrize(("method", "objective"), [("herding", "dm"), ("dm", "none"), ("idc", "none")])
def test_a_choice_does_not_match_and_matching_does_not_choose(method: str, objective: str) -> None:
    with pytest.raises(UsageError, match="not"):
        spec_of(method, objective=objective, overrides=())
