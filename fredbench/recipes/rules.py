"""Recipes as data: rows that say which values hold where, where each comes from, and the look-up over all of them.

A row (`Rule`) gives values of one section of a spec to every case that its conditions fit. Rows are read in order and
later ones win, value by value; rows that speak of a preset come after those that do not, since a preset says how much
of the published effort is spent. Nothing here knows the name of a system, an objective or a dataset: those stand in
`fredbench.recipes.systems` and in plug-ins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fredbench.foundation.errors import UsageError
from fredbench.recipes.settings import ORIGINS, Origin, Setting

__all__ = [
    "RULES",
    "AtMost",
    "Case",
    "Rule",
    "Section",
    "Where",
    "at_least",
    "at_most",
    "between",
    "by_budget",
    "chosen",
    "except_for",
    "inferred",
    "look_up",
    "paper",
    "script",
    "where",
]

Section = Literal["run", "data", "parameterization", "objective", "labels", "student"]
_SECTIONS = frozenset({"run", "data", "parameterization", "objective", "labels", "student"})


@dataclass(frozen=True)
class Case:
    """What rows may ask about.

    choice: whether real pictures are chosen and nothing is distilled. experts: whether the objective follows the
    trajectories of experts. ipc: whole pictures a class that the budget
    would buy, at least 1. size: (H, W) in pixels. channels: numbers a pixel. flip: whether a mirrored picture keeps its
    class. width: that of the run's networks. iterations: of the outer loop, 0 for a start (section `run` is looked up
    before it is known).
    Of the student's section alone: augmented, whether the objective matched under an augmentation; storage, the
    settings of the parameterization; pictures, how many a student sees in one epoch.
    """

    method: str = ""
    objective: str = ""
    parameterization: str = "pixels"
    choice: bool = False
    experts: bool = False
    dataset: str = ""
    classes: int = 10
    ipc: int = 1
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    flip: bool = True
    preset: str = "paper"
    width: int = 128
    iterations: int = 0
    augmented: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)
    pictures: int = 0

    @property
    def side(self) -> int:
        """The longer side of a picture, in pixels."""
        return max(self.size)

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return self.size[0] * self.size[1]


# What is known only when the student's section is read; and the length of a run, once its own section was.
_LATE = frozenset({"augmented", "storage", "pictures"})
_KNOWN_LATE = {"run": _LATE | {"iterations"}, "student": frozenset()}
_RUN = frozenset({"iterations", "network"})
_FACTS = frozenset(f.name for f in dataclasses.fields(Case)) | {"side", "area"}

# A value that a fact must equal, several of which it must be one, or a test of it.
Condition = Any
Where = Mapping[str, Condition]


def where(**conditions: Condition) -> Where:
    """Conditions on the facts of a `Case`, all of which must hold; an unknown fact is a `UsageError`.

    >>> fits(where(objective={"dc", "dsa"}, side=at_least(64)), Case(objective="dc", size=(64, 64)))
    True
    """
    if unknown := conditions.keys() - _FACTS:
        raise UsageError(f"a recipe asks for {', '.join(sorted(unknown))}", hint=f"facts: {', '.join(sorted(_FACTS))}")
    return conditions


def fits(conditions: Where, case: Case) -> bool:
    """Whether every condition holds of `case`."""
    return all(_holds(condition, getattr(case, fact)) for fact, condition in conditions.items())


def _holds(condition: Condition, value: Any) -> bool:
    if callable(condition):
        return bool(condition(value))
    # A size is a pair and may be asked for as such, so that equality comes before being one of several.
    several = isinstance(condition, Collection) and not isinstance(condition, str)
    return bool(value == condition) or (several and value in condition)


def at_least(least: int | float) -> Callable[[Any], bool]:
    """A condition: a number of `least` or more."""
    return lambda value: bool(value >= least)


def at_most(most: int | float) -> Callable[[Any], bool]:
    """A condition: a number of `most` or less."""
    return lambda value: bool(value <= most)


def between(least: int | float, below: int | float) -> Callable[[Any], bool]:
    """A condition: a number of `least` or more, and below `below`."""
    return lambda value: bool(least <= value < below)


def except_for(*values: Any) -> Callable[[Any], bool]:
    """A condition: none of `values`."""
    return lambda value: value not in values


@dataclass(frozen=True)
class AtMost:
    """As a value: what stood until here, by earlier rows or as the part's default, but no more than this."""

    most: int | float


@dataclass(frozen=True)
class Rule:
    """A row: `values` of a section for the cases that fit `when`.

    A value may be a function of the case. source: the file, table or reason, in words or as a function of the case.
    published: the cases that the source itself speaks of, where it speaks of fewer than the row is used for; in others
    the values are taken over, with the origin `elsewhere`.
    """

    section: Section
    values: Mapping[str, Any]
    origin: Origin
    source: str | Callable[[Case], str]
    when: Where = field(default_factory=dict)
    published: tuple[Where, ...] = ()
    elsewhere: Origin = "inferred"

    def __post_init__(self) -> None:
        if self.section not in _SECTIONS or not {self.origin, self.elsewhere} <= set(ORIGINS):
            raise UsageError(
                f"a recipe's row of section {self.section!r} has origin {self.origin!r}",
                hint=f"sections: {', '.join(sorted(_SECTIONS))}; origins: {', '.join(ORIGINS)}",
            )
        if not self.source:
            raise UsageError(
                f"a recipe's row for {', '.join(self.values)} has no source", hint="say where the values come from"
            )
        for conditions in (self.when, *self.published):
            where(**conditions)
            if early := conditions.keys() & _KNOWN_LATE.get(self.section, _LATE):
                raise UsageError(
                    f"a recipe's row of section {self.section!r} asks for {', '.join(sorted(early))}",
                    hint="that is known only after this section was read",
                )
        if self.section == "run" and (unknown := self.values.keys() - _RUN):
            raise UsageError(
                f"a run has no {', '.join(sorted(unknown))}", hint=f"section run holds {' and '.join(sorted(_RUN))}"
            )

    def settings(self, case: Case, earlier: Mapping[str, Any]) -> dict[str, Setting]:
        """The row's values for a case that it fits; `earlier`: the values until here, which some may limit."""
        source = self.source(case) if callable(self.source) else self.source
        origin = self.origin
        if self.published and not any(fits(cell, case) for cell in self.published):
            origin, source = self.elsewhere, f"published for others: {source}"
        return {
            name: Setting(_value(value, case, earlier.get(name)), origin, source) for name, value in self.values.items()
        }


def _value(value: Any, case: Case, earlier: Any) -> Any:
    if isinstance(value, AtMost):
        return value.most if earlier is None else min(earlier, value.most)
    return value(case) if callable(value) else value


def _row(origin: Origin) -> Callable[..., Rule]:
    def row(
        section: Section,
        source: str | Callable[[Case], str],
        when: Where | None = None,
        *,
        published: Iterable[Where] = (),
        elsewhere: Origin = "inferred",
        **values: Any,
    ) -> Rule:
        return Rule(section, values, origin, source, when or {}, tuple(published), elsewhere)

    row.__doc__ = f"A row whose values are `{origin}`: section, source, conditions, and the values by name."
    return row


script, paper, inferred, chosen = _row("script"), _row("paper"), _row("inferred"), _row("chosen")


def by_budget(
    section: Section,
    rows: Mapping[int, Mapping[str, Any]],
    origin: Origin,
    source: str,
    when: Where,
    *,
    twins: Collection[int] = (),
    what: str = "settings",
) -> list[Rule]:
    """Rows by IPC: a budget that is not listed takes the nearest below it, or the lowest, and says so (`chosen`).

    twins: budgets that were published with the values of the listed one below them.
    """
    made, listed = [], sorted(rows)
    for position, budget in enumerate(listed):
        # What lies below the lowest takes the lowest; what lies above the highest takes the highest.
        least = budget if position else 1
        reached = between(least, listed[position + 1]) if position + 1 < len(listed) else at_least(least)

        def taken_over(case: Case, budget: int = budget) -> str:
            return f"IPC {case.ipc} is not published; the {what} of IPC {budget}"

        made.append(Rule(section, rows[budget], "chosen", taken_over, {**when, "ipc": reached}))
        own = {budget, *(twin for twin in twins if reached(twin))}
        made.append(Rule(section, rows[budget], origin, source, {**when, "ipc": own}))
    return made


RULES: list[Rule] = []
"""All rows, in order: those that come with fredbench, then those of plug-ins."""


def look_up(case: Case, section: Section, defaults: Mapping[str, Any] | None = None) -> dict[str, Setting]:
    """What the rows say of one section of a case; empty where they say nothing.

    defaults: the part's own values, which stand where no row speaks; rows that limit a value see them.
    """
    found: dict[str, Setting] = {}
    values = dict(defaults or {})
    for rule in sorted(RULES, key=lambda rule: "preset" in rule.when):
        if rule.section == section and fits(rule.when, case):
            settings = rule.settings(case, values)
            found |= settings
            values |= {name: setting.value for name, setting in settings.items()}
    return found
