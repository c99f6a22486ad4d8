"""From what a user typed to a spec: filled in from method, preset and dataset; what cannot go together is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fredbench import augmentation, coresets, networks
from fredbench.budget import Budget
from fredbench.config import parse_value, replace_known, to_mapping
from fredbench.datasets import Dataset
from fredbench.errors import BudgetError, CompatibilityError, UnknownNameError, UsageError
from fredbench.methods import METHODS, method_named
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig
from fredbench.presets import PRESETS, Preset
from fredbench.recipes import (
    Settings,
    iterations_of,
    label_settings,
    matching_settings,
    network_of,
    quick_iterations_of,
    storage_settings,
    student_settings,
)
from fredbench.spec import Spec
from fredbench.training import TrainingRecipe

__all__ = ["Request", "resolve"]


@dataclass(frozen=True)
class Request:
    """What a user typed; None means: as the method and preset say."""

    ipc: int | None = None
    params: int | None = None
    method: str | None = None
    objective: str | None = None
    parameterization: str | None = None
    preset: str = "paper"
    seed: int = 0
    iterations: int | None = None
    network: str | None = None
    overrides: Sequence[str] = ()


def resolve(request: Request, dataset: Dataset, *, device: str, threads: int) -> Spec:
    """Fill a request in from method, preset and dataset; contradictions and unknown names are errors here."""
    if request.preset not in PRESETS:
        raise UnknownNameError("preset", request.preset, PRESETS)
    preset = PRESETS[request.preset]
    shape = (dataset.channels, *dataset.size)
    budget = _budget(request, len(dataset.classes), shape)
    ipc = max(1, budget.whole_pictures)
    method, objective, parameterization = _parts(request)
    sections = _split_overrides(request.overrides)
    iterations = _iterations(request, objective, parameterization, dataset=dataset, ipc=ipc)
    kind = PARAMETERIZATIONS.get(parameterization)
    storage = storage_settings(
        objective,
        parameterization,
        dataset=dataset.name,
        ipc=ipc,
        size=dataset.size,
        iterations=iterations,
        width=preset.width,
        quick=preset.name == "quick",
    )
    config = replace_known(
        kind.Config(), {**_values(storage), **sections["parameterization"]}, where="parameterization"
    )
    matching = _matching(
        dataset, method, objective, kind, sections["objective"], ipc=ipc, iterations=iterations, preset=preset
    )
    labels = _labels(objective, len(dataset.classes), iterations, sections["labels"])
    usual = f"convnet-d{networks.default_depth(dataset.size)}-w{preset.width}-in"
    network = _network(request.network or network_of(objective, preset.width) or usual, dataset)
    student = {"students": preset.students, "network": request.network or usual}
    if preset.name == "paper":
        published = student_settings(
            objective,
            dataset=dataset.name,
            flip=dataset.flip,
            ipc=ipc,
            side=max(dataset.size),
            augmented=matching.get("augmentation", "none") != "none",
            storage=to_mapping(config),
            pictures=kind(config).shown(budget) * len(dataset.classes),
            classes=len(dataset.classes),
        )
        student |= _values(published)
        if request.network:
            student["network"] = request.network
    student_network, students, recipe = _student(dataset, preset, labels, {**student, **sections["student"]})
    return Spec(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split="train without validation" if preset.holds_out_validation else "train",
        method=method,
        objective=objective,
        parameterization=parameterization,
        ipc=ipc,
        budget=budget.scalars,
        preset=preset.name,
        seed=request.seed,
        iterations=iterations,
        network=network,
        device=device,
        threads=threads,
        objective_settings=matching,
        parameterization_settings=to_mapping(config),
        student_network=_network(student_network, dataset),
        students=students,
        student=recipe,
        label_settings={} if labels.form == "hard" else to_mapping(labels),
    )


def _values(settings: Settings) -> dict[str, Any]:
    return {name: setting.value for name, setting in settings.items()}


def _labels(objective: str, classes: int, iterations: int, given: Mapping[str, str]) -> LabelConfig:
    """The labels of a run, refused where the objective cannot match or move them."""
    published = _values(label_settings(objective, classes=classes, iterations=iterations))
    if given.get("form") == "hard":
        published["learned"] = False
    labels = replace_known(LabelConfig(), {**published, **given}, where="labels")
    if objective == "none":
        if labels.form != "hard":
            raise CompatibilityError("a choice of real pictures has hard labels", hint="drop --set labels....")
        return labels
    kind = OBJECTIVES.get(objective)
    if labels.form not in kind.label_forms:
        raise CompatibilityError(
            f"objective {objective!r} cannot match {labels.form} labels",
            hint=f"set labels.form to {' or '.join(sorted(kind.label_forms))}",
        )
    if labels.learned and kind.learns_labels == "never":
        raise CompatibilityError(f"objective {objective!r} does not learn labels", hint="set labels.learned=false")
    if not labels.learned and kind.learns_labels == "must":
        raise CompatibilityError(f"objective {objective!r} learns labels only", hint="set labels.learned=true")
    return labels


def _student(
    dataset: Dataset, preset: Preset, labels: LabelConfig, settings: Mapping[str, Any]
) -> tuple[str, int, TrainingRecipe]:
    """Network, number and recipe of the students; centred labels are regressed on: they are no probabilities."""
    rest = dict(settings)
    network, students = rest.pop("network"), parse_value(rest.pop("students"), int, where="student.students")
    if students < 1:
        raise UsageError(f"student.students must be at least 1, not {students}", hint="3 or more give a spread")
    shared = TrainingRecipe(epochs=preset.epochs, augmentation="_".join(augmentation.strategy_for(dataset.flip)))
    loss = {"loss": "mse"} if labels.form == "centred" else {}
    recipe = replace_known(shared, {**loss, **rest}, where="student")
    if labels.form == "centred" and recipe.loss != "mse":
        raise CompatibilityError("centred labels are no probabilities", hint="set student.loss=mse")
    return network, students, recipe


def _matching(
    dataset: Dataset,
    method: str,
    objective: str,
    parameterization: Any,
    given: Mapping[str, str],
    *,
    ipc: int,
    iterations: int,
    preset: Preset,
) -> dict[str, Any]:
    """Settings of the objective, or of the choice of pictures: defaults, as published, as given, in that order."""
    if objective == "none":
        defaults = coresets.CONFIGS[method]()
        if given and not dataclasses.fields(defaults):
            raise UsageError(f"{method} has no objective settings", hint="drop --set objective....")
    else:
        kind = OBJECTIVES.get(objective)
        _check_compatible(kind, parameterization)
        defaults = kind.Config()
    usual = {"augmentation": "_".join(augmentation.strategy_for(dataset.flip))} if _augments(defaults) else {}
    published = matching_settings(
        method,
        objective,
        parameterization.name,
        dataset=dataset.name,
        ipc=ipc,
        side=max(dataset.size),
        flip=dataset.flip,
        iterations=iterations,
        quick=preset.name == "quick",
    )
    spent = {**to_mapping(defaults), **usual, **_values(published)}
    # Settings of other objectives may have these names and mean something else.
    if objective != "none" and "experts" in OBJECTIVES.get(objective).needs:
        spent = preset.limited(spent)
    return to_mapping(replace_known(defaults, {**spent, **given}, where="objective"))


def _augments(config: Any) -> bool:
    return any(field.name == "augmentation" for field in dataclasses.fields(config))


def _budget(request: Request, classes: int, shape: tuple[int, int, int]) -> Budget:
    if (request.ipc is None) == (request.params is None):
        raise UsageError("give the budget once: --ipc N or --params N", hint="for example --ipc 1")
    if request.ipc is not None:
        return Budget.for_ipc(request.ipc, classes, shape)
    if request.params is None or request.params < 1:
        raise BudgetError(f"--params must be at least 1, not {request.params}", hint="give --params 30720, say")
    return Budget(request.params, classes, shape)


def _parts(request: Request) -> tuple[str, str, str]:
    """(method, objective, parameterization); parts given by hand are named as the system that they are."""
    method = method_named(request.method or "fred")
    objective = request.objective or method.objective
    parameterization = request.parameterization or method.parameterization
    if request.method is not None and parameterization != method.parameterization:
        raise UsageError(
            f"--method {method.name} stores {method.parameterization!r}, not {parameterization!r}",
            hint="give --objective and --parameterization without --method",
        )
    if request.method is not None and (objective == "none") != (method.objective == "none"):
        raise UsageError(
            f"--method {method.name} is objective {method.objective!r}, not {objective!r}",
            hint="methods random and herding choose pictures; the others match something",
        )
    if request.method is not None and objective == method.objective:
        return method.name, objective, parameterization
    return _name_of(objective, parameterization), objective, parameterization


def _name_of(objective: str, parameterization: str) -> str:
    """The published system of these two parts, so that it is one run however it is asked for; else both names.

    Whatever stores coefficients is FreD, under any objective. Of systems with the same parts the first listed is meant:
    random of the choices, CAFE without an augmentation.
    """
    if objective == "none":
        return "random"
    if parameterization == "fred":
        return "fred"
    pair = (objective, parameterization)
    found = (method.name for method in METHODS.values() if (method.objective, method.parameterization) == pair)
    return next(found, "-".join(pair))


_OFFERED_BY_THE_LOOP = frozenset({"experts"})


def _check_compatible(objective: Any, parameterization: Any) -> None:
    needs = objective.needs - _OFFERED_BY_THE_LOOP
    missing = sorted(needs - parameterization.offers)
    if missing:
        have = [n for n in PARAMETERIZATIONS if not needs - PARAMETERIZATIONS.get(n).offers]
        raise CompatibilityError(
            f"objective {objective.name!r} needs {', '.join(missing)}, which parameterization "
            f"{parameterization.name!r} does not offer",
            hint=f"these do: {', '.join(have) or 'none'}",
        )


def _iterations(request: Request, objective: str, parameterization: str, *, dataset: Dataset, ipc: int) -> int:
    if request.iterations is not None and request.iterations < 0:
        raise UsageError(f"--iterations must be 0 or more, not {request.iterations}", hint="0 gives the start")
    if objective == "none":
        if request.iterations:
            raise UsageError("a choice of real pictures has no iterations", hint="drop --iterations, or use a method")
        return 0
    if request.iterations is not None:
        return request.iterations
    if request.preset == "quick":
        return int(quick_iterations_of(objective, dataset=dataset.name, ipc=ipc).value)
    return int(iterations_of(objective, parameterization, side=max(dataset.size)).value)


def _network(name: str, dataset: Dataset) -> str:
    """The name that `name` stands for at this size, so that two spellings of a network are one spec."""
    return networks.canonical_name(name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)


_SECTIONS = ("objective", "parameterization", "labels", "student")


def _split_overrides(overrides: Sequence[str]) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for override in overrides:
        key, equals, value = override.partition("=")
        section, dot, name = key.partition(".")
        if not equals or not dot or section not in sections:
            raise UsageError(
                f"--set {override} is not SECTION.KEY=VALUE", hint=f"sections: {', '.join(_SECTIONS)}; {_EXAMPLE}"
            )
        sections[section][name] = value
    return sections


_EXAMPLE = "for example --set parameterization.k=64"
