"""Who ran what, and how: the published systems, the settings they were run with, and what a request resolves to.

`systems/` holds one file a system: its name and the rows of its recipe, as data. `rules` looks rows up, `resolution`
makes a spec of a request.
"""

from fredbench.recipes.methods import METHODS, Method, register_method
from fredbench.recipes.rules import (
    RULES,
    AtMost,
    Case,
    Rule,
    at_least,
    at_most,
    between,
    by_budget,
    chosen,
    except_for,
    inferred,
    look_up,
    paper,
    script,
    where,
)
from fredbench.recipes.settings import Origin, Setting, Settings
from fredbench.recipes.systems import load

__all__ = [
    "METHODS",
    "RULES",
    "AtMost",
    "Case",
    "Method",
    "Origin",
    "Rule",
    "Setting",
    "Settings",
    "at_least",
    "at_most",
    "between",
    "by_budget",
    "chosen",
    "except_for",
    "inferred",
    "look_up",
    "paper",
    "register_method",
    "script",
    "where",
]

load()
