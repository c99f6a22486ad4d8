"""One value of a recipe, and where it comes from.

`script` (the authors' published scripts), `paper` (paper or its tables), `inferred` (follows from published numbers),
`chosen` (ours, where nothing is published).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Origin", "Setting", "Settings", "chosen", "inferred", "script"]

Origin = Literal["script", "paper", "inferred", "chosen"]


@dataclass(frozen=True)
class Setting:
    """One value of a recipe and its origin."""

    value: Any
    origin: Origin
    why: str = ""


Settings = Mapping[str, Setting]


def chosen(why: str, **values: Any) -> dict[str, Setting]:
    """Several values of our own, for one reason."""
    return {name: Setting(value, "chosen", why) for name, value in values.items()}


def inferred(why: str, **values: Any) -> dict[str, Setting]:
    """Several values that follow from published ones, for one reason."""
    return {name: Setting(value, "inferred", why) for name, value in values.items()}


def script(why: str, **values: Any) -> dict[str, Setting]:
    """Several values of one published script."""
    return {name: Setting(value, "script", why) for name, value in values.items()}
