"""Our training loop against the literature's evaluation schedule (golden eval_schedule.json)."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from vectors import holds

from fredbench.foundation.rng import Stream
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, train

REPOSITORIES = {"FreD/TM", "FreD/DC", "FreD/DM", "DatasetCondensation", "mtt"}
FIELDS = {
    "epochs_trained", "lr_run_lengths", "optimizer_recreated_before_epoch", "momentum_buffers_at_that_epoch",
    "optimizer", "momentum", "weight_decay", "nesterov", "dampening", "augment_train", "augment_test",
    "batch_size", "tests", "test_after_n_train_epochs",
}  # fmt: skip
TOLERANCE = 1e-12


class Linear(nn.Module):
    """The smallest student; it notes in which mode it was called and how many pictures it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.calls: list[tuple[bool, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append((self.training, len(images)))
        return self.layer(images.flatten(1))


def observed(epochs: int, rate: float) -> dict[str, Any]:
    """What our loop does, in the form of the file; every setting but epochs and rate is its default."""
    recipe = TrainingRecipe(epochs=epochs, lr=rate)
    quick = TrainingRecipe(epochs=epochs, lr=rate, augmentation="none")
    generator = torch.Generator().manual_seed(0)
    pictures = TensorPictures(torch.randn(4, 1, 2, 2, generator=generator), torch.tensor([0, 1, 0, 1]))
    network, seen = Linear(), []

    def note(epoch: int, optimiser: torch.optim.Optimizer) -> None:
        buffers = [entry.get("momentum_buffer") for entry in optimiser.state.values()]
        held = sum(buffer is not None for buffer in buffers)
        # The optimiser itself, not its id: an id may be given again to the next one.
        seen.append((epoch, optimiser, dict(optimiser.param_groups[0]), held))

    train(network, pictures, quick, Stream(0), on_epoch=note)
    assert [epoch for epoch, *_ in seen] == list(range(len(seen)))
    remade = [i for i, (before, after) in enumerate(itertools.pairwise(seen), 1) if before[1] is not after[1]]
    groups = [group for _, _, group, _ in seen]
    settings = {
        name: {group[name] for group in groups} for name in ("momentum", "weight_decay", "nesterov", "dampening")
    }
    return {
        "epochs_trained": len(network.calls),
        "lr_sequence": [group["lr"] for group in groups],
        "optimizer_recreated_before_epoch": remade,
        "momentum_buffers_at_that_epoch": [seen[epoch][3] for epoch in remade],
        "optimizer": type(seen[0][1]).__name__,
        **{name: values.pop() for name, values in settings.items() if len(values) == 1},
        "augment_train": recipe.augmentation != "none",
        # Nothing in the loop looks at another mode or scores on the way: the one test comes after.
        "augment_test": not all(training for training, _ in network.calls),
        "batch_size": recipe.batch_size,
        "test_after_n_train_epochs": len(seen),
        "buffers_elsewhere": {held for epoch, _, _, held in seen if epoch not in {0, *remade}},
    }


def run_lengths(rates: list[float]) -> list[list[float]]:
    return [[rate, len(list(group))] for rate, group in itertools.groupby(rates)]


def same_rates(found: list[float], wanted: list[float]) -> bool:
    return len(found) == len(wanted) and all(
        math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(found, wanted, strict=True)
    )


def check_run(wanted: dict[str, Any], found: dict[str, Any], *, smallest: bool) -> None:
    assert wanted.keys() >= FIELDS and wanted.keys() <= {*FIELDS, "lr_sequence"}, sorted(wanted)
    lengths = run_lengths(found["lr_sequence"])
    assert [n for _, n in lengths] == [n for _, n in wanted["lr_run_lengths"]]
    assert same_rates([rate for rate, _ in lengths], [rate for rate, _ in wanted["lr_run_lengths"]])
    assert not smallest or "lr_sequence" in wanted
    if "lr_sequence" in wanted:
        assert same_rates(found["lr_sequence"], wanted["lr_sequence"])
    for name in ("momentum", "weight_decay", "dampening"):
        assert math.isclose(found[name], wanted[name], rel_tol=TOLERANCE), name
    compared = {"momentum", "weight_decay", "dampening", "lr_run_lengths", "tests"}
    for name in FIELDS - compared:
        assert found[name] == wanted[name], name
    assert wanted["tests"] == 1
    # Momentum is lost at the rebuild because it was there before: all parameters hold a buffer elsewhere. (A run of
    # one epoch has no elsewhere.)
    assert found["buffers_elsewhere"] == ({2} if found["epochs_trained"] > 1 else set())


def check_document(document: dict[str, Any]) -> None:
    assert set(document) == {"lr_net", "runs"} and set(document["runs"]) == REPOSITORIES
    epochs = {name: sorted(map(int, runs)) for name, runs in document["runs"].items()}
    assert all(values for values in epochs.values())
    found = {e: observed(e, document["lr_net"]) for e in {e for values in epochs.values() for e in values}}
    for runs in document["runs"].values():
        for name, wanted in runs.items():
            check_run(wanted, found[int(name)], smallest=int(name) == min(map(int, runs)))


@pytest.fixture(scope="module")
def document(golden: Path) -> dict[str, Any]:
    return dict(json.loads((golden / "methods" / "eval_schedule.json").read_text()))


def test_every_run_of_the_file(document: dict[str, Any]) -> None:
    check_document(document)


def smallest_only(document: dict[str, Any]) -> dict[str, Any]:
    runs = {name: {min(r, key=int): r[min(r, key=int)]} for name, r in document["runs"].items()}
    return {"lr_net": document["lr_net"], "runs": copy.deepcopy(runs)}


def test_an_altered_or_missing_value_fails(document: dict[str, Any], tmp_path: Path) -> None:
    small = smallest_only(document)
    check_document(small)
    repository = next(iter(small["runs"]))
    epochs = next(iter(small["runs"][repository]))
    for name, value in small["runs"][repository][epochs].items():
        altered, cut = copy.deepcopy(small), copy.deepcopy(small)
        altered["runs"][repository][epochs][name] = changed(value)
        file = tmp_path / "eval_schedule.json"
        file.write_text(json.dumps(altered))
        assert not holds(check_document, json.loads(file.read_text())), name
        del cut["runs"][repository][epochs][name]
        assert not holds(check_document, cut), name
    del small["runs"][repository]
    assert not holds(check_document, small)


def changed(value: Any) -> Any:
    """Another value of the same form, as near as may be."""
    if isinstance(value, list):
        return [*value[:-1], changed(value[-1])] if value else [1]
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value * (1 + 1e-9) or 1e-9
    return f"{value}x" if isinstance(value, str) else value + 1


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 7, 8])
def test_the_drop_comes_after_epoch_half_plus_one(epochs: int) -> None:
    """E + 1 epochs; the rate falls after index E // 2 + 1, if there are epochs left (read from the source)."""
    phases = TrainingRecipe(epochs=epochs, lr=0.5).phases()
    rates = [rate for rate, count in phases for _ in range(count)]
    wanted = [0.5 if index <= epochs // 2 + 1 else 0.1 * 0.5 for index in range(epochs + 1)]
    assert rates == pytest.approx(wanted, rel=TOLERANCE)


def test_a_constant_schedule_runs_as_many_epochs_as_it_says() -> None:
    assert TrainingRecipe(epochs=50, schedule="constant").phases() == [(0.01, 50)]
