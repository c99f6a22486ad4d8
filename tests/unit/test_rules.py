"""Rows of recipes: which of them hold, which win, and what they say of themselves."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
from commands import ROOT
from spine import cifar_like

from fredbench.foundation.errors import UsageError
from fredbench.recipes import (
    METHODS,
    RULES,
    AtMost,
    Case,
    Method,
    Rule,
    at_least,
    at_most,
    between,
    by_budget,
    chosen,
    except_for,
    look_up,
    paper,
    register_method,
    script,
    systems,
    where,
)
from fredbench.recipes.methods import system_of
from fredbench.recipes.resolution import Request, resolve
from fredbench.recipes.rules import fits
from fredbench.recipes.settings import ORIGINS


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Rule]:
    """The registered rows, none to begin with; put back afterwards."""
    kept: list[Rule] = []
    monkeypatch.setattr("fredbench.recipes.rules.RULES", kept)
    monkeypatch.setattr("fredbench.recipes.methods.RULES", kept)
    return kept


@pytest.mark.parametrize(
    ("condition", "fact", "value", "holds"),
    [("dm", "objective", "dm", True), ("dm", "objective", "dms", False), ({"dc", "dm"}, "objective", "dm", True),
     ((1, 50), "ipc", 10, False), (False, "flip", False, True), (at_least(64), "width", 64, True),
     (at_most(64), "width", 65, False), (between(1, 10), "ipc", 10, False), (between(1, 10), "ipc", 1, True),
     (except_for("quick"), "preset", "paper", True), (except_for("quick"), "preset", "quick", False)],
)  # fmt: skip
def test_a_condition_is_a_value_several_or_a_test(condition: object, fact: str, value: object, holds: bool) -> None:
    assert fits(where(**{fact: condition}), Case(**{fact: value})) is holds


def test_derived_facts_can_be_asked_for() -> None:
    assert fits(where(side=at_least(64), area=32 * 64), Case(size=(32, 64)))
    with pytest.raises(UsageError, match="asks for colour") as caught:
        where(colour="red")
    assert "classes" in caught.value.hint


def test_later_rows_win_value_by_value_and_presets_come_last(rows: list[Rule]) -> None:
    rows += [
        chosen("objective", "quick", where(preset="quick"), rounds=AtMost(2), batch=8),
        script("objective", "code", rounds=10, epochs=50),
        paper("objective", "table", where(ipc=1), rounds=1),
    ]
    found = {name: (s.value, s.origin) for name, s in look_up(Case(ipc=10), "objective").items()}
    assert found == {"rounds": (10, "script"), "epochs": (50, "script")}
    assert look_up(Case(ipc=1), "objective")["rounds"].value == 1
    quick = look_up(Case(ipc=10, preset="quick"), "objective")
    assert [quick[name].value for name in ("rounds", "epochs", "batch")] == [2, 50, 8]
    assert look_up(Case(ipc=1, preset="quick"), "objective")["rounds"].value == 1
    assert look_up(Case(), "student") == {}
    # A limit holds for a part's own default too, and only downwards.
    rows[:] = [chosen("objective", "quick", experts=AtMost(10))]
    for default, found in ((100, 10), (3, 3)):
        assert look_up(Case(), "objective", {"experts": default, "steps": 50})["experts"].value == found


def test_a_row_used_beyond_its_source_says_so(rows: list[Rule]) -> None:
    rows.append(script("objective", "its README", published=[where(dataset="cifar10"), where(dataset="svhn")], lr=1.0))
    own, other = (look_up(Case(dataset=name), "objective")["lr"] for name in ("svhn", "mine"))
    assert (own.origin, own.why) == ("script", "its README")
    assert (other.origin, other.why, other.value) == ("inferred", "published for others: its README", 1.0)


def test_values_and_sources_may_depend_on_the_case(rows: list[Rule]) -> None:
    rows.append(
        Rule("labels", {"divisor": lambda case: case.classes / 10}, "script", lambda case: f"of {case.dataset}")
    )
    found = look_up(Case(classes=200, dataset="x"), "labels")["divisor"]
    assert (found.value, found.why) == (20.0, "of x")


@pytest.mark.parametrize(
    ("ipc", "value", "origin"),
    [(1, "a", "script"), (2, "a", "script"), (3, "a", "chosen"), (9, "a", "chosen"), (10, "b", "script"),
     (11, "b", "chosen"), (500, "b", "chosen")],
)  # fmt: skip
def test_a_budget_that_is_not_listed_takes_the_lower_one(rows: list[Rule], ipc: int, value: str, origin: str) -> None:
    rows += by_budget("objective", {10: {"v": "b"}, 1: {"v": "a"}}, "script", "table", where(), twins={2}, what="loops")
    found = look_up(Case(ipc=ipc), "objective")["v"]
    assert (found.value, found.origin) == (value, origin)
    assert (found.why == "table") == (origin == "script")
    assert origin == "script" or found.why == f"IPC {ipc} is not published; the loops of IPC {1 if ipc < 10 else 10}"


def test_below_the_lowest_listed_budget_stands_the_lowest(rows: list[Rule]) -> None:
    rows += by_budget("objective", {10: {"v": "b"}}, "script", "table", where())
    assert look_up(Case(ipc=1), "objective")["v"].origin == "chosen"


@pytest.mark.parametrize(
    "row",
    [
        lambda: chosen("objective", "", lr=1.0),
        lambda: script("objective", "why", where(), published=[{"colour": 1}], lr=1.0),
        lambda: chosen("run", "why", iteration=7),
        lambda: chosen("run", "why", where(iterations=1), iterations=7),
        lambda: chosen("objective", "why", where(augmented=True), lr=1.0),
    ],
)
def test_a_row_that_could_never_hold_or_says_nothing_is_refused(row) -> None:
    with pytest.raises(UsageError):
        row()


@pytest.mark.parametrize("length", [-3, "many", 1.5])
def test_a_length_that_is_none_is_refused(rows: list[Rule], length: object) -> None:
    rows.append(chosen("run", "why", iterations=length))
    with pytest.raises(UsageError, match="iterations"):
        resolve(Request(ipc=1, method="dm"), cifar_like(), device="cpu", threads=1)


def test_a_size_is_a_pair_and_not_one_of_two() -> None:
    assert fits(where(size=(32, 32)), Case()) and fits(where(size=[(32, 32), (64, 64)]), Case())
    assert not fits(where(size=(32, 64)), Case())


def test_every_row_that_ships_says_where_it_comes_from() -> None:
    for rule in RULES:
        source = rule.source(Case(method="any", dataset="any")) if callable(rule.source) else rule.source
        assert source.strip() and rule.origin in ORIGINS and rule.values, rule


def test_a_system_is_registered_once_and_its_rows_are_its_own(rows: list[Rule], monkeypatch) -> None:
    monkeypatch.setattr(METHODS, "_targets", dict(METHODS._targets))
    monkeypatch.setattr(METHODS, "_summaries", dict(METHODS._summaries))
    mine = Method("mine", "dm", "pixels", "nowhere", "nothing")
    recipe = [chosen("run", "why", iterations=7), chosen("run", "more", where(preset="quick"), iterations=3)]
    register_method(mine, recipe)
    register_method(mine, recipe)  # the same module, imported again
    assert len(rows) == 2
    for again, other in ((mine, recipe[:1]), (replace(mine, objective="dc"), recipe)):
        with pytest.raises(UsageError, match="'mine' is already registered"):
            register_method(again, other)
    assert look_up(Case(method="mine", objective="dm"), "run")["iterations"].value == 7
    assert look_up(Case(method="dm", objective="dm"), "run") == {}
    with pytest.raises(UsageError, match="already registered"):
        register_method(Method("dm", "tm", "pixels", "nowhere", "nothing"))
    with pytest.raises(UsageError, match="of 'other', not of 'another'"):
        register_method(Method("another", "dm", "pixels", "nowhere", "nothing"),
                        [chosen("run", "why", where(method="other"), iterations=1)])  # fmt: skip


def test_a_storage_that_names_its_systems_takes_no_others_pair(monkeypatch) -> None:
    monkeypatch.setattr(METHODS, "_targets", dict(METHODS._targets))
    monkeypatch.setattr(METHODS, "_summaries", dict(METHODS._summaries))
    register_method(Method("greedy", "dm", "pixels", "nowhere", "nothing", names_its_storage=True))
    assert [system_of(objective, "pixels") for objective in ("tm", "dm", "none", "novel")] == [
        *("tm", "dm", "random"),
        "greedy",
    ]
    assert system_of("novel", "fred") == "fred" and system_of("novel", "idc") == "novel-idc"


def test_every_file_of_a_system_is_read_and_listed() -> None:
    folder = ROOT / "fredbench" / "recipes" / "systems"
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "trajectories"}
    read, listed = (
        {module.__name__.rpartition(".")[2] for module in group} for group in (systems.READ, systems.LISTED)
    )
    assert read == files and listed == files - {"common"}


def test_the_look_up_knows_no_name_of_a_system() -> None:
    """Names stand in `systems/`: neither the rules nor the way from a request to a spec compare with one."""
    names = {method.name for method in METHODS.values()} | {method.objective for method in METHODS.values()}
    names |= {method.parameterization for method in METHODS.values()}
    for file in ("rules.py", "settings.py", "methods.py", "resolution.py", "presets.py"):
        tree = ast.parse((ROOT / "fredbench" / "recipes" / file).read_text())
        compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
        constants = {c.value for node in compared for c in ast.walk(node) if isinstance(c, ast.Constant)}
        # "none" is also the word for no augmentation.
        assert constants & (names - {"none"}) == set(), file
