"""The columns that only some tables have: other uncorrupted domains, the drop, corruption errors, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fredbench.evaluation.rows import CLEAN_CROP, Row
from fredbench.evaluation.statistics import Sample

__all__ = ["Column", "further_columns"]

_DOMAIN_HEADS = {CLEAN_CROP: ("Crop", "clean test pictures in the corrupted ones' framing")}

Column = tuple[str, str, Callable[[Row], str | None]]
"""Head, what it means, and the text of a row's cell (None: absent)."""


def further_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns after clean that these rows have: other uncorrupted domains, drop, mCE, calibration."""

    def sample(found: Sample | None, digits: int = 1) -> str | None:
        if found is None:
            return None
        return f"{found.mean:.{digits}f}" + ("" if found.std is None else f" ± {found.std:.{digits}f}")

    def domain(name: str) -> Callable[[Row], str | None]:
        return lambda row: sample(row.domains.get(name))

    columns: list[Column] = [
        (_DOMAIN_HEADS.get(name, (name, ""))[0], _DOMAIN_HEADS.get(name, ("", "other pictures"))[1], domain(name))
        for name in dict.fromkeys(name for row in rows for name in row.domains)
    ]
    drop_meaning = "share of the clean accuracy lost: 1 − average / clean"
    columns.append(("drop %", drop_meaning, lambda row: None if row.drop is None else f"{row.drop:.1f}"))
    if any(row.baseline is not None for row in rows):
        columns += [
            ("mCE", "mean corruption error, in % of the baseline's", lambda row: sample(row.mce)),
            ("rel. mCE", "the same for what errors rise above the clean one", lambda row: sample(row.relative_mce)),
        ]
    for where in ("clean", "average"):
        if any(where in row.calibration for row in rows):
            columns += _calibration_columns(where, sample)
    return columns


def _calibration_columns(where: str, sample: Callable[[Sample | None, int], str | None]) -> list[Column]:
    def nll(row: Row) -> str | None:
        return sample(row.calibration[where].nll, 2) if where in row.calibration else None

    def ece(row: Row) -> str | None:
        return sample(row.calibration[where].ece, 1) if where in row.calibration else None

    def adaptive(row: Row) -> str | None:
        return sample(row.calibration[where].adaptive, 1) if where in row.calibration else None

    def aurc(row: Row) -> str | None:
        return sample(row.calibration[where].aurc, 1) if where in row.calibration else None

    short = "avg." if where == "average" else where
    return [
        (f"NLL {short}", f"negative log-likelihood in nats, {where}", nll),
        (f"ECE {short}", f"expected calibration error in %, 15 bins, {where}", ece),
        (f"aECE {short}", f"the same with bins of equally many pictures, {where}", adaptive),
        (f"AURC {short}", f"area under the risk-coverage curve in %, {where}", aurc),
    ]
