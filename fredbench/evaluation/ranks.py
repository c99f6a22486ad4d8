"""Systems over many tables: mean rank, win rate, and which systems their ranks do not tell apart.

After Demšar, Journal of Machine Learning Research 7 (2006): Friedman's test over all, then Nemenyi's critical
difference between any two mean ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2, rankdata, studentized_range

from fredbench.foundation.errors import UsageError

__all__ = ["Ranks", "columns_of", "ranked"]

LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of systems over columns that all of them have, 1 the best.

    wins: for each system the share of (column, other system) in which it is ahead, ties counting half. p: Friedman's,
    None for fewer than two columns. critical: the least difference of mean ranks that counts at 5 % over all pairs.
    """

    systems: tuple[str, ...]
    means: tuple[float, ...]
    wins: tuple[float, ...]
    columns: tuple[str, ...]
    p: float | None
    critical: float | None

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """Runs of systems, by position in order of rank, that are not told apart; none that lies inside another."""
        if self.critical is None:
            return []
        found: list[tuple[int, int]] = []
        for first in range(len(self.means)):
            last = max(p for p in range(first, len(self.means)) if self.means[p] - self.means[first] < self.critical)
            if last > first and not any(last <= end for _, end in found):
                found.append((first, last))
        return found


def ranked(tables: Mapping[str, Mapping[str, float]]) -> Ranks:
    """Ranks of systems from their accuracies: `tables` has for each column a value a system, higher being better.

    Systems that some column lacks are left out of all; `UsageError` where fewer than two systems stand in every column.
    """
    common = [name for name in next(iter(tables.values()), {}) if all(name in column for column in tables.values())]
    if len(common) < 2:
        raise UsageError(
            f"{len(common)} system(s) stand in all {len(tables)} tables, and ranks need two",
            hint="give tables that share systems",
        )
    values = np.array([[column[name] for name in common] for column in tables.values()])
    ranks = rankdata(-values, axis=1)
    means = ranks.mean(axis=0)
    order = sorted(range(len(common)), key=lambda place: (means[place], common[place]))
    ahead = (values[:, :, None] > values[:, None, :]) + 0.5 * (values[:, :, None] == values[:, None, :])
    # A system is level with itself, which is no comparison.
    wins = (ahead.sum(axis=(0, 2)) - 0.5 * len(values)) / (len(values) * (len(common) - 1))
    many = len(values) > 1
    return Ranks(
        tuple(common[place] for place in order),
        tuple(float(means[place]) for place in order),
        tuple(float(wins[place]) for place in order),
        tuple(tables),
        _friedman(ranks) if many else None,
        _critical(len(common), len(values)) if many else None,
    )


def _friedman(ranks: np.ndarray) -> float:
    """Friedman's chi-squared with the correction for ties; 1 where all systems are level in all columns."""
    columns, systems = ranks.shape
    ties = sum(float((count**3 - count).sum()) for count in (np.unique(row, return_counts=True)[1] for row in ranks))
    correction = 1 - ties / (columns * (systems**3 - systems))
    if correction <= 0:
        return 1.0
    spread = 12 * columns / (systems * (systems + 1)) * float(((ranks.mean(axis=0) - (systems + 1) / 2) ** 2).sum())
    return float(chi2.sf(spread / correction, systems - 1))


def _critical(systems: int, columns: int) -> float:
    """Nemenyi: the studentised range for infinitely many degrees of freedom, over the root of two."""
    q = float(studentized_range.ppf(1 - LEVEL, systems, np.inf)) / math.sqrt(2)
    return q * math.sqrt(systems * (systems + 1) / (6 * columns))


def columns_of(documents: Sequence[Mapping[str, Any]], *, corruptions: bool = False) -> dict[str, dict[str, float]]:
    """For each kept grid and budget the mean accuracy of each system, clean and average, or clean and each corruption.

    A system is a cell's name without budget and seed, with the protocol that scored it where that is not its own. A
    column is of one dataset, suite with its severities, preset, scale, limits and budget. Starts and controls beside
    other cells are not among them; seeds of one system are averaged, and a cell that two documents have is refused.
    """
    columns: dict[str, dict[str, list[float]]] = {}
    seen: set[tuple[str, str]] = set()
    for document in documents:
        for row in (row for row in _rows(document) if "cell" in row):
            # "dm, ipc 1, seed 3": tables of another budget are other tables.
            system, _, rest = str(row["cell"]).partition(", ")
            budget = rest.partition(",")[0]
            protocol = row.get("protocol", "own")
            system += "" if protocol == "own" else f" [{protocol}]"
            where = f"{_where(document, row)}, {budget}"
            if (where, key := f"{system}, {rest}") in seen:
                raise UsageError(f"{key} stands twice in {where}", hint="give each table once")
            seen.add((where, key))
            average = {"average": row["average"]} if "average" in row else {}
            scores = {"clean": row["clean"], **(row.get("corruptions", {}) if corruptions else average)}
            for name, sample in scores.items():
                columns.setdefault(f"{where}, {name}", {}).setdefault(system, []).append(float(sample["mean"]))
    return {name: {system: sum(v) / len(v) for system, v in found.items()} for name, found in columns.items()}


def _where(document: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What rows must share to stand in one column, beside the budget."""
    asked = document.get("asked") or {}
    severities = document.get("severities") or []
    corrupted = asked.get("corrupted_limit")
    parts = [
        str(document["dataset"]),
        str(document.get("scored_on") or row.get("suite") or ""),
        "" if not severities or list(severities) == [1, 2, 3, 4, 5] else f"severities {severities}",
        str(row.get("scale") or asked.get("preset") or ""),
        f"scale {asked['scale']}" if asked.get("scale") else "",
        "" if asked.get("limit") is None else f"{asked['limit']} pictures",
        "" if corrupted is None else f"{corrupted} corrupted",
    ]
    return ", ".join(part for part in parts if part)


def _rows(document: Any) -> list[dict[str, Any]]:
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or document.get("format") != "fredbench-grid":
        raise UsageError("ranks are of tables that `fredbench suite run --out FILE` wrote", hint="give such JSON files")
    return rows
