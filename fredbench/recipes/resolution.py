"""From what a user typed to a spec: filled in from recipe, preset and dataset; what cannot go together is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.datasets.catalogue import plain_name
from fredbench.datasets.listing import refuse_unnamed_splits
from fredbench.foundation.config import from_mapping, parse_value, replace_known, to_mapping
from fredbench.foundation.errors import BudgetError, CompatibilityError, UnknownNameError, UsageError
from fredbench.networks import fused
from fredbench.networks.names import REDUCED, Arithmetic
from fredbench.objectives import OBJECTIVES, coresets
from fredbench.objectives.base import Objective
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig
from fredbench.parameterizations.budget import Budget
from fredbench.recipes.methods import METHODS, system_of
from fredbench.recipes.presets import PRESETS, Preset
from fredbench.recipes.rules import Case, look_up
from fredbench.recipes.settings import Setting, Settings
from fredbench.runs.preprocessing import DataConfig, checked
from fredbench.runs.spec import Spec
from fredbench.training import augmentation
from fredbench.training.loop import TrainingRecipe

__all__ = ["Request", "explained", "method_of", "resolve"]

DEFAULT_METHOD = "fred"


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
    """Fill a request in from recipe, preset and dataset; contradictions and unknown names are errors here."""
    return _resolved(request, dataset, device=device, threads=threads)[0]


def explained(request: Request, dataset: Dataset) -> dict[str, Settings]:
    """What the recipes say of a request, with origins and sources; found by the same steps as `resolve` takes.

    Sections: `run` (iterations and network), `data`, `parameterization`, `objective`, `labels`, `student`, as `--set`
    names them. Every value is the run's: where preset or request has another than the recipe, it is `chosen` for that
    reason. What no recipe speaks of is a default of the part or the preset, and is left out.
    """
    _, sections = _resolved(request, dataset, device="cpu", threads=1)
    return {
        section: {name: _as_taken(setting, taken[name]) for name, setting in settings.items() if name in taken}
        for section, (settings, taken) in sections.items()
    }


def _as_taken(setting: Setting, value: Any) -> Setting:
    recipe = list(setting.value) if isinstance(setting.value, tuple) else setting.value
    if recipe == (list(value) if isinstance(value, tuple) else value):
        return dataclasses.replace(setting, value=value)
    return Setting(value, "chosen", f"preset or request, in place of {recipe} ({setting.origin})")


_Sections = dict[str, tuple[Settings, Mapping[str, Any]]]


def _resolved(request: Request, dataset: Dataset, *, device: str, threads: int) -> tuple[Spec, _Sections]:
    """The spec; and by section the recipe's settings and the values that the spec was made of."""
    if request.preset not in PRESETS:
        raise UnknownNameError("preset", request.preset, PRESETS)
    if dataset.source.listing is not None:
        refuse_unnamed_splits(dataset.source.listing, of=dataset.name)
    preset = PRESETS[request.preset]
    given = _split_overrides(request.overrides)
    budget = _budget(request, dataset)
    case = _case(request, dataset, budget, preset)
    _check_compatible(case.objective, case.parameterization)

    run = _run_settings(request, case, dataset)
    case = dataclasses.replace(case, iterations=int(run["iterations"].value))
    usual = f"convnet-d{networks.default_depth(dataset.size)}-w{preset.width}-in"
    network = _network(request.network or _values(run).get("network", usual), dataset)

    prepared = look_up(case, "data")
    data = replace_known(DataConfig(), {**_values(prepared), **given["data"]}, where="data")
    data = checked(data, dataset, storage=case.parameterization)

    kind = PARAMETERIZATIONS.get(case.parameterization)
    storage = look_up(case, "parameterization")
    config = replace_known(kind.Config(), {**_values(storage), **given["parameterization"]}, where="parameterization")
    defaults = _defaults(case)
    loops = look_up(case, "objective", to_mapping(defaults))
    matching = _matching(dataset, defaults, loops, given["objective"], where=case.method)
    labelled = look_up(case, "labels")
    labels = _labels(case.objective, labelled, given["labels"])

    seen = dataclasses.replace(
        case,
        augmented=matching.get("augmentation", "none") != "none",
        storage=to_mapping(config),
        pictures=kind(config).shown(budget) * case.classes,
    )
    published = _canonical(look_up(seen, "student"), dataset)
    student = {"students": preset.students, "network": usual, **_values(published)}
    if request.network:
        student["network"] = request.network
    student.setdefault("arithmetic", _usual_arithmetic(device))
    student_network, students, recipe = _student(dataset, preset, labels, {**student, **given["student"]})
    student_network, arithmetic = _network(student_network, dataset), _arithmetic(case, device, given["run"])
    _check_reduced("run", arithmetic, network, dataset, device)
    if not case.choice:
        _check_matched_by(arithmetic, OBJECTIVES.get(case.objective), matching, device)
    _check_reduced("student", recipe.arithmetic, student_network, dataset, device)

    spec = Spec(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split="train without validation" if preset.holds_out_validation else "train",
        method=case.method,
        objective=case.objective,
        parameterization=case.parameterization,
        ipc=case.ipc,
        budget=budget.scalars,
        preset=preset.name,
        seed=request.seed,
        iterations=case.iterations,
        network=network,
        # Which of several devices of a kind computes is no part of what is asked.
        device=device.partition(":")[0],
        threads=threads,
        objective_settings=matching,
        parameterization_settings=to_mapping(config),
        student_network=student_network,
        students=students,
        student=recipe,
        label_settings={} if labels.form == "hard" else to_mapping(labels),
        data_settings={} if data == DataConfig() else to_mapping(data),
        arithmetic=arithmetic,
    )
    return spec, {
        "run": (run, {"iterations": case.iterations, "network": network}),
        "data": (prepared, vars(data)),
        "parameterization": (storage, vars(config)),
        "objective": (loops, matching),
        "labels": (labelled, {} if labels.form == "hard" else vars(labels)),
        "student": (published, {**vars(recipe), "network": spec.student_network, "students": students}),
    }


def _arithmetic(case: Case, device: str, given: Mapping[str, str]) -> Arithmetic:
    """How the networks of a run are run, other than its students; a random choice has none."""
    for name in given:
        if name != "arithmetic":
            raise UsageError(f"unknown setting {name!r} of run", hint="known: arithmetic")
    asked = parse_value(given.get("arithmetic", _usual_arithmetic(device)), Arithmetic, where="run.arithmetic")
    return "eager" if case.method == coresets.RANDOM else cast(Arithmetic, asked)


def _check_reduced(section: str, asked: Arithmetic, network: str, dataset: Dataset, device: str) -> None:
    """A reduced precision that would not be what runs is refused: a spec that names it was made by it."""
    if asked not in REDUCED:
        return
    outline = networks.outline(network, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)
    if device.partition(":")[0] != "cpu":
        _refuse_reduced(section, f"{section}.arithmetic={asked} is there for the CPU only", device)
    if not fused.has_blocks(outline):
        _refuse_reduced(section, f"network {network!r} has no fused blocks, which {asked} is of", device)


def _check_matched_by(asked: Arithmetic, kind: type[Objective], settings: Mapping[str, Any], device: str) -> None:
    if asked in REDUCED and not kind.runs_blocks(from_mapping(kind.Config, settings, where="objective")):
        what = f"{kind.name} with these settings matches nothing by fused blocks, which {asked} is of"
        _refuse_reduced("run", what, device)


def _refuse_reduced(section: str, what: str, device: str) -> NoReturn:
    raise CompatibilityError(what, hint=f"--set {section}.arithmetic={_usual_arithmetic(device)}")


def _usual_arithmetic(device: str) -> Arithmetic:
    """Fused blocks where they are quicker: they are there for the CPU only."""
    return "fused" if device.partition(":")[0] == "cpu" else "eager"


def _case(request: Request, dataset: Dataset, budget: Budget, preset: Preset) -> Case:
    """What the rows of recipes may ask about, as far as it is known before any was read."""
    method, objective, parameterization = _parts(request)
    return Case(
        method=method,
        objective=objective,
        parameterization=parameterization,
        choice=objective == coresets.OBJECTIVE,
        experts=objective != coresets.OBJECTIVE and "experts" in OBJECTIVES.get(objective).needs,
        dataset=plain_name(dataset.name),
        classes=len(dataset.classes),
        ipc=max(1, budget.whole_pictures),
        size=dataset.size,
        channels=dataset.channels,
        flip=dataset.flip,
        preset=preset.name,
        width=preset.width,
    )


def _values(settings: Settings) -> dict[str, Any]:
    return {name: setting.value for name, setting in settings.items()}


def _run_settings(request: Request, case: Case, dataset: Dataset) -> dict[str, Setting]:
    """Iterations, and the network that the objective was published with, if any."""
    if request.iterations is not None and request.iterations < 0:
        raise UsageError(f"--iterations must be 0 or more, not {request.iterations}", hint="0 gives the start")
    if case.choice and request.iterations:
        raise UsageError("a choice of real pictures has no iterations", hint="drop --iterations, or use a method")
    run = _canonical(look_up(case, "run"), dataset)
    listed = parse_value(run["iterations"].value, int, where="iterations of the recipe")
    if listed < 0:
        raise UsageError(f"a recipe asks for {listed} iterations", hint="mend the row that says so")
    run["iterations"] = dataclasses.replace(run["iterations"], value=listed)
    if request.iterations is not None and not case.choice:
        run["iterations"] = Setting(request.iterations, "chosen", "the request's")
    return run


def _canonical(settings: dict[str, Setting], dataset: Dataset) -> dict[str, Setting]:
    """The same, with a network by the name that it has at this size."""
    if "network" in settings:
        named = dataclasses.replace(settings["network"], value=_network(settings["network"].value, dataset))
        return {**settings, "network": named}
    return settings


def _labels(objective: str, settings: Settings, given: Mapping[str, str]) -> LabelConfig:
    """The labels of a run, refused where the objective cannot match or move them."""
    published = _values(settings)
    if given.get("form") == "hard":
        published["learned"] = False
    labels = replace_known(LabelConfig(), {**published, **given}, where="labels")
    if objective == coresets.OBJECTIVE:
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


def _defaults(case: Case) -> Any:
    """Settings of the objective, or of the choice of pictures, as they stand where nothing is said."""
    return coresets.config_of(case.method)() if case.choice else OBJECTIVES.get(case.objective).Config()


def _matching(
    dataset: Dataset, defaults: Any, published: Settings, given: Mapping[str, str], *, where: str
) -> dict[str, Any]:
    """Settings of the objective, or of the choice of pictures: defaults, as published, as given, in that order."""
    if given and not dataclasses.fields(defaults):
        raise UsageError(f"{where} has no objective settings", hint="drop --set objective....")
    usual = {"augmentation": "_".join(augmentation.strategy_for(dataset.flip))} if _augments(defaults) else {}
    spent = {**to_mapping(defaults), **usual, **_values(published)}
    return to_mapping(replace_known(defaults, {**spent, **given}, where="objective"))


def _augments(config: Any) -> bool:
    return any(field.name == "augmentation" for field in dataclasses.fields(config))


def _budget(request: Request, dataset: Dataset) -> Budget:
    classes, shape = len(dataset.classes), (dataset.channels, *dataset.size)
    if (request.ipc is None) == (request.params is None):
        raise UsageError("give the budget once: --ipc N or --params N", hint="for example --ipc 1")
    if request.ipc is not None:
        return Budget.for_ipc(request.ipc, classes, shape)
    if request.params is None or request.params < 1:
        raise BudgetError(f"--params must be at least 1, not {request.params}", hint="give --params 30720, say")
    return Budget(request.params, classes, shape)


def method_of(request: Request) -> str:
    """The system that a request names, by itself or by its parts."""
    return _parts(request)[0]


def _parts(request: Request) -> tuple[str, str, str]:
    """(method, objective, parameterization); parts given by hand are named as the system that they are."""
    method = METHODS.get(request.method or DEFAULT_METHOD)
    objective = request.objective or method.objective
    parameterization = request.parameterization or method.parameterization
    if request.method is not None and parameterization != method.parameterization:
        raise UsageError(
            f"--method {method.name} stores {method.parameterization!r}, not {parameterization!r}",
            hint="give --objective and --parameterization without --method",
        )
    if request.method is not None and objective == method.objective:
        return method.name, objective, parameterization
    name = system_of(objective, parameterization)
    if request.method is not None and name != method.name:
        raise UsageError(
            f"--method {method.name} is objective {method.objective!r}, not {objective!r}",
            hint=f"drop --objective, or say --method {name}"
            if name in METHODS
            else "give --objective and --parameterization without --method",
        )
    return name, objective, parameterization


_OFFERED_BY_THE_LOOP = frozenset({"experts"})


def _check_compatible(objective: str, parameterization: str) -> None:
    if objective == coresets.OBJECTIVE:
        if parameterization != coresets.PARAMETERIZATION:
            raise CompatibilityError(
                f"objective {objective!r} chooses real pictures and cannot fill {parameterization!r}",
                hint=f"use --parameterization {coresets.PARAMETERIZATION}, or --iterations 0 with another objective",
            )
        return
    needs = OBJECTIVES.get(objective).needs - _OFFERED_BY_THE_LOOP
    missing = sorted(needs - PARAMETERIZATIONS.get(parameterization).offers)
    if missing:
        have = [n for n in PARAMETERIZATIONS if not needs - PARAMETERIZATIONS.get(n).offers]
        raise CompatibilityError(
            f"objective {objective!r} needs {', '.join(missing)}, which parameterization "
            f"{parameterization!r} does not offer",
            hint=f"these do: {', '.join(have) or 'none'}",
        )


def _network(name: str, dataset: Dataset) -> str:
    """The name that `name` stands for at this size, so that two spellings of a network are one spec."""
    return networks.canonical_name(name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)


_SECTIONS = ("run", "objective", "parameterization", "labels", "data", "student")


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
