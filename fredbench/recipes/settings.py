"""One value of a recipe, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["ORIGINS", "Origin", "Setting", "Settings"]

Origin = Literal["script", "paper", "inferred", "chosen"]
"""`script`: the authors' published scripts. `paper`: the paper or its tables. `inferred`: follows from published
numbers. `chosen`: ours, where nothing is published."""
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class Setting:
    """One value of a recipe, its origin, and its source or reason in words."""

    value: Any
    origin: Origin
    why: str


Settings = Mapping[str, Setting]
