"""What is asked of one run, completely and canonically: the spec. Its digest names the run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tomli_w

from fredbench import augmentation, coresets, networks
from fredbench.budget import Budget
from fredbench.config import parse_value, replace_known, to_mapping
from fredbench.datasets import Dataset
from fredbench.errors import ArtefactError, BudgetError, CompatibilityError, UnknownNameError, UsageError
from fredbench.files import canonical_json
from fredbench.methods import iterations_of, method_named, settings_of
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.recipes import matching_settings, student_settings
from fredbench.training import TrainingRecipe

__all__ = ["PRESETS", "Preset", "Request", "Spec", "resolve"]


@dataclass(frozen=True)
class Preset:
    """How much of the published effort is spent; every row of a table names its preset."""

    name: str
    width: int
    students: int
    epochs: int
    holds_out_validation: bool
    iterations: int | None = None
    # Trajectory matching: at most so many experts, and steps of the student.
    experts: int | None = None
    steps: int | None = None

    def limited(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """An objective's `settings`, none above what this preset spends."""
        limits = {"experts": self.experts, "steps": self.steps}
        return {k: v if limits.get(k) is None else min(v, limits[k]) for k, v in settings.items()}


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("paper", width=128, students=5, epochs=1000, holds_out_validation=False),
        Preset("fair", width=128, students=5, epochs=1000, holds_out_validation=True),
        Preset(
            "quick",
            width=32,
            students=3,
            epochs=200,
            holds_out_validation=True,
            iterations=300,
            experts=10,
            steps=15,
        ),
    )
}


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


@dataclass(frozen=True)
class Spec:
    """One run. Equal specs give equal bytes on the CPU; anything that may change them is in here."""

    dataset: str
    fingerprint: str
    split: Literal["train", "train without validation"]
    method: str
    objective: str
    parameterization: str
    ipc: int
    budget: int
    preset: str
    seed: int
    iterations: int
    network: str
    device: str
    threads: int
    objective_settings: Mapping[str, Any]
    parameterization_settings: Mapping[str, Any]
    student_network: str
    students: int
    student: TrainingRecipe

    def to_mapping(self) -> dict[str, Any]:
        """Sections `run`, `objective`, `parameterization` and `student`, as in spec.toml."""
        run = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name
            not in {"objective_settings", "parameterization_settings", "student", "student_network", "students"}
        }
        student = {"network": self.student_network, "students": self.students, **to_mapping(self.student)}
        return {
            "run": run,
            "objective": dict(self.objective_settings),
            "parameterization": dict(self.parameterization_settings),
            "student": student,
        }

    def to_toml(self) -> str:
        """The canonical text of spec.toml."""
        return tomli_w.dumps(self.to_mapping())

    @staticmethod
    def from_toml(text: str, *, where: str) -> Spec:
        """The inverse of `to_toml`; `ArtefactError` when `text` is no spec."""
        try:
            sections = tomllib.loads(text)
            student = dict(sections["student"])
            return Spec(
                **sections["run"],
                objective_settings=sections["objective"],
                parameterization_settings=sections["parameterization"],
                student_network=student.pop("network"),
                students=student.pop("students"),
                student=TrainingRecipe(**student),
            )
        except (KeyError, TypeError, ValueError) as error:  # TOML's own errors are ValueErrors
            raise ArtefactError(f"{where} is no spec of a run: {error}", hint="delete the folder") from error

    def digest(self) -> str:
        """Hex SHA-256 of the canonical spec."""
        return hashlib.sha256(canonical_json(self.to_mapping()).encode()).hexdigest()

    def folder_name(self) -> str:
        """A readable name that no two specs share."""
        dataset = self.dataset.replace(":", "-").replace("/", "-").strip("-.")[-40:]
        what = f"{dataset}-{self.method}-{self.objective}-ipc{self.ipc}-{self.preset}"
        return f"{what}-it{self.iterations}-s{self.seed}-{self.digest()[:8]}"

    def start(self) -> Spec:
        """The same run at zero iterations: what the parameterization alone gives."""
        return dataclasses.replace(self, iterations=0)

    def control(self) -> Spec:
        """Random real pictures of the same budget, scored by the same recipe."""
        return dataclasses.replace(
            self,
            method="random",
            objective="none",
            parameterization="pixels",
            iterations=0,
            objective_settings={},
            parameterization_settings=to_mapping(PARAMETERIZATIONS.get("pixels").Config()),
        )

    @property
    def is_control(self) -> bool:
        """Whether this is a random subset."""
        return self.method == "random"

    @property
    def is_choice(self) -> bool:
        """Whether this is a choice of real pictures, random or not: nothing is distilled."""
        return self.objective == "none"

    @property
    def is_start(self) -> bool:
        """Whether this is a parameterization before its first iteration."""
        return self.iterations == 0 and not self.is_choice


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
    strategy = augmentation.strategy_for(dataset.flip)
    settings = settings_of(objective, parameterization, dataset=dataset.name, ipc=ipc, size=dataset.size)
    storage = {name: setting.value for name, setting in settings.items()}
    kind = PARAMETERIZATIONS.get(parameterization)
    config = replace_known(kind.Config(), {**storage, **sections["parameterization"]}, where="parameterization")
    iterations = _iterations(request, preset, objective, parameterization)
    matching = _matching(
        dataset, method, objective, kind, sections["objective"], ipc=ipc, iterations=iterations, preset=preset
    )
    network = _network(request.network or f"convnet-d{_depth(dataset.size)}-w{preset.width}-in", dataset)
    recipe = TrainingRecipe(epochs=preset.epochs, augmentation="_".join(strategy))
    if preset.name == "paper":
        augmented = matching.get("augmentation", "none") != "none"
        published = student_settings(
            objective,
            dataset=dataset.name,
            flip=dataset.flip,
            ipc=ipc,
            augmented=augmented,
            storage=to_mapping(config),
        )
        recipe = dataclasses.replace(recipe, **{name: setting.value for name, setting in published.items()})
    students = parse_value(sections["student"].pop("students", preset.students), int, where="student.students")
    if students < 1:
        raise UsageError(f"student.students must be at least 1, not {students}", hint="3 or more give a spread")
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
        student_network=_network(sections["student"].pop("network", network), dataset),
        students=students,
        student=replace_known(recipe, sections["student"], where="student"),
    )


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
        iterations=iterations,
        quick=preset.name == "quick",
    )
    values = {name: setting.value for name, setting in published.items()}
    spent = preset.limited({**to_mapping(defaults), **usual, **values})
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
    """(method, objective, parameterization); a pair given by hand is named after itself."""
    if request.method is not None and (request.objective or request.parameterization):
        method = method_named(request.method)
        objective = request.objective or method.objective
        parameterization = request.parameterization or method.parameterization
        if parameterization != method.parameterization:
            raise UsageError(
                f"--method {method.name} stores {method.parameterization!r}, not {parameterization!r}",
                hint="give --objective and --parameterization without --method",
            )
        if (objective == "none") != (method.objective == "none"):
            raise UsageError(
                f"--method {method.name} is objective {method.objective!r}, not {objective!r}",
                hint="methods random and herding choose pictures; the others match something",
            )
        return method.name, objective, parameterization
    if request.objective or request.parameterization:
        fred = method_named("fred")
        objective = request.objective or fred.objective
        parameterization = request.parameterization or fred.parameterization
        name = {"fred": "fred", "pixels": objective}.get(parameterization, f"{objective}-{parameterization}")
        return ("random" if objective == "none" else name), objective, parameterization
    method = method_named(request.method or "fred")
    return method.name, method.objective, method.parameterization


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


def _iterations(request: Request, preset: Preset, objective: str, parameterization: str) -> int:
    if request.iterations is not None and request.iterations < 0:
        raise UsageError(f"--iterations must be 0 or more, not {request.iterations}", hint="0 gives the start")
    if objective == "none":
        if request.iterations:
            raise UsageError("a choice of real pictures has no iterations", hint="drop --iterations, or use a method")
        return 0
    if request.iterations is not None:
        return request.iterations
    return preset.iterations if preset.iterations is not None else int(iterations_of(objective, parameterization).value)


def _network(name: str, dataset: Dataset) -> str:
    """The name that `name` stands for at this size, so that two spellings of a network are one spec."""
    return networks.canonical_name(name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)


def _depth(size: tuple[int, int]) -> int:
    """D3 at 32 px, D4 at 64, D5 at 128: the last map is always 4 x 4."""
    return max(1, round(math.log2(max(size) / 4)))


_SECTIONS = ("objective", "parameterization", "student")


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
