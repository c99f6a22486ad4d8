"""What a grid is said to take: by task and by cell, measured once a kind, scaled where measuring ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from spine import set_of
from torch import Tensor

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.execution import costs
from fredbench.execution.costs import Costs
from fredbench.execution.inline import GridRun
from fredbench.execution.making import Maker
from fredbench.execution.plan import plan_of
from fredbench.foundation.device import use_threads
from fredbench.foundation.rng import Stream
from fredbench.networks.names import ARITHMETICS
from fredbench.objectives.alignment import CAFEConfig, FeatureAlignment
from fredbench.objectives.alongside import IDCConfig, IDCMatching
from fredbench.objectives.gradient import DCConfig, GradientMatching
from fredbench.report.grid_table import plan_table
from fredbench.runs.spec import Spec
from fredbench.runs.store import Store
from fredbench.suites.grids import grid_named
from fredbench.training import loop, timing
from fredbench.training.batches import RealPictures
from fredbench.training.loop import PREDICTED_AT_ONCE, TrainingRecipe

GRID = """
kind = "grid"
name = "costs"
title = "costs"
methods = ["random", "herding", "dm", "tm"]
[[datasets]]
name = "digits"
scored_on = "digitsc"
ipcs = [1, 2]
preset = "quick"
iterations = 4
network = "convnet-d2-w4-in"
limit = 20
severities = [3]
students = 2
[datasets.set.student]
epochs = 10
[[changes]]
method = "random"
why = "no iterations"
iterations = 0
[[changes]]
method = "herding"
why = "no iterations"
iterations = 0
[changes.set.objective]
epochs = 20
[[changes]]
method = "dm"
why = "quick"
[changes.set.objective]
batch_real = 4
[[changes]]
method = "tm"
why = "quick"
[changes.set.objective]
experts = 2
steps = 2
expert_epochs = 1
start_epochs = 1
"""


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    file = tmp_path / "costs.toml"
    file.write_text(GRID)
    grid = grid_named(str(file))
    small: Dataset = dataclasses.replace(set_of(10, (16, 16), per_class=10), name="digits")
    run = GridRun(grid, grid.place(), small, Store(tmp_path / "runs"), torch.device("cpu"), use_threads(1), None)
    # Each measurement is a number that can be followed through the sums.
    monkeypatch.setattr(costs, "epoch_seconds", lambda blank, pictures, recipe, count=None: 1.0)
    monkeypatch.setattr(costs, "prediction_seconds", lambda blank, pictures: 0.001)
    monkeypatch.setattr(costs, "step_seconds", lambda spec, dataset, store: 5.0 * spec.ipc)
    return Maker(run, plan_of(run))


def seconds_of(found: Costs, kind: str, method: str, ipc: int) -> list[float]:
    tasks = [t for t in found.maker.plan.tasks.values() if (t.kind, t.spec.method, t.spec.ipc) == (kind, method, ipc)]
    return [cost.seconds for task in tasks if (cost := found.of(task)) is not None]


def test_tasks_cost_what_they_are_made_of(maker: Maker) -> None:
    found = Costs(maker)
    assert seconds_of(found, "run", "dm", 2) == [4 * 10.0, 0.0]  # and its start
    assert seconds_of(found, "expert", "tm", 1) == [1.0, 1.0]  # an epoch each, as far as matching reads
    assert set(seconds_of(found, "student", "dm", 1)) == {10.0}
    # Two students: 20 clean pictures and 15 corruptions at one severity.
    assert seconds_of(found, "scores", "dm", 1) == pytest.approx([2 * 16 * 20 * 0.001] * 2)
    assert seconds_of(found, "run", "random", 1) == [0.0]
    # The network of herding is trained for twenty epochs, once for both budgets.
    assert seconds_of(found, "run", "herding", 1) + seconds_of(found, "run", "herding", 2) == [20.0, 0.0]


def test_a_cell_costs_what_those_above_it_do_not_share(maker: Maker) -> None:
    found = Costs(maker)
    cells = found.by_cell()
    assert len(cells) == 8 and all(cell is not None and cell.disk > 0 for cell in cells)
    total = sum(cost.seconds for task in maker.plan.tasks.values() if (cost := Costs(maker).of(task)) is not None)
    # Herding's network stands in every account that is begun anew.
    assert sum(cell.seconds for cell in cells if cell is not None) == pytest.approx(total - 20.0)


def test_measuring_ends_and_the_rest_is_scaled_or_unknown(maker: Maker) -> None:
    found = Costs(maker, limit=0.0)
    cells = dict(zip([p.cell.label for p in maker.plan.planned], found.by_cell(), strict=True))
    assert cells["dm, ipc 1"] is None and cells["random, ipc 1"] is not None
    text = plan_table(maker.grid_run, maker.plan.planned, "table", Costs(maker, limit=0.0))
    assert "unknown" in text and "4 of 8 cells have no estimate" in text
    begun = Costs(maker)
    first = next(t for t in maker.plan.tasks.values() if (t.kind, t.spec.method, t.spec.ipc) == ("run", "dm", 1))
    begun.of(first)
    begun.limit = 0.0
    other = next(t for t in maker.plan.tasks.values() if (t.kind, t.spec.method, t.spec.ipc) == ("run", "dm", 2))
    cost = begun.of(other)
    assert cost is not None and cost.scaled and cost.seconds == 4 * 5.0 * 2
    assert "~" in plan_table(maker.grid_run, maker.plan.planned, "table", begun)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_experts_are_planned_where_runs_put_them(arithmetic: str, tmp_path: Path) -> None:
    file = tmp_path / "experts.toml"
    few = GRID[GRID.index("[changes.set.objective]\nexperts") :].replace("changes", "datasets")
    head = GRID[: GRID.index("[datasets.set.student]")].replace('"random", "herding", "dm", "tm"', '"tm"')
    file.write_text(f'{head}[datasets.set.run]\narithmetic = "{arithmetic}"\n{few}')
    grid = grid_named(str(file))
    small: Dataset = dataclasses.replace(set_of(10, (16, 16), per_class=10), name="digits")
    run = GridRun(grid, grid.place(), small, Store(tmp_path / "runs"), torch.device("cpu"), use_threads(1), None)
    maker = Maker(run, plan_of(run))
    tasks = list(maker.plan.tasks.values())
    experts, (first, *_) = [t for t in tasks if t.kind == "expert"], [t for t in tasks if t.kind == "run"]
    assert len(experts) == 2 and first.spec.arithmetic == arithmetic and not any(map(maker.done, experts))
    # The run trains what it lacks by itself.
    assert maker.make(first).state == "made"
    assert all(map(maker.done, experts))


@pytest.mark.parametrize("precision", ["fused", "fused-bf16"])
def test_an_iteration_is_measured_by_its_own_arithmetic(
    precision: str, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "step_seconds", lambda spec, *_: 7.0 if spec.arithmetic == "fused-bf16" else 3.0)
    found = Costs(maker)
    (task,) = [t for t in maker.plan.tasks.values() if (t.kind, t.spec.method, t.spec.ipc) == ("run", "dm", 1)][:1]
    found.of(task)
    same = dataclasses.replace(task, spec=dataclasses.replace(task.spec, arithmetic=precision))
    cost = found.of(same)
    assert cost is not None and cost.seconds == task.spec.iterations * (7.0 if precision == "fused-bf16" else 3.0)


def test_nothing_is_made_by_an_estimate(maker: Maker) -> None:
    Costs(maker).by_cell()
    assert not list(maker.grid_run.store.root.glob("*"))


def test_a_budget_that_would_take_longer_than_is_left_is_scaled(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of ten times the pictures is not begun in the last seconds of measuring."""
    clock = [0.0]

    def step(spec: Spec, dataset: Dataset, store: Path) -> float:
        clock[0] += 6.0 * spec.ipc
        return 5.0

    monkeypatch.setattr(costs, "step_seconds", step)
    monkeypatch.setattr(costs.time, "monotonic", lambda: clock[0])
    tasks = {(t.spec.method, t.spec.ipc): t for t in maker.plan.tasks.values() if t.kind == "run" and t.spec.iterations}
    for limit, scaled in ((20.0, False), (17.0, True)):
        clock[0] = 0.0
        found = Costs(maker, limit=limit)
        one, two = found.of(tasks["dm", 1]), found.of(tasks["dm", 2])
        assert one is not None and two is not None and not one.scaled and two.scaled is scaled


def test_shortened_iterations_say_how_much_longer_whole_ones_are() -> None:
    dc, few = GradientMatching.shortened(DCConfig(rounds=50, epochs=10), 1000)
    assert dc.rounds == 2 and few == pytest.approx((25 * 49) ** 0.5)
    for matching, training in ((1.0, 0.0), (0.0, 1.0), (1.0, 3.0)):
        whole, seen = 50 * matching + 49 * training, 2 * matching + training
        assert 2**-0.5 <= few * seen / whole <= 2**0.5
    assert GradientMatching.shortened(DCConfig(), 1000) == (DCConfig(), 1.0)
    cafe, few = FeatureAlignment.shortened(CAFEConfig(), 1000)
    assert (cafe.most_rounds, cafe.batch_real) == (2, 128) and few == CAFEConfig().window
    # Three epochs of 1,000 pictures for a hundred iterations: 30 pictures for each.
    assert IDCMatching.shortened(IDCConfig(pretrain_epochs=3), 1000) == (IDCConfig(train_pictures=530), 1.0)


@pytest.mark.parametrize(("each", "asked"), [
    (0.0001, [16, 16, 256, 768]),  # quick: three batches, warm
    (0.004, [16, 16, 256]),  # a batch takes a second
    (0.05, [16, 16]),  # a batch takes 13 seconds
    (1.0, [16]),  # a batch takes minutes
])  # fmt: skip
def test_wide_networks_are_timed_on_few_pictures(
    each: float, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = [0.0], list[int]()

    def do(few: int) -> None:
        seen.append(few)
        clock[0] += each * few

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    assert timing._timed(do, 256, 10_000) == pytest.approx(each)
    assert seen == asked


def test_a_rate_that_is_asked_for_is_no_part_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """FRePo's students ask each network once for the largest rate that it stands, for as long as many epochs take."""
    monkeypatch.setattr(loop, "maximum_stable_rate", lambda *arguments, **settings: pytest.fail("asked for"))
    data = set_of(2, (8, 8), per_class=10)
    pictures = RealPictures(
        data.train.images, data.train.labels, mean=data.mean, std=data.std, classes=2, device=torch.device("cpu")
    )
    recipe = TrainingRecipe(lr_unit="stable", augmentation="none")

    def blank(rng: Stream) -> networks.Network:
        return networks.build("convnet-d1-w4-in", channels=data.channels, classes=2, size=(8, 8), rng=rng)

    assert timing.epoch_seconds(blank, pictures, recipe) > 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_predictions_are_timed_as_they_are_made(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared by the batch, a batch a thread, so that what threads gain is in the estimate."""
    seen: list[tuple[int, int]] = []
    images = RealPictures.images

    def noted(pictures: RealPictures, index: Tensor) -> Tensor:
        seen.append((len(index), torch.get_num_threads()))
        return images(pictures, index)

    monkeypatch.setattr(RealPictures, "images", noted)
    levels, before = np.zeros((1200, 8, 8, 3), np.uint8), torch.get_num_threads()
    pictures = RealPictures(
        levels, np.arange(1200) % 3, mean=(0.5,) * 3, std=(0.2,) * 3, classes=3, device=torch.device("cpu")
    )

    def blank(stream: Stream) -> networks.Network:
        network = networks.build("convnet-d1-w4-in", classes=3, size=8, rng=stream)
        network.arithmetic = "fused"
        return network

    torch.set_num_threads(threads)
    try:
        assert timing.prediction_seconds(blank, pictures) > 0
    finally:
        torch.set_num_threads(before)
    # Two small ones, a batch a thread to warm up, and three times as many.
    assert seen[2:] == [(PREDICTED_AT_ONCE, 1)] * 4 * threads
