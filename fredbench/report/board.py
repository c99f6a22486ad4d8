"""A leaderboard as a static site: one page of tables, a page for each row; nothing is fetched, no address is outside.

Rows that are not of one setting (data, suite, pictures, protocol, scale) stand in tables of their own. Names that
others wrote are text wherever they stand: templates escape them, and pages are called after digests.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fredbench.evaluation.results.entries import Entry, Setting
from fredbench.evaluation.rows import Row
from fredbench.evaluation.significance import TESTS, Claim, between, claims
from fredbench.foundation.coding import CODER
from fredbench.foundation.files import storage_errors, write_text
from fredbench.report.entry_page import entry_page, page_name
from fredbench.report.page_table import best_columns, cell, sample_cell
from fredbench.report.templates import filled

__all__ = ["write_board"]

_ABSENT = "–"
_STAR = "* p < .05 after Holm's correction over this table"
_PAGE = re.compile(r"[0-9a-f]{16}\.html")
_BUDGETS = {
    "params": ("#Params", "stored scalars, the literature's convention"),
    "strict": ("strict", "everything counted: masks, learned labels, step size, decoder"),
    "bytes stored": ("bytes stored", "each number in its own type"),
    "bytes coded": ("bytes coded", f"bytes after {CODER}"),
}


def write_board(folder: Path, entries: Sequence[Entry], *, title: str) -> int:
    """Write the site into `folder`, its front page last; how many pages it has. Pages of an earlier board go."""
    known = {entry.key: entry for entry in entries}
    disputed = _disputed(entries)
    pages = {page_name(entry): entry_page(entry, known, disputed=entry.claim in disputed) for entry in known.values()}
    rows = folder / "rows"
    for name, text in pages.items():
        write_text(rows / name, text)
    with storage_errors(rows):
        for old in rows.iterdir():
            if _PAGE.fullmatch(old.name) and old.name not in pages:
                old.unlink()
    write_text(folder / "index.html", _front(list(known.values()), known, disputed, title))
    return len(pages) + 1


def _disputed(entries: Sequence[Entry]) -> set[str]:
    """Claims of which files say different numbers."""
    said: dict[str, set[Any]] = defaultdict(set)
    for entry in entries:
        said[entry.claim].add((entry.row.clean.mean, entry.row.average and entry.row.average.mean))
    return {claim for claim, numbers in said.items() if len(numbers) > 1}


def _front(entries: Sequence[Entry], known: Mapping[str, Entry], disputed: set[str], title: str) -> str:
    tables: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        tables[entry.setting.digest()].append(entry)
    kinds = list(dict.fromkeys(["params", "strict", *(kind for entry in entries for kind in entry.budgets)]))
    groups = sorted(tables.values(), key=lambda group: (*_names(group[0].setting), group[0].setting.digest()))
    return filled(
        "board.html.j2",
        title=title,
        groups=[_group(group, known, disputed, kinds) for group in groups],
        filters=[
            {"key": key, "label": label, "values": sorted({getattr(entry.setting, key) for entry in entries})}
            for key, label in (("dataset", "dataset"), ("protocol", "protocol"), ("scale", "scale"))
        ],
        kinds=[_BUDGETS.get(kind, (kind, ""))[0] for kind in kinds],
        sets=sum(entry.role == "entry" for entry in entries),
    )


def _names(setting: Setting) -> tuple[str, ...]:
    return setting.dataset, setting.suite, setting.protocol, setting.scale


def _group(
    entries: Sequence[Entry], known: Mapping[str, Entry], disputed: set[str], kinds: Sequence[str]
) -> dict[str, Any]:
    """One table: its setting in words, heads and lines, the best average (else clean accuracy) first."""
    ordered = sorted(entries, key=lambda entry: -_ranked(entry.row))
    rows, setting = [entry.row for entry in ordered], entries[0].setting
    columns = _columns(ordered, kinds, _leads(ordered, known))
    best, ranked_by = best_columns(rows, ()), next(text for text, *_ in columns if text in {"Avg.", "Clean"})
    return {
        "id": setting.digest()[:12],
        "setting": setting,
        "title": _title(setting),
        "said": _said(setting),
        "heads": [
            {"text": text, "title": meaning, "rule": rule, "kind": kind, "sorted": text == ranked_by}
            for text, meaning, rule, kind, _ in columns
        ],
        "lines": [
            {
                "label": entry.name,
                "href": f"rows/{page_name(entry)}",
                "chips": _chips(entry, disputed),
                "kind": "" if entry.role == "entry" else "companion",
                "budgets": [entry.budgets.get(kind, "") for kind in kinds],
                "cells": [
                    {**make(entry, known), "rule": rule, "best": text.lower().rstrip(".") in _marked(best[number])}
                    for text, _, rule, _, make in columns
                ],
            }
            for number, entry in enumerate(ordered)
        ],
    }


def _title(setting: Setting) -> str:
    limit = [] if setting.limit is None else [f"{setting.limit:,} test pictures"]
    protocol = [] if setting.protocol == "own" else [setting.protocol]
    return ", ".join([setting.dataset, setting.suite, *limit, *protocol])


def _marked(columns: set[str]) -> set[str]:
    """Heads, in lower case, of the columns in which a row is among the best."""
    return {{"average": "avg"}.get(name, name) for name in columns}


def _ranked(row: Row) -> float:
    return (row.average or row.clean).mean


def _chips(entry: Entry, disputed: set[str]) -> list[str]:
    said = {
        "start": entry.row.start,
        "control": entry.row.control,
        "made elsewhere": bool(entry.row.assumed) or entry.row.method.startswith("imported:"),
        "partial data": bool(entry.row.partial),
        "files differ": entry.claim in disputed,
    }
    return [chip for chip, holds in said.items() if holds]


def _said(setting: Setting) -> list[str]:
    """What all rows of a table have in common, in words."""
    severities = setting.severities
    if isinstance(severities, tuple):
        scored = f"severities {', '.join(map(str, severities))}" if severities else "no corruptions"
    else:
        scored = f"{severities} severities" if severities else "no corruptions"
    pictures = "all test pictures" if setting.limit is None else f"{setting.limit:,} evenly spaced test pictures"
    if setting.corrupted_limit is not None:
        pictures += f", {setting.corrupted_limit:,} of them corrupted"
    suite = f"suite {setting.suite_digest[:12]}" if setting.suite_digest else "suite by its name alone (older files)"
    words = [f"scale {setting.scale}", f"protocol {setting.protocol}", pictures, scored, f"{setting.source} pictures"]
    return [*words, f"data {setting.fingerprint[:12]}", suite, *(["partial data"] if setting.partial != "{}" else [])]


_Column = tuple[str, str, bool, str, Callable[[Entry, Mapping[str, Entry]], dict[str, Any]]]
"""Head, what it means, whether a rule stands before it, which budget it is, and the cell of an entry."""


def _leads(entries: Sequence[Entry], known: Mapping[str, Entry]) -> dict[tuple[str, str], Claim]:
    """By entry and role, the lead over what stands beside it; stars are of the one table that these are."""
    found = {}
    for entry, role in itertools.product(entries, ("control", "start")):
        other = known.get(entry.beside.get(role, ""))
        compared = None if other is None else between(entry.row, other.row)
        if compared is not None:
            found[entry.key, role] = compared
    return dict(zip(found, claims(list(found.values())), strict=True))


def _columns(entries: Sequence[Entry], kinds: Sequence[str], leads: Mapping[tuple[str, str], Claim]) -> list[_Column]:
    """The columns of a table; those that none of its rows fills are left out."""
    rows = [entry.row for entry in entries]
    found: list[_Column] = [
        ("IPC", "whole pictures a class that the budget buys", False, "", lambda e, _: _number(e.row.ipc)),
    ]
    if any(row.average is not None for row in rows):
        found.append(
            ("Avg.", "mean over corruptions and severities, %", True, "", lambda e, _: sample_cell(e.row.average))
        )
    found.append(("Clean", "clean test pictures, %", False, "", lambda e, _: sample_cell(e.row.clean)))
    if any(row.average is not None for row in rows):
        found.append(("drop", "share of the clean accuracy lost, %", False, "", lambda e, _: _number(e.row.drop, 1)))
    if any(row.mce is not None for row in rows):
        found.append(
            ("mCE", "mean corruption error, in % of the baseline's", False, "", lambda e, _: sample_cell(e.row.mce))
        )
    for role, head in (("control", "over random"), ("start", "over start")):
        models = {claim.comparison.model for (_, beside), claim in leads.items() if beside == role}
        tests = "".join(f"; {text}" for model, text in TESTS.items() if model in models)
        found.append((head, f"clean accuracy above its {role}'s; {_STAR}{tests}", False, "", _lead(role, leads)))
    for number, kind in enumerate(kinds):
        if any(kind in entry.budgets for entry in entries):
            head, meaning = _BUDGETS.get(kind, (kind, "as its file counts them"))
            found.append((head, meaning, number == 0, str(number), _budget(kind)))
    return [
        *found,
        ("pictures", "how many a student sees", True, "", lambda e, _: _number(e.row.decoded)),
        ("n", "students", False, "", lambda e, _: _number(e.row.students)),
        ("network", "test network", False, "", lambda e, _: cell(e.row.network)),
        ("recipe", "how it was distilled, how students train", False, "", lambda e, _: cell(e.row.recipe)),
    ]


def _lead(role: str, leads: Mapping[tuple[str, str], Claim]) -> Callable[[Entry, Mapping[str, Entry]], dict[str, Any]]:
    def made(entry: Entry, known: Mapping[str, Entry]) -> dict[str, Any]:
        lead = leads.get((entry.key, role))
        return cell(_ABSENT) if lead is None else cell(str(lead), value=lead.comparison.difference)

    return made


def _budget(kind: str) -> Callable[[Entry, Mapping[str, Entry]], dict[str, Any]]:
    return lambda entry, _: _number(entry.budgets.get(kind))


def _number(value: int | float | None, digits: int = 0) -> dict[str, Any]:
    return cell(_ABSENT) if value is None else cell(f"{value:,.{digits}f}", value=value)
