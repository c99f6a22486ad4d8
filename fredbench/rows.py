"""A row of a table: one run's accuracies with everything that must stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fredbench.statistics import Sample

__all__ = ["CorruptionScore", "Row"]


@dataclass(frozen=True)
class CorruptionScore:
    """One corruption: the sample over students of the mean over severities, and the mean at each severity."""

    sample: Sample
    by_severity: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One run in a table. Accuracies in percent, spread over students; `corruptions` is empty in `evaluate`."""

    run: str
    dataset: str
    method: str
    objective: str
    parameterization: str
    iterations: int
    ipc: int
    params: int
    params_strict: int
    decoded: int
    students: int
    network: str
    scale: str
    recipe: str
    control: bool
    start: bool
    protocol: str
    source: str
    limit: int | None
    partial: Mapping[str, str]
    clean: Sample
    average: Sample | None = None
    corruptions: Mapping[str, CorruptionScore] = field(default_factory=dict)
    networks: Mapping[str, Sample] = field(default_factory=dict)
    published: Mapping[str, Any] | None = None
    seed: int = 0

    @property
    def drop(self) -> float | None:
        """Relative drop 1 - average / clean, in percent of the clean accuracy."""
        if self.average is None or self.clean.mean == 0:
            return None
        return 100 * (1 - self.average.mean / self.clean.mean)

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        name = self.method if self.control else f"{self.method} ({self.objective} × {self.parameterization})"
        role = " start" if self.start else " control" if self.control else ""
        protocol = "" if self.protocol == "own" else f" [{self.protocol}]"
        return f"{name}{role}{protocol}"

    def to_mapping(self) -> dict[str, Any]:
        """As the contract's JSON has it."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "run", "dataset", "method", "objective", "parameterization", "iterations", "ipc", "seed",
                "params", "params_strict", "decoded", "students", "network", "scale", "recipe",
                "control", "start", "protocol",
            )
        }  # fmt: skip
        plain["clean"] = self.clean.to_mapping()
        if self.average is not None:
            plain["average"] = self.average.to_mapping()
            plain["drop"] = None if self.drop is None else round(self.drop, 4)
            plain["corruptions"] = {
                name: {**score.sample.to_mapping(), "by_severity": [round(v, 4) for v in score.by_severity]}
                for name, score in self.corruptions.items()
            }
        if self.networks:
            plain["networks"] = {name: sample.to_mapping() for name, sample in self.networks.items()}
        plain |= {
            "source": self.source,
            "limit": self.limit,
            "partial": dict(self.partial),
            "published": None if self.published is None else dict(self.published),
        }
        return plain
