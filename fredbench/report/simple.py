"""Any small table as text: aligned, Markdown, LaTeX, CSV or JSON. Imports nothing that takes time to load."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

__all__ = ["comma_separated", "rendered", "simple_table"]

_STYLES = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}


def simple_table(head: Sequence[str], lines: Sequence[Sequence[Any]], form: str) -> str:
    """Any small table in any of the formats; JSON is a list of objects."""
    if form == "json":
        return json.dumps([dict(zip(head, line, strict=True)) for line in lines], indent=1)
    if form == "csv":
        return comma_separated([dict(zip(head, line, strict=True)) for line in lines], head)
    numeric = [all(isinstance(line[column], (int, float)) for line in lines) for column in range(len(head))]
    return rendered(head, lines, form, ["right" if number else "left" for number in numeric])


def rendered(head: Sequence[str], lines: Sequence[Sequence[Any]], form: str, sides: Sequence[str] | None = None) -> str:
    """A table as text, names to the left and numbers to the right unless `sides` says otherwise by column."""
    aligned = sides or ["left", *["right"] * (len(head) - 1)]
    # tabulate writes a table without columns when it is told how to align no lines.
    colalign = {"colalign": aligned} if lines else {}
    return str(tabulate(lines, headers=head, tablefmt=_STYLES[form], disable_numparse=True, **colalign))


def comma_separated(records: Sequence[Mapping[str, Any]], head: Sequence[str] | None = None) -> str:
    """Comma-separated values; `head` names the columns also where there are no records.

    Columns are in the order in which records first name them; what a record lacks, None and NaN are left empty.
    """
    columns = list(dict.fromkeys(name for record in records for name in record)) if head is None else list(head)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(record.get(name)) for name in columns] for record in records)
    return text.getvalue().removesuffix("\n")


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
