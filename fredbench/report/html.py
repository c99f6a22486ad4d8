"""One self-contained HTML page: the table, what to read from it, pictures, charts, budget, environment, commands.

No request leaves the page: pictures and charts are data URIs, the style stands inside. The same input gives the
same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fredbench.evaluation.profile import profile
from fredbench.evaluation.rows import Row
from fredbench.evaluation.spectra import Spectrum
from fredbench.foundation.files import write_text
from fredbench.report.attacks import attack_notes, attack_parts
from fredbench.report.figures import corruption_figure, distinct_labels, panel_figure, severity_figure
from fredbench.report.page_table import TABLE_NOTE, accuracy_lines, heads, plain_heads, plain_line, text_cell
from fredbench.report.pictures import class_pictures, frequency_masks, mask_png, pictures_per_class, strip_png
from fredbench.report.profile_figure import profile_caption, profile_figure, profiled
from fredbench.report.reliability import MOST_SETS, calibration_lines, reliability_figure, with_bins
from fredbench.report.spectra_figure import spectra_figure, spectra_lines, spectrum_of
from fredbench.report.table import notes, verdicts
from fredbench.report.templates import filled, flat
from fredbench.runs.synset import Synset
from fredbench.suites.corruption import CorruptionSuite

__all__ = ["Section", "render", "write_page", "write_sections"]

_SHOWN_PIXELS = 64


@dataclass(frozen=True)
class Section:
    """One table's worth of a page: rows of one suite (None: clean only) and their sets, by distinct label.

    real: the spectrum of the dataset's training pictures, beside which those of the sets are shown.
    """

    title: str
    rows: Sequence[Row]
    severities: Sequence[int]
    suite: CorruptionSuite | None
    synsets: Mapping[str, Synset]
    real: Spectrum | None = None


def write_page(
    path: Path,
    *,
    title: str,
    rows: Sequence[Row],
    severities: Sequence[int],
    suite: CorruptionSuite | None,
    synsets: Mapping[str, Synset],
    environment: Mapping[str, Any],
    commands: Sequence[str],
    real: Spectrum | None = None,
) -> None:
    """Write the page of one table to `path`, atomically.

    synsets: the sets to show, by `distinct_labels(rows)` (a row's own label, unless two rows share one).
    real: as in `Section`.
    """
    section = Section(title, rows, severities, suite, synsets, real)
    write_sections(path, title=title, sections=[section], environment=environment, commands=commands)


def write_sections(
    path: Path,
    *,
    title: str,
    sections: Sequence[Section],
    environment: Mapping[str, Any],
    commands: Sequence[str],
) -> None:
    """Write a page of several tables to `path`, atomically."""
    write_text(path, render(title=title, sections=sections, environment=environment, commands=commands))


def render(*, title: str, sections: Sequence[Section], environment: Mapping[str, Any], commands: Sequence[str]) -> str:
    """The page as text."""
    return filled(
        "page.html.j2",
        title=title,
        environment={"commit": None, **environment},
        profiles=_profiles(sections),
        sections=[_section(section) for section in sections],
        keys=flat(environment),
        commands=list(commands),
        data=[_data(section) for section in sections],
    )


def _profiles(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """A chart a dataset of all that its tables say; none where that is one axis, clean pictures."""
    by_dataset: dict[str, list[Row]] = {}
    for section in sections:
        for row in section.rows:
            by_dataset.setdefault(row.dataset, []).append(row)
    every = {name: profiled(rows) for name, rows in by_dataset.items()}
    return [
        {
            "title": name if len(every) > 1 else "",
            "chart": _both_themes(partial(profile_figure, sets)),
            "caption": profile_caption(sets),
        }
        for name, sets in every.items()
        if any(len(profile(rows)) > 1 for rows in sets)
    ]


def _section(section: Section) -> dict[str, Any]:
    labels, said = distinct_labels(section.rows), verdicts(section.rows)
    names = list(section.rows[0].corruptions) if section.rows else []
    # Confidences have a table of their own on a page.
    plain = [replace(row, calibration={}) for row in section.rows]
    sets = [_set(label, row, section.synsets[label]) for label, row in _with_sets(section, labels)]
    return {
        "title": section.title,
        "suite": section.suite,
        "tiles": [_tile(label, row) for label, row in zip(labels, section.rows, strict=True)],
        "verdicts": said,
        "notes": [note for note in notes(section.rows, section.severities) if note not in said],
        "heads": heads(names, plain),
        "lines": accuracy_lines(plain, labels, names),
        "table_note": TABLE_NOTE,
        "charts": _charts(section) if names else None,
        "attacks": _attacks(section.rows),
        "confidence": _confidence(section.rows, labels),
        "spectra": _spectra(section, labels),
        "sets": sets,
        "any_masks": any(item["mask"] for shown in sets for item in shown["classes"]),
        "budget": _budget(section, labels),
    }


def _with_sets(section: Section, labels: Sequence[str]) -> list[tuple[str, Row]]:
    return [(label, row) for label, row in zip(labels, section.rows, strict=True) if label in section.synsets]


def _data(section: Section) -> dict[str, Any]:
    return {
        "suite": None if section.suite is None else section.suite.name,
        "severities": list(section.severities),
        # The run's name without its folder: a page that is sent on says nothing of the sender's machine.
        "rows": [{**row.to_mapping(), "run": Path(row.run).name} for row in section.rows],
    }


def _tile(label: str, row: Row) -> dict[str, Any]:
    figures = [("clean", str(row.clean))]
    if row.average is not None:
        figures.append(("corrupted, average", str(row.average)))
    return {"label": label, "companion": row.control or row.start, "figures": figures}


def _charts(section: Section) -> dict[str, Any]:
    rows, severities = section.rows, section.severities
    charts = {
        "severity": _both_themes(lambda theme: severity_figure(rows, severities, theme)),
        "corruption": _both_themes(lambda theme: corruption_figure(rows, theme)),
        "panels": None,
    }
    if len(severities) > 1:
        charts["panels"] = _both_themes(lambda theme: panel_figure(rows, severities, theme))
    return charts


def _attacks(rows: Sequence[Row]) -> dict[str, Any] | None:
    parts = attack_parts(rows)
    if not parts:
        return None
    tables = [
        {
            "first": f"{head[0]} · {head[1]} attack",
            "heads": plain_heads((text, "") for text in head[2:]),
            "lines": [plain_line(f"{line[0]} · {line[1]}", [text_cell(str(c)) for c in line[2:]]) for line in lines],
        }
        for head, lines in parts
    ]
    return {"tables": tables, "notes": attack_notes(rows)}


def _confidence(rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any] | None:
    if not any(row.calibration for row in rows):
        return None
    column_heads, lines = calibration_lines(rows, labels)
    sets = with_bins(rows, labels)
    return {
        "heads": column_heads,
        "lines": lines,
        "chart": _both_themes(lambda theme: reliability_figure(sets, theme)) if sets else None,
        "small": len(sets) < 3,
        "left_out": list(sets)[MOST_SETS:],
    }


def _spectra(section: Section, labels: Sequence[str]) -> dict[str, Any] | None:
    real, with_sets = section.real, _with_sets(section, labels)
    if real is None or not with_sets:
        return None
    sets = {label: spectrum_of(section.synsets[label]) for label, _ in with_sets}
    column_heads, lines = spectra_lines(real, sets)
    rows = [row for _, row in with_sets]
    return {
        "heads": column_heads,
        "lines": lines,
        "chart": _both_themes(lambda theme: spectra_figure(real, sets, rows, theme)),
        "pictures": f"{real.pictures:,}",
    }


def _both_themes(draw: Any) -> dict[str, str]:
    return {theme: _uri(draw(theme).encode(), "image/svg+xml") for theme in ("light", "dark")}


def _set(label: str, row: Row, synset: Synset) -> dict[str, Any]:
    """One set's pictures, class by class."""
    _, height, width = synset.header["dataset"]["shape"]
    scale = max(1, round(_SHOWN_PIXELS / height))
    most, masks = pictures_per_class(synset), frequency_masks(synset)
    groups = class_pictures(synset)
    classes = []
    for number, (name, group) in enumerate(zip(synset.classes, groups, strict=True)):
        shown = group[:most]
        strip_width = len(shown) * (width + 2) - 2
        classes.append(
            {
                "name": name,
                "strip": _uri(strip_png(shown), "image/png") if len(shown) else "",
                "width": strip_width * scale,
                "height": height * scale,
                "mask": "" if masks is None else _uri(mask_png(masks[number]), "image/png"),
            }
        )
    return {
        "label": label,
        "note": _set_note(row, synset, groups, most),
        "classes": classes,
        "mask_width": width * scale,
        "mask_height": height * scale,
    }


def _set_note(row: Row, synset: Synset, groups: Sequence[Any], most: int) -> str:
    largest = max(len(group) for group in groups)
    masks = frequency_masks(synset)
    parts = [
        f"{synset.ledger.decoded:,} pictures, {largest} a class"
        + (f", of which the first {most} are shown" if largest > most else "")
    ]
    if masks is not None:
        _, height, width = synset.header["dataset"]["shape"]
        parts.append(f"each class keeps {int(masks[0].sum()):,} of {height * width:,} frequencies a channel")
    if row.control:
        parts.append(
            f"the first of {row.students} random subsets: each student trains on its own, "
            "so that the spread includes the draw"
            if row.students > 1
            else "a random subset of the training pictures"
        )
    if synset.whitened:
        parts.append("distilled ZCA-whitened, the whitening is undone here for looking at")
    if row.start:
        parts.append("zero iterations: what the parameterization alone gives")
    return "; ".join(parts) + "."


def _budget(section: Section, labels: Sequence[str]) -> dict[str, Any]:
    head = [
        "budget",
        "#Params",
        "strict",
        "mask bits",
        "labels",
        "step size",
        "decoder",
        "decoded pictures",
        "bytes stored",
    ]
    lines = []
    for label, row in zip(labels, section.rows, strict=True):
        synset = section.synsets.get(label)
        if synset is None:
            cells: list[Any] = ["–", row.params, row.params_strict, "–", "–", "–", "–", row.decoded, "–"]
        else:
            ledger = synset.ledger
            cells = [
                synset.header["budget"], ledger.params, ledger.params_strict, ledger.mask_bits, ledger.label_scalars,
                ledger.step_size_scalars, ledger.decoder_scalars, ledger.decoded,
                synset.storage.stored,
            ]  # fmt: skip
        lines.append((label, [f"{cell:,}" if isinstance(cell, int) else cell for cell in cells]))
    return {"heads": head, "lines": lines}


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
