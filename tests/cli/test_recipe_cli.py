from __future__ import annotations

import json

from commands import invoke


def test_a_recipe_says_where_its_values_come_from() -> None:
    asked = ("recipe", "digits", "--ipc", "1", "--method", "fred")
    records = {(r["section"], r["setting"]): r for r in json.loads(invoke(*asked, "--format", "json").out)}
    k = records["parameterization", "k"]
    assert (k["value"], k["origin"]) == (256, "chosen") and "nothing to distill" in k["why"]
    assert records["run", "iterations"]["origin"] == "script"
    assert "nothing to distill" in invoke(*asked).out


def test_its_help_ends_in_two_examples() -> None:
    lines = invoke("recipe", "--help").out.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:" and all("fredbench recipe" in line for line in lines[-2:])


def test_what_cannot_be_distilled_has_no_recipe() -> None:
    assert "mystery" in invoke("recipe", "digits", "--ipc", "1", "--method", "mystery").problem()[0]
