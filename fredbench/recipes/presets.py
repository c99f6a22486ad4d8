"""Presets: how much of the published effort is spent. Every row of a table names its preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """How much of the published effort is spent; every row of a table names its preset."""

    name: str
    width: int
    students: int
    epochs: int
    holds_out_validation: bool
    # Trajectory matching: at most so many experts, and steps of the student.
    experts: int | None = None
    steps: int | None = None

    def limited(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """`settings` of an objective that matches trajectories of experts, none above what this preset spends."""
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
            experts=10,
            steps=15,
        ),
    )
}
