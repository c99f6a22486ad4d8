"""Rows of several test networks: one a network, and their mean, in which each network counts once.

Students of one network share its architecture, so they are no independent trials of "any network": in a mean row the
unit is the network, by the mean of its students, and the spread is that between networks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fredbench.evaluation.rows import Calibration, CorruptionScore, Row
from fredbench.evaluation.statistics import Sample, summarise

__all__ = ["expanded", "in_networks"]


def in_networks(row: Row, clean: Mapping[str, Sample], scores: Mapping[str, Mapping[str, Any]]) -> Row:
    """`row`, of the first network, with the rows of all networks and their mean; itself where there is one network.

    clean, scores: by network, the clean accuracy and what else follows from predictions (`aggregation.row_scores`).
    """
    if len(clean) < 2:
        return row
    each = {
        name: dataclasses.replace(
            row, network=name, clean=clean[name], apart=True, networks={},
            published=row.published if name == row.network else None, **scores[name],
        )
        for name in clean
    }  # fmt: skip
    return dataclasses.replace(row, by_network=each, over_networks=_mean_row(list(each.values())))


def expanded(rows: Sequence[Row]) -> list[Row]:
    """What a table shows: rows of one network as they are, of several one for each and then their mean."""
    shown: list[Row] = []
    for row in rows:
        each = [dataclasses.replace(found, compared=row.compared) for found in row.by_network.values()]
        shown += [*each, row.over_networks] if row.over_networks is not None else [row]
    return shown


def _mean_row(rows: Sequence[Row]) -> Row:
    """The mean of rows of several networks, `unit` being the network."""
    first = rows[0]

    def over(found: Callable[[Row], Sample | None]) -> Sample | None:
        samples = [sample for row in rows if (sample := found(row)) is not None]
        return summarise([sample.mean for sample in samples]) if len(samples) == len(rows) else None

    return dataclasses.replace(
        first,
        network=f"{len(rows)} networks",
        unit="network",
        students=len(rows),
        published=None,
        clean=summarise([row.clean.mean for row in rows]),
        average=over(lambda row: row.average),
        corruptions={name: _corruption([row.corruptions[name] for row in rows]) for name in first.corruptions},
        domains={name: summarise([row.domains[name].mean for row in rows]) for name in first.domains},
        mce=over(lambda row: row.mce),
        relative_mce=over(lambda row: row.relative_mce),
        calibration={name: _calibration([row.calibration[name] for row in rows]) for name in first.calibration},
        attacked=None,
        outliers=(),
        stability=(),
    )


def _corruption(scores: Sequence[CorruptionScore]) -> CorruptionScore:
    return CorruptionScore(
        summarise([score.sample.mean for score in scores]),
        tuple(math.fsum(values) / len(values) for values in zip(*(score.by_severity for score in scores), strict=True)),
        _mean([score.ce for score in scores]),
        _mean([score.relative_ce for score in scores]),
    )


def _calibration(found: Sequence[Calibration]) -> Calibration:
    def over(samples: Sequence[Sample | None]) -> Sample | None:
        known = [sample.mean for sample in samples if sample is not None]
        return summarise(known) if len(known) == len(samples) else None

    return Calibration(
        summarise([each.nll.mean for each in found]),
        summarise([each.ece.mean for each in found]),
        over([each.adaptive for each in found]),
        over([each.aurc for each in found]),
        over([each.brier for each in found]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one is undefined."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
