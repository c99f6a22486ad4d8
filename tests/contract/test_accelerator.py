"""No step stops an accelerator's queue, but for what is named here with its reason: shown without an accelerator.

Real pictures are moved to torch's `meta` device, and a step is made there; see `stops`. The first operations on it
import torch's compiler, some ten seconds where there is no bytecode yet.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from spine import TINY_STARTS, set_of, spec_of
from stops import META, Stops
from torch import Tensor

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.rng import Stream
from fredbench.objectives import OBJECTIVES, Synthetic, Update
from fredbench.objectives.distribution import DistributionMatching
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.recipes.methods import METHODS
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder
from fredbench.training.batches import AlternativePictures, TensorPictures
from fredbench.training.experts import UntrainedExperts
from fredbench.training.loop import train

SOLVED = "torch refuses a singular system of the regression by asking whether it was solved, and a run must say so"
# What is read back in every step, and why, by objective.
READ_BACK: dict[str, dict[str, str]] = {
    "cafe": {
        "objectives/alignment.py FeatureAlignment._accuracy": "how many rounds there are depends on the accuracy",
    },
    "kip": {"networks/kernels/ridge.py ridge_prediction": SOLVED},
    "label-solve": {
        "networks/kernels/ridge.py ridge_prediction": SOLVED,
        "networks/kernels/ridge.py solved_labels": SOLVED,
    },
    "frepo": {"networks/kernels/ridge.py ridge_prediction": SOLVED},
}
# What is read back of a student whose rate is in units of the largest stable one.
STABLE_RATE = {"networks/kernels/empirical.py maximum_stable_rate": "its rate, once before it is trained"}
# What the outer loop reads at every tenth iteration and the last: for the log, and to refuse a run that diverged.
LOG = "runs/distillation.py _iterate"


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    return set_of(3, (16, 16))


def begun(pictures: Dataset, **asked: Any) -> Distillation:
    """A run whose pictures, networks and learned tensors are on the device without values."""
    return on_meta(spec_of(pictures, network="convnet-d1-w8-in", **asked), pictures)


def on_meta(spec: Spec, pictures: Dataset) -> Distillation:
    return Distillation(spec, pictures, META, lambda real: UntrainedExperts(expert_spec(spec, pictures)))


def stops_of(work: Callable[[], object]) -> dict[str, list[str]]:
    with Stops() as stops:
        work()
    return stops.found


@pytest.mark.parametrize(("objective", "parameterization"), list(itertools.product(OBJECTIVES, PARAMETERIZATIONS)))
def test_a_step_reads_back_what_is_named_only(pictures: Dataset, objective: str, parameterization: str) -> None:
    needs = OBJECTIVES.get(objective).needs - PARAMETERIZATIONS.get(parameterization).offers - {"experts"}
    if needs:
        with pytest.raises(CompatibilityError):
            begun(pictures, objective=objective, parameterization=parameterization)
        return
    run = begun(pictures, objective=objective, parameterization=parameterization)
    assert all(tensor.is_meta for tensor in run.state.learned.values())
    found = stops_of(run.step)
    assert found.keys() == READ_BACK.get(objective, {}).keys(), found


# What the pairs above, at their tiny settings, do not reach.
FURTHER = {
    "canvases decoded by several factors": ("dm", "idc", ("parameterization.mode=multi",)),
    "canvases bound to a number": ("dc", "idc", ("parameterization.mode=bound", "parameterization.bound=5")),
    "a batch of a class": ("dc", "haba", ("objective.batch_synthetic=1", "objective.rounds=2")),
    "feature maps and staged augmentation": ("idc", "idc", ("objective.match=feat", "objective.pretrain_epochs=1")),
    "batches of the student": ("tm", "haba", ("objective.batch=2",)),
    "an unrolled student": ("tm", "fred", ("objective.gradient=autograd", "objective.batch=5")),
    "batches of bases": ("dm", "haba", ("parameterization.contrast_batch=2",)),
    "another transform": ("dm", "fred", ("parameterization.transform=dft",)),
    "wavelets": ("dm", "fred", ("parameterization.transform=dwt",)),
}


@pytest.mark.parametrize("case", FURTHER)
def test_a_step_at_other_settings_reads_nothing_back(pictures: Dataset, case: str) -> None:
    objective, parameterization, overrides = FURTHER[case]
    run = begun(pictures, objective=objective, parameterization=parameterization, ipc=2, overrides=overrides)
    assert stops_of(run.step) == {}


@pytest.mark.parametrize(
    ("objective", "overrides"),
    [("kip", ("objective.kernel=empirical",)), ("frepo", ("objective.batch_network=2", "objective.max_age=10"))],
)
def test_learned_labels_are_solved_for_and_nothing_else(
    pictures: Dataset, objective: str, overrides: tuple[str, ...]
) -> None:
    labels = ("labels.form=centred", "labels.learned=true", *overrides)
    run = begun(pictures, objective=objective, parameterization="fred", overrides=labels)
    found = stops_of(lambda: [run.step() for _ in range(2)])
    assert found.keys() == READ_BACK[objective].keys(), found


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_of_a_student_reads_nothing_back(pictures: Dataset, method: str) -> None:
    """A student as every published system scores its sets: its network, its recipe, and the labels of its set."""
    # Of tens of thousands of steps of a fit one is as good as all here, and takes no minutes.
    overrides = TINY_STARTS.get(method, ())
    request = Request(ipc=1, method=method, preset="paper", iterations=0, overrides=overrides)
    spec = resolve(request, pictures, device="cpu", threads=1)
    run = begun(pictures, parameterization="pixels", iterations=0) if spec.is_choice else on_meta(spec, pictures)
    with torch.no_grad():
        shown = TensorPictures(*run.parameterization.decode(run.state))
    rows = run.parameterization.alternatives(run.state)
    recipe = dataclasses.replace(spec.student, epochs=1, batch_size=4, warmup=0)
    channels, classes = pictures.channels, len(pictures.classes)
    network = networks.build(
        spec.student_network, channels=channels, classes=classes, size=pictures.size, rng=Stream(0)
    ).to(META)
    learned_from = shown if rows is None else AlternativePictures(shown, rows)
    found = stops_of(lambda: train(network, learned_from, recipe, Stream(0)))
    assert found.keys() == (STABLE_RATE.keys() if recipe.lr_unit == "stable" else set()), found


def test_the_outer_loop_reads_every_tenth_iteration(pictures: Dataset) -> None:
    run = begun(pictures, objective="dm", parameterization="fred", iterations=12)
    file = io.StringIO()
    log = distillation._Log(file)
    with Stops() as stops:
        # No checkpoint is due, so nothing is written.
        distillation._iterate(run, RunFolder(Path("nowhere")), log, time.monotonic(), math.inf, lambda: None)
    assert stops.found == {LOG: ["reads a number"] * 2}
    assert [line.partition(",")[0] for line in file.getvalue().splitlines()] == ['{"iteration": 10', '{"iteration": 12']


def _after_waiting(pictures: Tensor) -> Tensor:
    return pictures * torch.ones(1).to(pictures.device)


# Ways in which a step comes to wait, each with what is said of it.
WAYS: dict[str, Callable[[Tensor], object]] = {
    "reads a number": lambda x: x.detach().mean().item(),
    "reads a number ": lambda x: float(x.detach().mean()),
    "reads a number  ": lambda x: bool((x > 0).any()),
    "copies back": lambda x: x.detach().cpu(),
    "copies back ": lambda x: x.detach().mean((1, 2, 3)).tolist(),
    "needs values: aten.nonzero": lambda x: (x > 0).nonzero(),
    "needs values: aten.bincount": lambda x: torch.bincount(x[:, 0, 0, 0].long()),
    "needs values: aten.equal": lambda x: torch.equal(x, x),
    "counts what a mask chooses": lambda x: x[x > 0],
    "sends positions and waits": lambda x: x[torch.arange(2)],
    "sends and waits": _after_waiting,
    "copies a list and waits": lambda x: x * torch.tensor([1.0], device=x.device),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_objective_that_waits_is_caught(pictures: Dataset, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    sound = DistributionMatching.iterate

    def iterate(self: DistributionMatching, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in sound(self, iteration, synthetic):
            WAYS[way](synthetic.decode()[0])
            yield update

    run = begun(pictures, objective="dm", parameterization="pixels")
    assert stops_of(run.step) == {}
    monkeypatch.setattr(DistributionMatching, "iterate", iterate)
    with Stops() as stops:
        try:
            run.step()
        except (AssertionError, NotImplementedError) as error:
            assert "values" in str(error) or "nonzero" in str(error)
    ((place, what),) = stops.found.items()
    assert place.startswith("tests/contract/test_accelerator.py") and what[0].startswith(way.strip()), what


def test_every_name_has_its_objective() -> None:
    assert READ_BACK.keys() <= set(OBJECTIVES)
