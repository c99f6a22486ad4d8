"""What attacks leave of each row: a table a norm, below the table of accuracies, and what must be read beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fredbench.evaluation.across import expanded
from fredbench.evaluation.attacked import Attacked, looked_for_masking, signs_of_masking, told_norm, told_radius
from fredbench.evaluation.rows import Row
from fredbench.evaluation.threats import Norm
from fredbench.report.simple import rendered

__all__ = ["attack_columns", "attack_notes", "attack_parts", "attack_tables"]

_ABSENT = "–"
_NORMS: dict[Norm, str] = {
    "linf": "largest change of a value",
    "l2": "root of the summed squares of a picture's changes",
}
_NOTES = (
    "Attacks change pictures within the radius, of a range of 0 to 1, before they are normalised or whitened; a "
    "student counts as right where no iterate was found that it misclassifies. Accuracy in %, mean ± std over n "
    "students; in brackets the share broken of the pictures that are right without.",
    "An accuracy under attack is an upper bound: a stronger attack may lower it. Students were not trained against "
    "attacks (docs/adversarial.md).",
)


def attack_tables(rows: Sequence[Row], form: str) -> str:
    """The tables as text, aligned, Markdown or LaTeX; empty where nothing was attacked."""
    tables = [rendered(head, lines, form) for head, lines in attack_parts(rows)]
    return "\n\n".join([*tables, *([] if form == "latex" or not tables else ["\n".join(attack_notes(rows))])])


def attack_parts(rows: Sequence[Row]) -> list[tuple[Sequence[str], list[list[Any]]]]:
    """Head and lines of a table for each norm, in the order asked; none where nothing was attacked."""
    found = _attacked(rows)
    return [_table(found, norm) for norm in _norms(found)]


def attack_notes(rows: Sequence[Row]) -> list[str]:
    """What must be read beside these tables; nothing where nothing was attacked."""
    found = _attacked(rows)
    if not found:
        return []
    return [*_NOTES, *(f"{told_norm(norm)}: {_NORMS[norm]}." for norm in _norms(found)), *_said(found)]


def _attacked(rows: Sequence[Row]) -> list[tuple[Row, Attacked]]:
    return [(row, row.attacked) for row in expanded(rows) if row.attacked is not None]


def _norms(found: Sequence[tuple[Row, Attacked]]) -> list[Norm]:
    return list(dict.fromkeys(norm for _, attacked in found for _, norm in attacked.attacks))


def _table(found: Sequence[tuple[Row, Attacked]], norm: Norm) -> tuple[Sequence[str], list[list[Any]]]:
    radii = sorted({score.epsilon for _, attacked in found for score in attacked.scores if score.norm == norm})
    head = ("set", told_norm(norm), "clean", *(told_radius(norm, radius) for radius in radii), "pictures", "n")
    return head, [line for row, attacked in found for line in _lines(row, attacked, norm, radii)]


def _lines(row: Row, attacked: Attacked, norm: Norm, radii: Sequence[float]) -> Iterator[list[Any]]:
    for name, of in attacked.attacks:
        if of != norm:
            continue
        scores = attacked.of(name, norm)
        cells = [_ABSENT if (score := scores.get(radius)) is None else _cell(score) for radius in radii]
        yield [row.label, name, str(attacked.clean), *cells, attacked.pictures, attacked.clean.n]


def _cell(score: Any) -> str:
    return f"{score.robust}" + ("" if score.success is None else f" ({score.success.mean:.0f} %)")


def _said(found: Sequence[tuple[Row, Attacked]]) -> Iterator[str]:
    """Signs of masking row by row, or that there are none; and BEARD's ratio where there are several attacks."""
    names = _names([row for row, _ in found])
    signs = dict(zip(names, (signs_of_masking(attacked) for _, attacked in found), strict=True))
    yield from (f"Signs of masked gradients, {name}: {'; '.join(said)}." for name, said in signs.items() if said)
    if not any(looked_for_masking(attacked) for _, attacked in found):
        yield "Signs of masked gradients: not looked for, which takes two attacks or radii."
    elif not any(signs.values()):
        yield "Signs of masked gradients: none among the attacks above (more of them look for more)."
    for name, (_, attacked) in zip(names, found, strict=True):
        ratios = [
            f"{_ABSENT if ratio is None else f'{ratio:.1f}'} at {told_norm(norm)} {told_radius(norm, eps)}"
            for norm, eps, ratio in attacked.ratios()
        ]
        if ratios:
            yield f"Robustness ratio (BEARD; relative to the set's own worst attack), {name}: {', '.join(ratios)}."
    if any(row.control and ("transfer", "linf") in attacked.attacks for row, attacked in found):
        yield "transfer: students of a random control draw pictures of their own, so the other one is of another set."


def _names(rows: Sequence[Row]) -> list[str]:
    """Labels, with the run's name where several rows have one."""
    labels = [row.label for row in rows]
    return [
        label if labels.count(label) == 1 else f"{label} ({Path(row.run).name})"
        for label, row in zip(labels, rows, strict=True)
    ]


def attack_columns(row: Row) -> dict[str, Any]:
    """A row's scores as plain numbers, for tables of a line a row."""
    if row.attacked is None:
        return {}
    plain: dict[str, Any] = {"attacked_pictures": row.attacked.pictures, "attacked_clean_mean": row.attacked.clean.mean}
    for score in row.attacked.scores:
        name = f"{score.attack} {score.norm} {told_radius(score.norm, score.epsilon)}"
        plain |= {f"{name}_mean": score.robust.mean, f"{name}_std": score.robust.std, f"{name}_n": score.robust.n}
    return plain
