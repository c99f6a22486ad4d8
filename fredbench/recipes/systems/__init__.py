"""The published systems, one file each: `METHODS`, their names, and `RULES`, the rows of their recipes."""

from __future__ import annotations

from fredbench.recipes.methods import register_method
from fredbench.recipes.rules import RULES
from fredbench.recipes.systems import cafe, common, coresets, dc, ddif, dm, fred, frepo, gsdd, haba, idc, kip, tm

__all__ = ["LISTED", "READ", "load"]

# As `fredbench list methods` shows them.
LISTED = (coresets, dc, cafe, idc, dm, tm, kip, frepo, haba, fred, ddif, gsdd)
# What is stored before what is matched: an objective that brings its own optimiser has the last word.
READ = (common, fred, haba, ddif, gsdd, idc, coresets, dc, cafe, dm, tm, kip, frepo)


def load() -> None:
    """Register them all; a second call changes nothing."""
    if RULES:
        return
    for system in READ:
        RULES.extend(system.RULES)
    for system in LISTED:
        for method in system.METHODS:
            register_method(method)
