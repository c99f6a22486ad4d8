"""What the project has measured of a grid's cells: they travel with fredbench, for those whose store lacks them.

A kept cell names its runs, and a run's name ends in the digest of its spec; it also says how many students were scored
on which test pictures. So it is shown only beside a cell that asks for the same, but for the threads, kind of device
and arithmetic (of one precision) that it was measured with: where a recipe, the data or a setting has changed since, it
is not found.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fredbench.evaluation.statistics import Sample, summarise
from fredbench.networks.names import ARITHMETICS, REDUCED, Arithmetic
from fredbench.runs.spec import Spec

__all__ = ["Kept", "kept_for"]


@dataclass(frozen=True)
class Kept:
    """A line of results/NAME.json: accuracies in percent, and where they were measured.

    runs: names of its sets, a seed each. asked: how they were scored. values: the whole line, as it was written.
    """

    runs: tuple[str, ...]
    protocol: str
    asked: Mapping[str, Any]
    clean: Sample
    average: Sample | None
    threads: int
    device: str
    values: Mapping[str, Any]

    @property
    def made_with(self) -> str:
        """Version, commit and machine that it was measured with, in words."""
        made = self.values["environment"]
        version, threads = made["versions"]["fredbench"], f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        commit = made["commit"][:12] + ("+" if made["commit"].endswith("+") else "")
        return f"fredbench {version} at {commit}, {threads} of {made['device_name']}"

    @property
    def counted(self) -> str:
        """Sets and students of each, as the tables count them."""
        students, sets = sorted(set(self.values["students"])), len(self.runs)
        if self.values["unit"] == "draw":
            return f"{students[0]} draws, kept"
        return f"{sets} set{'s' if sets > 1 else ''} × {', '.join(map(str, students))}, kept"

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it: what was run, and where."""
        return {"runs": list(self.runs), "students": self.values["students"], "environment": self.values["environment"]}

    def is_of(self, specs: Sequence[Spec], protocol: str, asked: Mapping[str, Any]) -> bool:
        """Whether it is what `specs`, of a set each, would give under `protocol`, `asked`, where it was measured."""
        if self.protocol != protocol or self.asked != asked:
            return False
        return any(
            self.runs == tuple(self._as_measured(spec, *pair).folder_name() for spec in specs)
            for pair in itertools.product(ARITHMETICS, repeat=2)
            # Rounding is one thing, another precision is another.
            if all(_precisions(spec.arithmetic, spec.student.arithmetic) == _precisions(*pair) for spec in specs)
        )

    def _as_measured(self, spec: Spec, arithmetic: Arithmetic, of_students: Arithmetic) -> Spec:
        student = replace(spec.student, arithmetic=of_students)
        return replace(spec, threads=self.threads, device=self.device, arithmetic=arithmetic, student=student)


def _precisions(*arithmetics: Arithmetic) -> tuple[bool, ...]:
    return tuple(each in REDUCED for each in arithmetics)


def kept_for(grid: str, specs: Sequence[Spec | None], protocol: str, asked: Mapping[str, Any]) -> Kept | None:
    """What is kept of the sets `specs` of the grid called `grid`; None where nothing, or of another experiment.

    asked: how they are scored; the same keys as those under `asked` of the kept line.
    """
    known = [spec for spec in specs if spec is not None]
    if len(known) != len(specs):
        return None
    return next((kept for kept in _all_of(grid) if kept.is_of(known, protocol, asked)), None)


@lru_cache
def _all_of(grid: str) -> tuple[Kept, ...]:
    file = _folder() / f"{grid}.json"
    if "/" in grid or "\\" in grid or not file.is_file():
        return ()
    return tuple(_read(line) for line in json.loads(file.read_text())["cells"])


def _read(line: Mapping[str, Any]) -> Kept:
    made, average = line["environment"], line["average"]
    return Kept(
        runs=tuple(line["runs"]),
        protocol=line["protocol"],
        asked=line["asked"],
        clean=summarise(line["clean"]["values"]),
        average=None if average is None else summarise(average["values"]),
        threads=made["threads"],
        device=made["device"],
        values=line,
    )


def _folder() -> Any:
    """The folder of kept results: inside an installed package or, in a checkout, beside it."""
    packaged = files("fredbench.evaluation") / "kept_results"
    return packaged if packaged.is_dir() else Path(str(files("fredbench"))).parent / "results"
