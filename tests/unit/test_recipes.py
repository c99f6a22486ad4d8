"""The tables of published settings: cells unlike their neighbours, and origins that claim no more than is so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from spine import cifar_like, set_of

from fredbench.datasets import Dataset
from fredbench.foundation.rng import Stream
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.parameterizations.budget import Budget
from fredbench.recipes import Case, look_up
from fredbench.recipes.resolution import Request, resolve
from fredbench.recipes.settings import Settings
from fredbench.runs.spec import Spec
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import Optimisers


def resolved(dataset: Dataset | None = None, **asked: object) -> Spec:
    return resolve(Request(**{"ipc": 1, **asked}), dataset or cifar_like(), device="cpu", threads=1)


def named(name: str, *, flip: bool = True) -> Dataset:
    return dataclasses.replace(cifar_like(), name=name, title=name, flip=flip)


def storage(objective: str, parameterization: str, **facts: object) -> Settings:
    return look_up(Case(objective=objective, parameterization=parameterization, **facts), "parameterization")


def matching(objective: str, parameterization: str = "pixels", method: str = "any", **facts: object) -> Settings:
    usual = {"dataset": "cifar10", "iterations": 1000, "choice": objective == "none"}
    case = Case(method=method, objective=objective, parameterization=parameterization, **{**usual, **facts})
    return look_up(case, "objective")


def students(objective: str, **facts: object) -> Settings:
    usual = {"dataset": "cifar10", "pictures": 10, "choice": objective == "none"}
    return look_up(Case(objective=objective, **{**usual, **facts}), "student")


def iterations_of(objective: str, **facts: object) -> int:
    return look_up(Case(objective=objective, **facts), "run")["iterations"].value


@pytest.mark.parametrize(
    ("objective", "dataset", "k"), [("dc", "cifar10", 32), ("dm", "cifar10", 64), ("dc", "svhn", 64)]
)
def test_fred_dc_keeps_fewer_coefficients_in_one_cell(objective: str, dataset: str, k: int) -> None:
    found = storage(objective, "fred", dataset=dataset, ipc=2)
    assert found["k"].value == k
    assert storage(objective, "fred", dataset=dataset, ipc=1)["k"].value == 64


@pytest.mark.parametrize(
    ("dataset", "side", "ipc", "flip", "on", "origin"),
    [("cifar10", 32, 1, True, True, "script"), ("cifar100", 32, 10, True, False, "script"),
     ("imagenette", 128, 1, True, True, "script"),
     ("imagefruit", 128, 1, True, False, "inferred"), ("mnist", 28, 1, False, False, "script"),
     ("svhn", 32, 1, False, False, "chosen")],
)  # fmt: skip
def test_frepo_mirrors_where_it_was_published_to(
    dataset: str, side: int, ipc: int, flip: bool, on: bool, origin: str
) -> None:
    found = matching("frepo", dataset=dataset, size=(side, side), ipc=ipc, flip=flip)["flip"]
    assert (found.value, found.origin) == (on, origin)


def test_idc_at_128_px() -> None:
    assert iterations_of("idc") == 200_000 and iterations_of("idc", size=(128, 128)) == 50_000
    large = set_of(2, (128, 128), per_class=10)
    assert resolved(large, method="idc").iterations == 50_000
    assert students("idc", size=(128, 128))["epochs"].origin == "chosen" and "epochs" not in students("idc")


def test_idc_rates_grow_with_the_area() -> None:
    rates = {side: storage("idc", "idc", dataset="own", size=(side, side))["lr"] for side in (32, 64)}
    assert rates[64].value == 4 * rates[32].value and rates[64].origin == "inferred"
    assert storage("idc", "idc", dataset="mnist", ipc=10, size=(28, 28))["lr"].value == 1e-4


def real_pictures() -> RealPictures:
    images = np.random.default_rng(0).integers(60, 190, (24, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(24, dtype=np.int64) % 2
    scale = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    return RealPictures(images, labels, **scale, classes=2, device=torch.device("cpu"))


def moved(objective: str, parameterization: str) -> float:
    """Mean way of a normalised picture's values in one step of what is stored, along a random gradient."""
    spec = resolved(objective=objective, parameterization=parameterization)
    kind = PARAMETERIZATIONS.get(parameterization)
    parts = kind(kind.Config(**spec.parameterization_settings))
    state = parts.init(real_pictures(), Budget.for_ipc(1, 2, (3, 8, 8)), Stream(0))
    (group,) = parts.parameters(state)
    before = group.tensors[0].detach().clone()
    pictures, _ = parts.decode(state)
    (pictures * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))).mean().backward()
    Optimisers([group]).step()
    unit = 0.2 if parameterization == "idc" else 1.0
    return float((group.tensors[0].detach() - before).abs().mean()) / unit


def test_a_step_moves_canvases_as_far_as_pixels() -> None:
    kip = moved("kip", "pixels")
    assert kip == pytest.approx(0.04, rel=0.01) and moved("kip", "idc") == pytest.approx(kip, rel=0.01)
    assert 0.3 < moved("frepo", "idc") / moved("frepo", "pixels") < 4
    settings = resolved(objective="frepo", parameterization="idc").parameterization_settings
    assert (settings["optimiser"], settings["final"]) == ("lamb", 0.1)


def test_idc_itself_writes_no_optimiser() -> None:
    assert resolved(method="idc").parameterization_settings.keys() == {
        "factor", "mode", "bound", "lr", "momentum", "init"}  # fmt: skip


@pytest.mark.parametrize("method", ["frepo", "kip", "label-solve"])
def test_a_network_that_is_asked_for_is_the_students_too(method: str) -> None:
    given = resolved(method=method, network="convnet-d2-w4-in")
    assert given.network == given.student_network == "convnet-d2-w4-in"
    assert resolved(method=method).student_network.startswith(("frepo", "kip"))
    own = resolved(method=method, network="convnet-d2-w4-in", overrides=("student.network=mlp",))
    assert own.student_network.startswith("mlp")


@pytest.mark.parametrize("method", ["kip", "frepo"])
def test_students_of_hard_labels_regress_where_the_published_ones_do(method: str) -> None:
    hard = resolved(method=method, overrides=("labels.form=hard",))
    assert hard.student.loss == "mse" and not hard.label_settings
    assert hard.student == resolved(method=method).student


def test_coresets_train_as_dc_does() -> None:
    for method in ("random", "herding", "k-centre"):
        spec = resolved(method=method)
        assert (spec.student.epochs, spec.student.augmentation) == (300, "none")
    assert {setting.origin for setting in students("none", method="herding").values()} == {"inferred"}
    # What a plug-in chooses was published nowhere.
    assert students("none", method="mine") == matching("none", method="mine") == {}
    assert {setting.origin for setting in matching("none", method="herding").values()} == {"chosen"}
    # A control stands beside a method's row, under that method's recipe.
    assert resolved(method="dm").control().student == resolved(method="dm").student


@pytest.mark.parametrize(("dataset", "epochs"), [("mnist", 1000), ("fashion-mnist", 300), ("cifar10", 300)])
def test_dc_trains_long_on_mnist_only(dataset: str, epochs: int) -> None:
    found = students("dc", dataset=dataset)
    assert (found["epochs"].value, found["augmentation"].value) == (epochs, "none")


@pytest.mark.parametrize(
    ("objective", "parameterization", "dataset", "ipc", "origin"),
    [("dm", "pixels", "cifar10", 1, "script"), ("dm", "pixels", "svhn", 1, "inferred"),
     ("dc", "pixels", "svhn", 1, "script"), ("dsa", "pixels", "own", 1, "inferred"),
     ("tm", "pixels", "cifar100", 10, "paper"), ("tm", "pixels", "svhn", 1, "inferred"),
     ("tm", "pixels", "mnist", 1, "inferred"), ("tm", "fred", "cifar10", 1, "script"),
     ("tm", "fred", "cifar10", 10, "inferred"), ("dm", "fred", "cifar10", 2, "script"),
     ("dm", "fred", "svhn", 2, "inferred"), ("dc", "fred", "cifar10", 1, "inferred")],
)  # fmt: skip
def test_a_rate_is_published_where_it_was_published(
    objective: str, parameterization: str, dataset: str, ipc: int, origin: str
) -> None:
    assert storage(objective, parameterization, dataset=dataset, ipc=ipc)["lr"].origin == origin


@pytest.mark.parametrize(
    ("parameterization", "dataset", "ipc", "origin", "word"),
    [("pixels", "cifar10", 10, "paper", "ZCA"), ("pixels", "cifar10", 20, "chosen", "IPC 10"),
     ("pixels", "cifar100", 1, "paper", "ZCA"), ("pixels", "cifar100", 50, "paper", "ZCA"),
     ("pixels", "cifar100", 10, "paper", "MTT's table"), ("fred", "cifar10", 11, "script", "FreD's TM folder"),
     ("fred", "svhn", 11, "chosen", "IPC 10"), ("haba", "cifar10", 1, "script", "ZCA"),
     ("idc", "cifar10", 1, "chosen", "FreD")],
)  # fmt: skip
def test_trajectories_of_another_budget_are_chosen(
    parameterization: str, dataset: str, ipc: int, origin: str, word: str
) -> None:
    found = matching("tm", parameterization, dataset=dataset, ipc=ipc)["steps"]
    assert found.origin == origin and word in found.why
    assert ("ZCA" in found.why) == (word == "ZCA") and ("IPC" in found.why) == (origin == "chosen" and "IPC" in word)


@pytest.mark.parametrize(
    ("iterations", "milestones"), [(2000, (1200, 1600, 1800)), (1, (1, 1, 1)), (2, (2, 2, 2)), (300, (180, 240, 270))]
)
def test_cafe_starts_at_its_whole_rate(iterations: int, milestones: tuple[int, ...]) -> None:
    assert matching("cafe", iterations=iterations)["milestones"].value == milestones
