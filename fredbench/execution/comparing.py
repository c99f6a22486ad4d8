"""A run against predictions that were packed once: scored on the same pictures, compared pair by pair."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fredbench.datasets import Dataset
from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.comparison import Comparison, paired
from fredbench.evaluation.domains import TestDomains, domains_of
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.packed import Packed, PackedRow, packed
from fredbench.evaluation.pairing import shares_right
from fredbench.evaluation.rows import CLEAN, Row
from fredbench.evaluation.scoring import Evaluation, Protocol
from fredbench.execution.checking import finished
from fredbench.execution.inline import GridRun
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.files import canonical_json
from fredbench.runs.spec import Spec
from fredbench.suites.corruption import suite_named

__all__ = ["Against", "compared_with", "domains_as", "pack_grid"]


@dataclass(frozen=True)
class Against:
    """A run beside one packed row, on clean pictures and on average. ours: the run's row by the same protocol."""

    row: PackedRow
    ours: Row
    clean: float
    average: float | None
    comparisons: Mapping[str, Comparison]


def pack_grid(grid_run: GridRun, file: Path) -> tuple[Packed, int]:
    """Pack what the store has of a grid: every cell, start and control whose predictions are all there.

    Returns what was packed and the file's size in bytes; `UsageError` where there is nothing.
    """
    rows: list[PackedRow] = []
    outcomes: dict[tuple[int, str], Outcomes] = {}
    names = grid_run.evaluation.domains.names()
    for label, entrant, evaluation in finished(grid_run):
        row = evaluation.stored_row(entrant, names)
        if row is not None:
            outcomes |= {(len(rows), name): evaluation.outcomes_of(entrant, name) for name in names}
            rows.append(_described(label, row))
    if not rows:
        name = grid_run.grid.name
        raise UsageError(f"the store has no scored cell of {name}", hint=f"make them: fredbench suite run {name}")
    place, domains = grid_run.place, grid_run.evaluation.domains
    scoring = {
        "severities": list(domains.severities), "limit": place.limit, "corrupted_limit": place.corrupted_limit,
    }  # fmt: skip
    found = Packed(place.scored_on, place.name, scoring, _pictures(domains), tuple(rows), outcomes)
    return found, packed(found, file, classes=len(grid_run.dataset.classes))


def _described(label: str, row: Row) -> PackedRow:
    return PackedRow(
        label, Path(row.run).name, row.network, row.protocol, row.preset, row.ipc, row.seed, row.params, row.students
    )


def _pictures(domains: TestDomains) -> dict[str, str]:
    """By domain, the digest of what determines its pictures; how they are normalised is each row's own.

    The constants are in it beside the engine's version, so that changed ones are other pictures before they have one.
    """
    keys = {
        name: canonical_json(domains.key(name) | {"constants": domains.constants(name)}) for name in domains.names()
    }
    return {name: hashlib.sha256(key.encode()).hexdigest()[:20] for name, key in keys.items()}


def domains_as(found: Packed, dataset: Dataset, data: Path | None) -> TestDomains:
    """The domains that predictions were packed on; `CompatibilityError` where these are other pictures here."""
    suite, asked = suite_named(found.suite), dict(found.scoring)
    severities = tuple(asked.pop("severities"))
    domains = domains_of(suite, dataset, data, severities=severities if suite.corruptions else (), **asked)
    here = _pictures(domains)
    if other := [name for name, digest in found.domains.items() if here.get(name) != digest]:
        raise CompatibilityError(
            f"the packed predictions are of other pictures than {dataset.name} has here: {', '.join(other)}",
            hint="point --data at the data that they were made on, or pack them again with this version",
        )
    return domains


def compared_with(found: Packed, evaluation: Evaluation, entrant: Entrant) -> tuple[list[Against], list[str]]:
    """Score a run on the packed rows' pictures, where that is not done, and compare it with each row of its kind.

    Of its kind are rows of the same network, preset and IPC; the run is scored by each row's protocol. Returned with
    the names of the rows that are left out, each with why; `CompatibilityError` where that is all of them.
    """
    unlike = {number: why for number, row in enumerate(found.rows) if (why := _unlike(row, entrant.spec))}
    left_out = [f"{found.rows[number].name} ({why})" for number, why in unlike.items()]
    if len(unlike) == len(found.rows):
        raise CompatibilityError(
            f"no packed row is of the kind of {entrant.folder.path.name}: {'; '.join(left_out)}",
            hint="compare a run of the same network, preset and IPC, or pack a grid of this one's",
        )
    names = list(found.domains)
    corruptions = [name for name in names if name in evaluation.domains.suite.corruptions]
    averaged = corruptions or [name for name in names if name in evaluation.domains.shifts]
    domains = {CLEAN: [CLEAN], **({"average": averaged} if averaged else {})}
    against = []
    by_protocol: dict[str, tuple[Row, dict[str, Outcomes]]] = {}
    for number, packed_row in enumerate(found.rows):
        if number in unlike:
            continue
        if packed_row.protocol not in by_protocol:
            own = dataclasses.replace(evaluation, protocol=cast(Protocol, packed_row.protocol))
            (row,) = own.rows([entrant], names)
            by_protocol[packed_row.protocol] = row, {name: own.outcomes_of(entrant, name) for name in names}
        row, ours = by_protocol[packed_row.protocol]
        means: dict[str, float] = {}
        comparisons = {}
        for domain, members in domains.items():
            mine = shares_right([ours[name] for name in members])
            theirs = shares_right([found.outcomes[number, name] for name in members])
            if mine is not None and theirs is not None:
                means[domain] = 100 * float(theirs.mean())
                comparisons[domain] = paired(mine, theirs)
        against.append(Against(packed_row, row, means[CLEAN], means.get("average"), comparisons))
    return against, left_out


def _unlike(row: PackedRow, spec: Spec) -> str:
    """In what a packed row is of another kind than a run; empty where in nothing."""
    pairs = {
        "network": (row.network, spec.student_network),
        "preset": (row.preset, spec.preset),
        "ipc": (row.ipc, spec.ipc),
    }
    return ", ".join(f"{what} {theirs}, not {ours}" for what, (theirs, ours) in pairs.items() if theirs != ours)


def mapping_of(against: Against) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "row": against.row.name,
        "run": against.row.run,
        "protocol": against.row.protocol,
        "students": against.row.students,
        "clean": round(against.clean, 4),
        "average": None if against.average is None else round(against.average, 4),
    }
