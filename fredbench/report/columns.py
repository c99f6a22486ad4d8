"""The columns that only some tables have: other uncorrupted domains, the drop, corruption errors, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fredbench.evaluation.rows import CLEAN_CROP, Row
from fredbench.evaluation.statistics import Sample

__all__ = ["Column", "calibration_columns", "further_columns"]

_DOMAIN_HEADS = {CLEAN_CROP: ("Crop", "clean test pictures in the corrupted ones' framing")}
# Head, what it means, its name in JSON, digits shown.
_CALIBRATION = (
    ("NLL", "negative log-likelihood in nats", "nll", 2),
    ("ECE", "expected calibration error in %, 15 bins", "ece", 1),
    ("aECE", "the same with bins of equally many pictures", "adaptive_ece", 1),
    ("AURC", "area under the risk-coverage curve in %", "aurc", 1),
    ("Brier", "Brier score, summed over classes: 0 to 2", "brier", 3),
)

Column = tuple[str, str, Callable[[Row], str | None]]
"""Head, what it means, and the text of a row's cell (None: absent)."""


def further_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns after clean that these rows have: other uncorrupted domains, drop, mCE, calibration."""

    def domain(name: str) -> Callable[[Row], str | None]:
        return lambda row: _shown(row.domains.get(name))

    columns: list[Column] = [
        (_DOMAIN_HEADS.get(name, (name, ""))[0], _DOMAIN_HEADS.get(name, ("", "other pictures"))[1], domain(name))
        for name in dict.fromkeys(name for row in rows for name in row.domains)
    ]
    drop_meaning = "share of the clean accuracy lost: 1 − average / clean"
    columns.append(("drop %", drop_meaning, lambda row: None if row.drop is None else f"{row.drop:.1f}"))
    if any(row.baseline is not None for row in rows):
        columns += [
            ("mCE", "mean corruption error, in % of the baseline's", lambda row: _shown(row.mce)),
            ("rel. mCE", "the same for what errors rise above the clean one", lambda row: _shown(row.relative_mce)),
        ]
    return columns + calibration_columns(rows)


def calibration_columns(rows: Sequence[Row]) -> list[Column]:
    """How far confidences can be trusted, clean and on average, of rows that say so."""
    return [
        (f"{head} {'avg.' if where == 'average' else where}", f"{meaning}, {where}", _measure(where, name, digits))
        for where in ("clean", "average")
        if any(where in row.calibration for row in rows)
        for head, meaning, name, digits in _CALIBRATION
    ]


def _measure(where: str, name: str, digits: int) -> Callable[[Row], str | None]:
    return lambda row: _shown(row.calibration[where].samples.get(name), digits) if where in row.calibration else None


def _shown(found: Sample | None, digits: int = 1) -> str | None:
    return None if found is None else found.text(digits)
