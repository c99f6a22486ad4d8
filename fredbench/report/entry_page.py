"""The page of one row of a board: its numbers with those of its control and start, its set, and what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fredbench.evaluation.results.entries import Entry
from fredbench.evaluation.rows import Row
from fredbench.foundation.environment import without_places
from fredbench.report.page_table import TABLE_NOTE, accuracy_lines, cell, heads, plain_heads, plain_line, sample_cell
from fredbench.report.table import notes, verdicts
from fredbench.report.templates import filled, flat

__all__ = ["entry_page", "page_name"]


def page_name(entry: Entry) -> str:
    """The file of an entry's page: of its digest, since names are for reading only."""
    return f"{entry.key[:16]}.html"


def entry_page(entry: Entry, known: Mapping[str, Entry], *, disputed: bool) -> str:
    """The page as text. known: entries by key. disputed: whether files say different numbers of this very set."""
    others = [known[key] for role in ("start", "control") if (key := entry.beside.get(role, "")) in known]
    family = [entry, *others]
    rows = [each.row for each in family]
    names = list(entry.row.corruptions)
    said = verdicts(rows)
    return filled(
        "entry.html.j2",
        title=entry.name,
        entry=entry,
        disputed=disputed,
        tiles=[_tile(each) for each in family],
        verdicts=said,
        heads=heads(names, rows),
        lines=_linked(accuracy_lines(rows, [each.name for each in family], names), family),
        table_note=TABLE_NOTE,
        notes=[note for note in notes(rows, _severities(entry)) if note not in said],
        severity_heads=_severity_heads(entry),
        severity_lines=[_severity_line(name, entry.row) for name in names],
        student_heads=plain_heads((f"student {n + 1}", "") for n in range(len(entry.row.clean.values))),
        student_lines=_student_lines(entry.row),
        budget=_budget(entry),
        identity=_identity(entry),
        environments=[
            (what, flat(without_places(found)))
            for what, found in (("made in", entry.made.get("made_in")), ("scored in", entry.scored_in))
            if found
        ],
        imported=_imported(entry),
        command=entry.made.get("made_by", ""),
        spec=json.dumps(entry.made.get("spec", {}), indent=1),
        data=entry.plain,
    )


def _tile(entry: Entry) -> dict[str, Any]:
    figures = [("clean", str(entry.row.clean))]
    figures += [] if entry.row.average is None else [("corrupted, average", str(entry.row.average))]
    return {"label": entry.name, "companion": entry.role != "entry", "figures": figures}


def _linked(lines: Sequence[dict[str, Any]], family: Sequence[Entry]) -> list[dict[str, Any]]:
    """The lines, those of other rows with the address of their page."""
    pages = iter(["", *(page_name(each) for each in family[1:])])
    return [line if line["kind"] == "published" else {**line, "href": next(pages)} for line in lines]


def _severities(entry: Entry) -> tuple[int, ...]:
    found = entry.setting.severities
    return found if isinstance(found, tuple) else tuple(range(1, found + 1)) if found == 5 else ()


def _severity_heads(entry: Entry) -> list[dict[str, Any]]:
    scored = max((len(score.by_severity) for score in entry.row.corruptions.values()), default=0)
    severities = _severities(entry) or range(1, scored + 1)
    return plain_heads((text, "") for text in (*(f"severity {severity}" for severity in severities), "mean", "CE"))


def _severity_line(name: str, row: Row) -> dict[str, Any]:
    score = row.corruptions[name]
    cells = [cell(f"{value:.1f}") for value in score.by_severity]
    error = cell("–" if score.ce is None else f"{score.ce:.1f}")
    return plain_line(name.replace("_", " "), [*cells, sample_cell(score.sample), error])


def _student_lines(row: Row) -> list[dict[str, Any]]:
    """What each student had on clean pictures, on average, and on each corruption; nothing where no file says."""
    if not row.clean.values:
        return []
    samples = {"clean": row.clean, **row.domains}
    samples |= {} if row.average is None else {"average": row.average}
    samples |= {name.replace("_", " "): score.sample for name, score in row.corruptions.items()}
    return [plain_line(name, [cell(f"{value:.2f}") for value in sample.values]) for name, sample in samples.items()]


def _budget(entry: Entry) -> list[tuple[str, str]]:
    """All that is counted: the totals, and the ledger's items where the file has one."""
    items = {"decoded": entry.row.decoded, **entry.made.get("ledger", {})}
    items = {name: value for name, value in items.items() if name not in ("params", "params_strict")}
    counted = {**entry.budgets, **items}
    return [(name.replace("_", " "), f"{value:,}") for name, value in counted.items()]


def _identity(entry: Entry) -> list[tuple[str, str]]:
    """Digests and settings, as far as the file has them."""
    row, setting, made = entry.row, entry.setting, entry.made
    found = {
        "run": row.run,
        "dataset": setting.dataset,
        "data": setting.fingerprint,
        "suite": f"{setting.suite} {setting.suite_digest or '(by its name alone)'}",
        "protocol": setting.protocol,
        "scale": setting.scale,
        "recipe": row.recipe,
        "spec": made.get("spec_sha256"),
        "tensors": made.get("tensors_sha256"),
        "synset file": made.get("synset_sha256"),
        "seconds of the run": made.get("seconds"),
        "from": entry.file,
    }
    return [(key, str(value)) for key, value in found.items() if value not in (None, "")]


def _imported(entry: Entry) -> list[str]:
    """What was assumed of a set that was made elsewhere, and the file that it came from."""
    said = entry.made.get("imported", {})
    origin = [f"{said['file']}, SHA-256 {said['sha256']}"] if said else []
    return [*origin, *entry.row.assumed]
