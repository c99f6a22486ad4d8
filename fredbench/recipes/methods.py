"""The published systems, by name: what each matches and stores, where it was published, what was checked here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fredbench.foundation.errors import UsageError
from fredbench.foundation.registry import Registry
from fredbench.recipes.rules import RULES, Rule

__all__ = ["METHODS", "Method", "register_method", "system_of"]


@dataclass(frozen=True)
class Method:
    """A named system: what is matched, what is stored, where it was published and what was checked here.

    names_its_storage: whether what is stored carries this name under any objective (FreD), not under its own alone.
    note: what whoever runs it should know; departures: the same, of runs on one dataset only, by the dataset's name.
    """

    name: str
    objective: str
    parameterization: str
    paper: str
    verified: str
    note: str = ""
    departures: Mapping[str, str] = field(default_factory=dict)
    names_its_storage: bool = False

    def notes(self, dataset: str | None = None) -> list[str]:
        """What whoever runs it should know, a sentence each: on `dataset`, or on any."""
        departures = self.departures.values() if dataset is None else [self.departures.get(dataset, "")]
        return [said for said in dict.fromkeys([self.note, *departures]) if said]


METHODS: Registry[Method] = Registry("method")


def register_method(method: Method, recipe: Iterable[Rule] = ()) -> Method:
    """Add a named system, with the rows of its recipe; they hold for runs by that name alone.

    The same system again changes nothing; another one of that name, or with another recipe, is a `UsageError`. See
    docs/plugins.md.
    """
    own = [_of(method, rule) for rule in recipe]
    if method.name not in METHODS:
        METHODS.register(method.name, method)
        RULES.extend(own)
    elif METHODS.get(method.name) != method or _outline(own) != _outline(_rows_of(method)):
        raise UsageError(
            f"method {method.name!r} is already registered, with other parts or another recipe",
            hint="choose another name for the plug-in",
        )
    return method


def _rows_of(method: Method) -> list[Rule]:
    return [rule for rule in RULES if rule.when.get("method") == method.name]


def _outline(rows: Iterable[Rule]) -> list[tuple[object, ...]]:
    """What of rows can be compared: a value may be a function, which is another one after a second import."""
    return [(rule.section, tuple(rule.values), rule.origin) for rule in rows]


def _of(method: Method, rule: Rule) -> Rule:
    """The row, for runs by the method's name only."""
    if not isinstance(rule, Rule):
        raise UsageError(
            f"the recipe of {method.name!r} holds {type(rule).__name__}, not rows alone",
            hint="write * before what gives several rows, as by_budget does",
        )
    if rule.when.get("method", method.name) != method.name:
        raise UsageError(
            f"a recipe's row is of {rule.when['method']!r}, not of {method.name!r}",
            hint="leave the method out: the rows of a system hold for its runs alone",
        )
    return replace(rule, when={**rule.when, "method": method.name})


def system_of(objective: str, parameterization: str) -> str:
    """The system that these two parts are, so that it is one run however it is asked for; else both their names.

    Of systems with the same parts the first listed is meant: random of the choices, CAFE without an augmentation.
    """
    pair = (objective, parameterization)
    for method in METHODS.values():
        if (method.objective, method.parameterization) == pair:
            return method.name
    named = (m.name for m in METHODS.values() if m.names_its_storage and m.parameterization == parameterization)
    return next(named, "-".join(pair))
