"""From what a user typed to one canonical spec: the same text, the same digest, and every contradiction named."""

from __future__ import annotations

import dataclasses
import math
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import cifar_like, set_of, spec_of

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.foundation.errors import (
    ArtefactError,
    BudgetError,
    CompatibilityError,
    FredbenchError,
    UnknownNameError,
    UsageError,
)
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations.contrast import extractor_name
from fredbench.recipes import Case, look_up
from fredbench.recipes.methods import METHODS
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, resolve
from fredbench.recipes.settings import Settings
from fredbench.runs.spec import Spec


def resolved(dataset: Dataset | None = None, **asked: object) -> Spec:
    """Of DM, unless a method or objective is named: it has settings that every test here may touch."""
    budget = {} if "params" in asked else {"ipc": 1}
    objective = {} if {"method", "objective"} & asked.keys() else {"objective": "dm"}
    request = Request(**{**budget, **objective, **asked})
    return resolve(request, dataset or cifar_like(), device="cpu", threads=1)


# Methods that share both parts with one listed before.
SHARING = {"herding", "k-centre", "cafe-dsa"}


def named(dataset: Dataset, name: str) -> Dataset:
    return dataclasses.replace(dataset, name=name, title=name)


def test_defaults_are_those_of_the_contract() -> None:
    plain = resolve(Request(ipc=1), cifar_like(), device="cpu", threads=1)
    assert (plain.method, plain.objective) == ("fred", METHODS.get("fred").objective)
    spec = resolved()
    assert (spec.objective, spec.parameterization, spec.preset, spec.seed) == ("dm", "fred", "paper", 0)
    assert (spec.network, spec.student_network, spec.students) == ("convnet-d3-w128-in", "convnet-d3-w128-in", 5)
    assert (spec.split, spec.iterations, spec.student.epochs) == ("train", 20_000, 1000)
    assert spec.student.augmentation == "color_crop_cutout_flip_scale_rotate"
    assert (spec.student.lr, spec.student.momentum, spec.student.weight_decay) == (0.01, 0.9, 5e-4)
    assert (spec.student.batch_size, spec.student.schedule) == (256, "drop")


def test_presets_are_those_of_the_contract() -> None:
    fair, quick = resolved(preset="fair"), resolved(preset="quick")
    assert fair.split == quick.split == "train without validation"
    assert (fair.network, fair.student.epochs, fair.students) == ("convnet-d3-w128-in", 1000, 5)
    assert (quick.network, quick.student.epochs, quick.students) == ("convnet-d3-w32-in", 200, 3)
    assert quick.iterations == 300 and set(PRESETS) == {"paper", "fair", "quick"}


def test_no_flip_where_it_changes_the_class() -> None:
    digits = dataclasses.replace(cifar_like(), flip=False)
    spec = resolved(digits)
    assert "flip" not in spec.student.augmentation and "flip" not in spec.objective_settings["augmentation"]
    assert "flip" in resolved().objective_settings["augmentation"]


@pytest.mark.parametrize(
    ("dataset", "ipc", "k"),
    # methods.md 13.7: the increments; IPC 2, 11 and 51 take the k of 1, 10 and 50.
    [("svhn", 1, 64), ("svhn", 10, 128), ("svhn", 50, 256), ("cifar10", 1, 64), ("cifar10", 2, 64),
     ("cifar10", 10, 160), ("cifar10", 11, 160), ("cifar10", 50, 256), ("cifar10", 51, 256)],
)  # fmt: skip
def test_fred_keeps_the_published_coefficients(dataset: str, ipc: int, k: int) -> None:
    spec = resolved(named(cifar_like(), dataset), ipc=ipc)
    assert spec.parameterization_settings == {"k": k, "lr": 1e6, "momentum": 0.5}


def test_published_rates_and_iterations() -> None:
    def storage(parameterization: str, **facts: object) -> Settings:
        return look_up(Case(objective="dm", parameterization=parameterization, **facts), "parameterization")

    assert look_up(Case(objective="dm"), "run")["iterations"].value == 20_000
    dm = resolved(method="dm")
    assert dm.parameterization_settings == {"lr": 1.0, "momentum": 0.5, "init": "real"}
    assert dm.objective_settings["batch_real"] == 256
    many = storage("pixels", method="dm", dataset="cifar10", ipc=100)
    assert many["lr"].value == 10.0 and many["lr"].origin == "script"
    for dataset in ("cifar10", "svhn", "digits", "anything"):
        for setting in storage("fred", dataset=dataset).values():
            assert setting.origin in {"script", "paper", "inferred", "chosen"}
    assert storage("fred", dataset="imagenette", ipc=10, size=(128, 128))["k"].value == 2048


def test_every_method_is_a_pair_of_registered_parts() -> None:
    for name, method in zip(METHODS, METHODS.values(), strict=True):
        spec = resolved(method=name, preset="quick")
        assert (spec.method, spec.objective, spec.parameterization) == (name, method.objective, method.parameterization)
        assert method.paper and method.verified


@pytest.mark.parametrize(
    ("objective", "parameterization", "name"),
    [
        *(
            (method.objective, method.parameterization, name)
            for name, method in zip(METHODS, METHODS.values(), strict=True)
            if name not in SHARING
        ),
        *(("none", "pixels", "random"), ("cafe", "pixels", "cafe")),
        *(("idc", "pixels", "idc-pixels"), ("dm", "idc", "dm-idc"), ("dc", "haba", "dc-haba")),
        *((objective, "fred", "fred") for objective in ("dm", "dc", "kip")),
    ],
)
def test_a_pair_is_named_as_the_system_that_it_is(objective: str, parameterization: str, name: str) -> None:
    spec = resolved(objective=objective, parameterization=parameterization, preset="quick")
    assert (spec.method, spec.objective, spec.parameterization) == (name, objective, parameterization)
    if name in METHODS and name != "fred":
        assert spec.digest() == resolved(method=name, preset="quick").digest()


def test_a_method_with_another_objective_is_not_that_method() -> None:
    assert resolved(objective="dm", parameterization="idc").method == "dm-idc"
    assert resolved(objective="dsa", parameterization="pixels").digest() == resolved(method="dsa").digest()
    assert resolved(method="fred", objective="dm").digest() == resolved(objective="dm").digest()
    for method, objective in (("idc", "dm"), ("dsa", "dc"), ("label-solve", "dm"), ("frepo", "kip")):
        with pytest.raises(UsageError, match=f"--method {method} is objective .*, not '{objective}'") as caught:
            resolved(method=method, objective=objective)
        assert "without --method" in caught.value.hint or "say --method" in caught.value.hint
    assert resolved(method="cafe-dsa", objective="cafe").digest() == resolved(method="cafe-dsa").digest()
    assert resolved(method="herding", objective="none").method == "herding"


@dataclasses.dataclass(frozen=True)
class Steps:
    steps: int = 100
    experts: int = 50


@pytest.mark.parametrize(("needs", "found"), [((), (100, 50)), (("experts",), (15, 10))])
def test_only_trajectories_are_cut_short_by_a_preset(
    monkeypatch: pytest.MonkeyPatch, needs: tuple[str, ...], found: tuple[int, int]
) -> None:
    body = {"name": "walk", "Config": Steps, "needs": frozenset(needs), "label_forms": frozenset({"hard"})}
    get = OBJECTIVES.get
    kind = type("Walk", (get("dm"),), body)
    monkeypatch.setattr(OBJECTIVES, "get", lambda name: kind if name == "walk" else get(name))
    spec = resolved(objective="walk", preset="quick")
    assert (spec.objective_settings["steps"], spec.objective_settings["experts"]) == found


@pytest.mark.parametrize(("size", "depth"), [((8, 64), 1), ((12, 128), 2), ((10, 96), 1), ((128, 28), 3), ((2, 9), 1)])
def test_the_default_network_takes_elongated_pictures(size: tuple[int, int], depth: int) -> None:
    for shape in (size, size[::-1]):
        spec = resolved(set_of(2, shape, per_class=3), method="dm")
        assert spec.network == spec.student_network == f"convnet-d{depth}-w128-in"
        for other in ("convnet", extractor_name(shape, 128)):
            assert networks.canonical_name(other, classes=2, size=shape) == spec.network


@pytest.mark.parametrize(("size", "depth"), [(16, 2), (28, 3), (32, 3), (64, 4), (128, 5)])
def test_depth_follows_the_size(size: int, depth: int) -> None:
    assert resolved(set_of(2, (size, size), per_class=3)).network == f"convnet-d{depth}-w128-in"


def test_a_budget_in_scalars_is_named_after_the_pictures_it_holds() -> None:
    spec = resolved(params=70_000)
    assert (spec.budget, spec.ipc) == (70_000, 2)
    assert resolved(params=20_000).ipc == 1 and resolved(ipc=2).budget == 61_440


SPECS = {
    "as given": {},
    "seed": {"seed": 1},
    "iterations": {"iterations": 7},
    "ipc": {"ipc": 2},
    "preset": {"preset": "quick"},
    "k": {"overrides": ("parameterization.k=32",)},
    "batch": {"overrides": ("objective.batch_real=9",)},
    "student": {"overrides": ("student.epochs=9",)},
    "students": {"overrides": ("student.students=9",)},
    "test network": {"overrides": ("student.network=mlp",)},
    "network": {"network": "convnet-d3-w8-in"},
    "method": {"method": "dm"},
    "random": {"method": "random"},
}


def test_everything_asked_is_in_the_digest_and_the_name() -> None:
    specs = {name: resolved(**asked) for name, asked in SPECS.items()}
    specs["device"] = resolve(Request(ipc=1, objective="dm"), cifar_like(), device="cuda:0", threads=1)
    specs["threads"] = resolve(Request(ipc=1, objective="dm"), cifar_like(), device="cpu", threads=2)
    specs["data"] = resolved(set_of(10, (32, 32), name="cifar-like", per_class=41))
    specs["start"] = specs["as given"].start()
    assert len({spec.digest() for spec in specs.values()}) == len(specs)
    assert len({spec.folder_name() for spec in specs.values()}) == len(specs)
    for spec in specs.values():
        assert spec.folder_name() == spec.folder_name().strip("-./ ") and "/" not in spec.folder_name()
        assert str(spec.folder_name()).endswith(spec.digest()[:8])


@pytest.mark.parametrize("asked", SPECS.values(), ids=SPECS)
def test_toml_and_back(asked: dict[str, object]) -> None:
    spec = resolved(**asked)
    again = Spec.from_toml(spec.to_toml(), where="here")
    assert again == spec and again.digest() == spec.digest() and again.to_toml() == spec.to_toml()
    for other in (spec.start(), spec.control()):
        assert Spec.from_toml(other.to_toml(), where="here").digest() == other.digest()


def test_two_spellings_of_a_request_are_one_spec() -> None:
    base = resolved()
    same = [
        resolved(network="convnet"),
        resolved(network="convnet-w128"),
        resolved(method="fred", objective="dm"),
        resolved(objective="dm", parameterization="fred"),
        resolved(params=30_720),
        resolved(overrides=("parameterization.lr=1e6", "student.epochs=1e3")),
    ]
    assert {spec.digest() for spec in same} == {base.digest()}


def test_start_and_control_keep_budget_seed_and_students() -> None:
    spec = resolved(iterations=5, seed=3, overrides=("student.epochs=7",))
    start, control = spec.start(), spec.control()
    assert start == dataclasses.replace(spec, iterations=0) and not start.is_control
    assert control.is_control and control.parameterization == "pixels" and control.iterations == 0
    for companion in (start, control):
        assert (companion.budget, companion.seed, companion.student, companion.students) == (
            spec.budget, spec.seed, spec.student, spec.students)  # fmt: skip
    # One control serves all methods of a budget and recipe.
    assert resolved(iterations=9, method="dm").control().digest() == resolved().control().digest()
    assert resolved(method="random").control().digest() == resolved(method="random").digest()


BAD = {
    "no budget": ({"ipc": None}, UsageError, "budget once"),
    "two budgets": ({"params": 100, "ipc": 1}, UsageError, "budget once"),
    "no ipc": ({"ipc": 0}, BudgetError, "at least 1"),
    "negative ipc": ({"ipc": -1}, BudgetError, "at least 1"),
    "no params": ({"params": 0}, BudgetError, "at least 1"),
    "method": ({"method": "freed"}, UnknownNameError, "freed"),
    "objective": ({"objective": "dmm"}, UnknownNameError, "dmm"),
    "parameterization": ({"parameterization": "pixel"}, UnknownNameError, "pixel"),
    "preset": ({"preset": "fast"}, UnknownNameError, "fast"),
    "network": ({"network": "convnett"}, UnknownNameError, "convnett"),
    "network's size": ({"network": "convnet-d9-w8-in"}, FredbenchError, "convnet"),
    "test network": ({"overrides": ("student.network=resnet19",)}, UnknownNameError, "resnet19"),
    "iterations": ({"iterations": -1}, UsageError, "0 or more"),
    "section": ({"overrides": ("paramaterization.k=3",)}, UsageError, "SECTION.KEY"),
    "no section": ({"overrides": ("k=3",)}, UsageError, "SECTION.KEY"),
    "no value": ({"overrides": ("parameterization.k",)}, UsageError, "SECTION.KEY"),
    "key": ({"overrides": ("parameterization.kk=3",)}, UsageError, "kk"),
    "student key": ({"overrides": ("student.epoch=3",)}, UsageError, "epoch"),
    "type": ({"overrides": ("parameterization.k=many",)}, UsageError, "many"),
    "k": ({"overrides": ("parameterization.k=0",)}, UsageError, "at least 1"),
    "batch": ({"overrides": ("objective.batch_real=0",)}, UsageError, "batch_real"),
    "augmentation": ({"overrides": ("student.augmentation=crops",)}, UnknownNameError, "crops"),
    "students": ({"overrides": ("student.students=0",)}, UsageError, "students"),
    "students' type": ({"overrides": ("student.students=some",)}, UsageError, "some"),
    "epochs": ({"overrides": ("student.epochs=-1",)}, UsageError, "epochs"),
    "rate": ({"overrides": ("student.lr=0",)}, UsageError, "rate"),
    "schedule": ({"overrides": ("student.schedule=triangle",)}, UsageError, "schedule"),
    "objective of a choice": ({"method": "random", "overrides": ("objective.x=3",)}, UsageError, "no objective"),
    "choice of frequencies": ({"objective": "none", "parameterization": "fred"}, CompatibilityError, "real pictures"),
    "method and storage": ({"method": "dm", "parameterization": "fred"}, UsageError, "pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_contradictions_are_named_with_a_way_out(name: str) -> None:
    asked, kind, words = BAD[name]
    with pytest.raises(kind, match=words) as caught:
        resolved(**asked)
    assert isinstance(caught.value, FredbenchError) and caught.value.hint


@pytest.mark.parametrize(("typed", "near"), [("parameterization.kk=1", "'k'"), ("student.epoch=1", "'epochs'")])
def test_the_nearest_setting_is_in_the_hint(typed: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(overrides=(typed,))
    assert f"did you mean {near}" in caught.value.hint


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_refused(text: str) -> None:
    with pytest.raises(ArtefactError):
        Spec.from_toml(text, where="here")


@pytest.mark.parametrize("section", ["run", "objective", "parameterization", "student"])
@pytest.mark.parametrize("replacement", [None, "3", '"text"', "[1]", "{ a = 1 }"])
def test_a_spec_with_a_broken_section_is_refused(section: str, replacement: str | None) -> None:
    import tomli_w

    if section in {"objective", "parameterization"} and replacement == "{ a = 1 }":
        return  # a table of settings of some plug-in, which it will judge
    mapping = spec_of(cifar_like()).to_mapping()
    del mapping[section]
    text = ("" if replacement is None else f"{section} = {replacement}\n") + tomli_w.dumps(mapping)
    tomllib.loads(text)
    with pytest.raises(ArtefactError, match="no spec of a run"):
        Spec.from_toml(text, where="here")


def test_budgets_are_whole_numbers_of_scalars() -> None:
    assert resolved().budget == 10 * math.prod((3, 32, 32))
