"""Grids of runs: which systems are distilled on which datasets at which budgets, and where they are scored.

A grid is a TOML file of `kind = "grid"` in the folder of suites, or a file of the user's. It says what is asked; the
cells are resolved to specs, run and scored in `execution`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fredbench.foundation.config import built
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.suites.corruption import suite_named
from fredbench.suites.reading import names_of, tables_of

__all__ = ["Cell", "Change", "Grid", "Place", "Resources", "grid_named", "grid_names"]


@dataclass(frozen=True)
class Place:
    """What of a grid is run on one dataset, and how it is scored.

    scored_on: name of the dataset's corruption suite. limit: evenly spaced test pictures, corrupted_limit: of the
    corruptions where those are to be fewer, severities: of the corruptions, students: a set; each left out means all,
    the suite's and the run's own. protocols: how sets are scored (see `corrupt-eval --protocol`), each in rows of its
    own. iterations, network and set (`SECTION.KEY=VALUE`, or a table of tables) are asked of every run, as on the
    command line of `distill`.
    """

    name: str
    scored_on: str
    ipcs: tuple[int, ...]
    preset: str = "paper"
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    severities: tuple[int, ...] = ()
    students: int | None = None
    iterations: int | None = None
    network: str | None = None
    set: tuple[str, ...] = ()
    corrupted_limit: int | None = None
    protocols: tuple[Literal["own", "fred-literal"], ...] = ("own",)


@dataclass(frozen=True)
class Resources:
    """What one task of a grid may take; what is left out is not limited.

    cores: CPU threads, which are part of every spec, unless others are asked for on the command line. num_gpus: of an
    engine, a fraction where several tasks share one. memory: GB, seconds: both ends of a task that passes them.
    """

    cores: int | None = None
    num_gpus: float = 0.0
    memory: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Change:
    """What is asked differently of the cells that agree with all of dataset, method, objective, parameterization, ipc.

    why: the reason, which every change must give. seeds: in place of the dataset's; none leaves the cells out.
    """

    why: str
    dataset: str | None = None
    method: str | None = None
    objective: str | None = None
    parameterization: str | None = None
    ipc: int | None = None
    iterations: int | None = None
    network: str | None = None
    set: tuple[str, ...] = ()
    students: int | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Cell:
    """One run that a grid asks for: a published system by its name, or an objective and a parameterization."""

    dataset: str
    ipc: int
    preset: str
    seed: int
    method: str | None = None
    objective: str | None = None
    parameterization: str | None = None
    iterations: int | None = None
    network: str | None = None
    overrides: tuple[str, ...] = ()
    students: int | None = None

    @property
    def system(self) -> str:
        """The method's name, or those of objective and parameterization."""
        return self.method or f"{self.objective} × {self.parameterization}"

    @property
    def label(self) -> str:
        """What it is called where one line speaks of it."""
        return f"{self.system}, ipc {self.ipc}" + (f", seed {self.seed}" if self.seed else "")

    def request(self) -> dict[str, Any]:
        """As the fields of `resolution.Request`."""
        return {key: value for key, value in vars(self).items() if key not in {"dataset", "students"}}


@dataclass(frozen=True)
class Grid:
    """Systems × datasets × budgets × seeds. Systems: `methods` by name, or all pairs of the other two, not both."""

    name: str
    title: str
    methods: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    parameterizations: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    places: tuple[Place, ...] = ()
    changes: tuple[Change, ...] = ()
    resources: Resources = field(default_factory=Resources)

    def place(self, dataset: str | None = None) -> Place:
        """Where `dataset` stands in the grid; by default the first."""
        known = {place.name: place for place in self.places}
        if dataset is not None and dataset not in known:
            raise UnknownNameError(f"dataset of suite {self.name}:", dataset, known)
        return self.places[0] if dataset is None else known[dataset]

    def cells(self, place: Place) -> tuple[Cell, ...]:
        """The runs on one dataset: by seed, then budget, then system, so that what belongs together ends together."""
        asked = [(cell, self._seeds(place, cell)) for cell in self.candidates(place)]
        seeds = dict.fromkeys([*place.seeds, *itertools.chain.from_iterable(own for _, own in asked)])
        return tuple(dataclasses.replace(cell, seed=seed) for seed in seeds for cell, own in asked if seed in own)

    def candidates(self, place: Place) -> list[Cell]:
        """Every budget and system once, under the dataset's first seed, whether or not a change leaves it any seed."""
        systems = [{"method": name} for name in self.methods] or [
            {"objective": objective, "parameterization": parameterization}
            for objective, parameterization in itertools.product(self.objectives, self.parameterizations)
        ]
        return [
            self._cell(place, place.seeds[0], ipc, system) for ipc, system in itertools.product(place.ipcs, systems)
        ]

    def _seeds(self, place: Place, cell: Cell) -> tuple[int, ...]:
        """Those of the last change that names some and fits, else the dataset's."""
        named = [change.seeds for change in self.changes if change.seeds is not None and _applies(change, cell)]
        return named[-1] if named else place.seeds

    def _cell(self, place: Place, seed: int, ipc: int, system: Mapping[str, str]) -> Cell:
        cell = Cell(
            place.name, ipc, place.preset, seed,
            **system, iterations=place.iterations, network=place.network, overrides=place.set, students=place.students,
        )  # fmt: skip
        for change in self.changes:
            if _applies(change, cell):
                cell = dataclasses.replace(
                    cell,
                    iterations=cell.iterations if change.iterations is None else change.iterations,
                    network=change.network or cell.network,
                    students=change.students or cell.students,
                    # Later ones win where a key stands twice.
                    overrides=(*cell.overrides, *change.set),
                )
        return cell


def _applies(change: Change, cell: Cell) -> bool:
    names = ("dataset", "method", "objective", "parameterization", "ipc")
    return all(getattr(change, name) in {None, getattr(cell, name)} for name in names)


def grid_names() -> list[str]:
    """Names of the grids that come with fredbench."""
    return names_of("grid")


def grid_named(name: str) -> Grid:
    """The grid called `name`, or the one in the TOML file at that path; `UsageError` when it cannot be meant."""
    values, where = tables_of(name, "grid")
    where = f"suite {where}"
    places = _tables(values.pop("datasets", []), Place, where=f"{where}, datasets")
    changes = _tables(values.pop("changes", []), Change, where=f"{where}, changes")
    resources = _resources(values.pop("resources", {}), where=f"{where}, resources")
    grid = dataclasses.replace(built(Grid, values, where=where), places=places, changes=changes, resources=resources)
    _check(grid, where)
    return grid


def _resources(values: Any, *, where: str) -> Resources:
    if not isinstance(values, dict):
        raise UsageError(f"{where} is no table", hint="write [resources] above it")
    found: Resources = built(Resources, values, where=where)
    for name, value in vars(found).items():
        if value is not None and (value < 0 or (value == 0 and name != "num_gpus")):
            raise UsageError(f"{where}: {name} = {value:g} is nothing", hint="give a positive number, or leave it out")
    return found


def _tables(values: Any, kind: type[Any], *, where: str) -> tuple[Any, ...]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise UsageError(f"{where} is no list of tables", hint=f"write [[{where.rpartition(' ')[2]}]] above each")
    named = [(value, f"{where}, number {number}") for number, value in enumerate(values, 1)]
    return tuple(built(kind, _with_settings(value, where=place), where=place) for value, place in named)


def _with_settings(value: Mapping[str, Any], *, where: str) -> Mapping[str, Any]:
    """The same with `set` as `SECTION.KEY=VALUE`, also where it is written as tables of values."""
    sections = value.get("set")
    if not isinstance(sections, dict):
        return value
    for section, settings in sections.items():
        if not isinstance(settings, dict) or any(isinstance(found, dict) for found in settings.values()):
            raise UsageError(f"{where}: set.{section} is no table of values", hint="write SECTION.KEY = VALUE below it")
    plain = [f"{name}.{key}={_text(found)}" for name, table in sections.items() for key, found in table.items()]
    return {**value, "set": plain}


def _text(value: Any) -> str:
    """A value of TOML as the command line would have it."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(grid: Grid, where: str) -> None:
    pairs = bool(grid.objectives) and bool(grid.parameterizations)
    if bool(grid.methods) == pairs or bool(grid.objectives) != bool(grid.parameterizations):
        raise UsageError(
            f"{where} does not say which systems it runs",
            hint="give methods, or objectives and parameterizations, and not both",
        )
    if not grid.places:
        raise UsageError(f"{where} names no dataset", hint="add [[datasets]] with name, scored_on and ipcs")
    if len({place.name for place in grid.places}) != len(grid.places):
        raise UsageError(f"{where} names a dataset twice", hint="put its ipcs into one [[datasets]]")
    for place in grid.places:
        if not place.ipcs or not place.seeds:
            raise UsageError(f"{where} has nothing to run on {place.name}", hint="give at least one of ipcs and seeds")
        if not grid.cells(place):
            raise UsageError(f"{where}: its changes leave no cell on {place.name}", hint="give one of them seeds")
        if not place.protocols:
            raise UsageError(f"{where} scores {place.name} by no protocol", hint='write protocols = ["own"]')
        tested = suite_named(place.scored_on).dataset
        if tested != place.name:
            raise UsageError(
                f"{where} scores {place.name} on {place.scored_on}, which tests {tested}",
                hint="choose the suite of the dataset, see `fredbench suite list`",
            )
    for number, change in enumerate(grid.changes, 1):
        if change.students is not None and change.students < 1:
            raise UsageError(f"{where}: change number {number} asks for {change.students} students", hint="1 or more")
        cells = (cell for place in grid.places for cell in grid.candidates(place))
        if not any(_applies(change, cell) for cell in cells):
            raise UsageError(f"{where}: change number {number} fits no cell", hint=f"mend or drop it: {change.why}")
