"""The regression gate: what a grid gives now, recorded as a reference or held against one.

Everything is read from the store, by the same path whether it was made a moment ago or last year; `make` makes what is
missing first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fredbench.evaluation import fingerprints
from fredbench.evaluation.entrants import Entrant, companion_specs
from fredbench.evaluation.fingerprints import Quantity
from fredbench.evaluation.references import FALSE_ALARM, Finding, Found, Line, Reference, Tier, judged
from fredbench.evaluation.rows import CLEAN, Row
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.execution.inline import GridRun, Planned
from fredbench.execution.making import Maker
from fredbench.execution.plan import plan_of
from fredbench.execution.running import outcomes
from fredbench.execution.schedule import Here
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.progress import say
from fredbench.runs.store import RunFolder

__all__ = ["Gathered", "checked", "finished", "gathered", "pooled", "recorded"]

_SUITE = "suite"


@dataclass
class Gathered:
    """What a grid gives: by (row, quantity), a value for each seed, or the sample of the only set.

    seeds: of the sets that a row has, in the order of its samples. problems: cells that could not be made, with the
    reason.
    """

    values: dict[tuple[str, str], list[float | str]] = field(default_factory=dict)
    kinds: dict[tuple[str, str], Quantity] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    published: dict[tuple[str, str], tuple[float, float | None, str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    pictures: int = 0

    def add(self, row: str, quantity: Quantity) -> None:
        """One seed's value of a quantity."""
        self.values.setdefault((row, quantity.name), []).append(quantity.value)
        self.kinds[row, quantity.name] = quantity

    def found(self, tier: Tier) -> dict[tuple[str, str], Found]:
        """As `references.judged` takes it."""
        found: dict[tuple[str, str], Found] = {}
        for key, values in self.values.items():
            numbers = [value for value in values if not isinstance(value, str)]
            texts = dict.fromkeys(value for value in values if isinstance(value, str))
            found[key] = " and ".join(texts) if texts else summarise([float(value) for value in numbers])
        for key, samples in self.samples.items():
            found[key] = _over_seeds(samples) if tier == "smoke" else _over_units(samples)
        return found


def _over_seeds(samples: Sequence[Sample]) -> Sample:
    return summarise([sample.mean for sample in samples])


def _over_units(samples: Sequence[Sample]) -> Sample:
    """Of several sets the unit is the set; of one, its students."""
    return samples[0] if len(samples) == 1 else _over_seeds(samples)


def gathered(grid_run: GridRun, tier: Tier, *, make: bool) -> Gathered:
    """What the store has of a grid; with `make` what is missing is made first."""
    found = Gathered(pictures=len(grid_run.evaluation.domains.indices))
    if make:
        maker = Maker(grid_run, plan_of(grid_run))
        made = outcomes(maker, Here(maker), yes=True)
        found.problems = {o.label: str(o.problem) for o in made if o.problem is not None}
    if tier == "smoke":
        for quantity in fingerprints.of_suite(grid_run.evaluation):
            found.add(_SUITE, quantity)
    for label, entrant, evaluation in finished(grid_run):
        _gather(found, label, entrant, evaluation, tier)
    return found


def finished(grid_run: GridRun) -> Iterator[tuple[str, Entrant, Evaluation]]:
    """The finished runs of a grid with their starts and controls, once under each protocol of their cells.

    Each with the name of its row, which is the same under all seeds, and with how its cell is scored.
    """
    seen: set[tuple[Path, str]] = set()
    for planned in grid_run.planned():
        for protocol in planned.cell.protocols:
            for role, folder in _folders(grid_run, planned):
                if folder.finished and (folder.path, protocol) not in seen:
                    seen.add((folder.path, protocol))
                    scored = "" if protocol == "own" else f" [{protocol}]"
                    label = f"{dataclasses.replace(planned.cell, seed=0).label}{role}{scored}"
                    yield label, Entrant.of(folder), grid_run.evaluation_of(planned.cell, protocol)


def _folders(grid_run: GridRun, planned: Planned) -> Iterator[tuple[str, RunFolder]]:
    if planned.spec is None or planned.folder is None or not planned.folder.finished:
        return
    yield "", planned.folder
    for spec in companion_specs(planned.spec):
        yield " control" if spec.is_control else " start", grid_run.store.folder_for(spec)


def _gather(found: Gathered, label: str, entrant: Entrant, evaluation: Evaluation, tier: Tier) -> None:
    row = evaluation.stored_row(entrant, evaluation.domains.names())
    row = row or evaluation.stored_row(entrant, evaluation.domains.clean_domains)
    if row is None:
        return
    found.protocols[label] = row.protocol
    found.seeds.setdefault(label, []).append(entrant.spec.seed)
    for name, sample in _accuracies(row, tier):
        found.samples.setdefault((label, name), []).append(sample)
    if row.published is not None:
        for name, printed in _printed(row.published):
            found.published[label, name] = (*printed, str(row.published["source"]))
    if tier == "smoke":
        found.add(label, Quantity("domains", ", ".join((CLEAN, *row.corruptions)), "exact"))
        for quantity in fingerprints.of_row(evaluation, entrant):
            found.add(label, quantity)


def _accuracies(row: Row, tier: Tier) -> Iterator[tuple[str, Sample]]:
    yield "clean", row.clean
    if row.average is not None:
        yield "average", row.average
        # Under seeds each is of few pictures and moves with the average: lines that could not fail, each at a price.
        if tier == "stored":
            yield from ((name, score.sample) for name, score in row.corruptions.items())


def _printed(published: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, float | None]]]:
    """Printed clean accuracies only: printed averages over corruptions do not say their severity."""
    if published.get("clean") is not None:
        yield "clean", (published["clean"]["mean"], published["clean"]["std"])


def recorded(
    grid_run: GridRun,
    tier: Tier,
    suite: str,
    made_in: Mapping[str, Any],
    *,
    false_alarm: float = FALSE_ALARM,
    make: bool,
) -> Reference:
    """A reference of what the grid gives under its seeds; `UsageError` where that is too little to refer to."""
    found = gathered(grid_run, tier, make=make)
    if found.problems:
        cell, problem = next(iter(found.problems.items()))
        raise UsageError(
            f"{len(found.problems)} cells could not be made, such as {cell}: {problem}", hint="mend them first"
        )
    if tier == "smoke":
        cells = {dataclasses.replace(planned.cell, seed=0).label for planned in grid_run.planned()}
        lines = [*_quantity_lines(found), *pooled(list(_accuracy_lines(found, tier)), len(cells))]
    else:
        lines = list(_published_lines(found) if tier == "published" else _accuracy_lines(found, tier))
    if not lines:
        nothing = "with a published number " if tier == "published" else ""
        raise UsageError(
            f"the store has no scored cell {nothing}of {suite}", hint=f"make some: fredbench suite run {suite}"
        )
    seeds = tuple(dict.fromkeys(planned.cell.seed for planned in grid_run.planned()))
    if tier == "smoke" and len(seeds) < 3:
        raise UsageError(
            f"a reference of the tier smoke needs the spread over seeds, and {len(seeds)} is asked for",
            hint="give --seed several times, 10 or more for a narrow tolerance",
        )
    return Reference(tier, suite, grid_run.place.name, seeds, false_alarm, tuple(lines), dict(made_in))


def _quantity_lines(found: Gathered) -> Iterator[Line]:
    for (row, name), kind in found.kinds.items():
        values = found.values[row, name]
        if isinstance(kind.value, str):
            if len(set(values)) > 1:
                raise UsageError(f"{row}: {name} is not the same under all seeds", hint="record cells of one recipe")
            yield Line(row, name, "exact", kind.value)
            continue
        sample = summarise([float(value) for value in values])
        by_chance = kind.rule == "statistical"
        yield Line(
            row, name, kind.rule, round(sample.mean, 6),
            std=_rounded(sample.std) if by_chance else None, n=sample.n if by_chance else None,
            floor=kind.floor, tolerance=kind.tolerance, protocol=found.protocols.get(row, "own"),
        )  # fmt: skip


def _accuracy_lines(found: Gathered, tier: Tier) -> Iterator[Line]:
    for (row, name), samples in found.samples.items():
        sample = _over_seeds(samples) if tier == "smoke" else _over_units(samples)
        # One test picture is the least that two students can differ by.
        floor = round(100 / found.pictures, 4)
        yield Line(
            row, name, "statistical" if tier == "smoke" else "students", round(sample.mean, 4),
            std=_rounded(sample.std), n=sample.n, floor=floor, protocol=found.protocols[row],
            seeds=None if tier == "smoke" else tuple(found.seeds[row]),
        )  # fmt: skip


def pooled(lines: Sequence[Line], cells: int) -> list[Line]:
    """Lines of accuracies under seeds, each with the deviation of all rows of its quantity, or its own if larger.

    cells: of how many grid cells the rows are. A start or control shares the draws of its cell, so that degrees of
    freedom are of cells: n - 1 each, for the n seeds that all rows have.
    """
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.quantity, []).append(line)
    over_rows = {
        quantity: math.sqrt(sum((line.std or 0.0) ** 2 for line in group) / len(group))
        for quantity, group in rows.items()
    }
    least = min((line.n or 0 for line in lines), default=0)
    return [
        dataclasses.replace(
            line, rule="pooled", std=_rounded(max(line.std or 0.0, over_rows[line.quantity])), df=cells * (least - 1)
        )
        for line in lines
    ]


def _published_lines(found: Gathered) -> Iterator[Line]:
    for (row, name), (mean, std, source) in found.published.items():
        if std is None:
            say(f"note: {row}: {name} {mean:g} is printed without a deviation and left out")
            continue
        floor = round(100 / found.pictures, 4)
        yield Line(
            row, name, "published", mean, std=std, floor=floor, protocol=found.protocols[row], source=source
        )  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def checked(reference: Reference, grid_run: GridRun, *, make: bool) -> tuple[list[Finding], Mapping[str, str]]:
    """Every line of the reference beside what the grid gives, and the cells that could not be made."""
    found = gathered(grid_run, reference.tier, make=make)
    for line in reference.lines:
        here = found.seeds.get(line.row)
        if line.rule == "students" and here is not None and sorted(here) != sorted(line.seeds or ()):
            raise CompatibilityError(
                f"{line.row} was recorded of the sets of {_seeds(line.seeds or ())}, and here are those of "
                f"{_seeds(here)}: other sets are no other students of the same",
                hint="give --seed as the reference has them, make what is missing, or record it anew",
            )
    return judged(reference, found.found(reference.tier)), found.problems


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {', '.join(map(str, sorted(seeds)))}" if seeds else "no seed"
