"""Rows as text: aligned, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fredbench.evaluation.across import expanded
from fredbench.evaluation.published import known_to_script
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP, CorruptionScore, Row
from fredbench.evaluation.selection import explained
from fredbench.evaluation.significance import between, claims, footnotes
from fredbench.evaluation.statistics import Sample
from fredbench.foundation.coding import BudgetBy
from fredbench.recipes.methods import METHODS
from fredbench.report.attacks import attack_columns, attack_tables
from fredbench.report.budgets import budget_cells, budget_heads, budget_notes
from fredbench.report.columns import Column, further_columns
from fredbench.report.outliers import outlier_columns, outlier_table
from fredbench.report.sequences import sequence_columns, sequence_table
from fredbench.report.simple import comma_separated, rendered, simple_table

if TYPE_CHECKING:
    import pandas

__all__ = ["corruption_table", "frame", "network_table", "notes", "simple_table", "verdicts"]

# Column heads of the literature's corruption tables; those of C-bar are ours.
SHORT = {
    "gaussian_noise": "Gauss", "shot_noise": "Shot", "impulse_noise": "Impul", "defocus_blur": "Defoc",
    "glass_blur": "Glass", "motion_blur": "Motion", "zoom_blur": "Zoom", "snow": "Snow", "frost": "Frost",
    "fog": "Fog", "brightness": "Brit", "contrast": "Contr", "elastic_transform": "Elast", "pixelate": "Pixel",
    "jpeg_compression": "JPEG", "blue_noise_sample": "Blue", "brownish_noise": "Brown", "checkerboard_cutout": "Check",
    "inverse_sparkles": "InvSp", "sparkles": "Spark", "circular_motion_blur": "Circ", "lines": "Lines",
    "pinch_and_twirl": "Twirl", "ripple": "Rippl", "transverse_chromatic_abberation": "Chrom",
    "caustic_refraction": "Caust", "cocentric_sine_waves": "Rings", "perlin_noise": "Perlin", "plasma_noise": "Plasma",
    "single_frequency_greyscale": "1Freq",
}  # fmt: skip
_ABSENT = "–"
_INFERRED = {
    ("ipc", "severity"): (
        "Published corruption rows print neither IPC nor severity; IPC 1 is inferred, severity is unknown."
    ),
    ("severity",): "Published averages over corruptions do not say their severity.",
}


def corruption_table(
    suite: str,
    severities: Sequence[int],
    rows: Sequence[Row],
    form: str,
    *,
    intervals: bool = False,
    budget_by: BudgetBy | None = None,
) -> str:
    """The cross-domain table: a row a run, every corruption in order, average, clean, drop, errors, budget, students.

    Of several test networks each has a row, and their mean stands below. `intervals` adds 95 % confidence intervals to
    average and clean (JSON always holds them). budget_by: the one kind of budget that is shown, by default the two of
    scalars (JSON and CSV always hold all).
    """
    if form == "json":
        document = {"suite": suite, "severities": list(severities), "rows": [row.to_mapping() for row in rows]}
        return json.dumps(document, indent=1, allow_nan=False)
    rows = expanded(rows)
    names = list(rows[0].corruptions) if rows else []
    if form == "csv":
        return comma_separated([_flat(row, list(row.corruptions)) for row in rows])
    further = further_columns(rows)
    head = [
        "set", *(SHORT.get(name, name) for name in names), "Avg.", "Clean", *(title for title, _, _ in further),
        *budget_heads(budget_by), "n", "preset",
    ]  # fmt: skip
    lines = []
    for row in rows:
        lines.append(_cells(row, names, further, intervals, budget_by))
        if row.published is not None:
            lines.append(_published_cells(row, names, len(further), budget_by))
    body = rendered(head, lines, form)
    if form != "latex":
        body = "\n".join([body, "", *notes(rows, severities, budget_by)])
    return _with_tables_below(body, rows, form)


def network_table(rows: Sequence[Row], form: str, *, budget_by: BudgetBy | None = None) -> str:
    """Clean accuracy by test network: of the last iterate and, where asked for, beside it that of a named selection."""
    if form == "json":
        return json.dumps({"rows": [row.to_mapping() for row in rows]}, indent=1, allow_nan=False)
    names = list(dict.fromkeys(name for row in rows for name in (row.networks or {row.network: row.clean})))
    if form == "csv":
        return comma_separated(
            [
                {
                    **_identity(row),
                    **_sample_columns(name, (row.networks or {row.network: row.clean})[name]),
                    **_selected_columns(name, row),
                    **attack_columns(row.by_network.get(name, row)),
                    **outlier_columns(row.by_network.get(name, row)),
                    **sequence_columns(row.by_network.get(name, row)),
                    **({} if row.over_networks is None else _sample_columns("over_networks", row.over_networks.clean)),
                }
                for row in rows
                for name in names
                if name in (row.networks or {row.network: row.clean})
            ]
        )
    ways = list(dict.fromkeys(found.by for row in rows for found in row.selected.values()))
    means = ["over networks"] if any(row.over_networks for row in rows) else []
    # Where a selection stands beside it, what is the last iterate's says so too.
    heads = [
        *(f"{name} last" if ways else name for name in names),
        *(f"{name} {way}" for way in ways for name in names),
        *means,
    ]
    lines = [
        [
            row.label,
            *(str((row.networks or {row.network: row.clean}).get(name, _ABSENT)) for name in names),
            *(_selected_cell(row, name, way) for way in ways for name in names),
            *(_ABSENT if row.over_networks is None else str(row.over_networks.clean) for _ in means),
            *budget_cells(row, budget_by),
            row.students,
            row.preset,
        ]
        for row in rows
    ]
    body = rendered(["set", *heads, *budget_heads(budget_by), "n", "preset"], lines, form)
    if form != "latex":
        body = "\n".join([body, "", *notes(rows, (), budget_by)])
    return _with_tables_below(body, rows, form)


def _with_tables_below(body: str, rows: Sequence[Row], form: str) -> str:
    """The table of accuracies and, where they were asked for, those of attacks, other datasets and sequences."""
    below = (make(rows, form) for make in (attack_tables, outlier_table, sequence_table))
    return "\n\n".join(filter(None, [body, *below]))


def _selected_cell(row: Row, network: str, way: str) -> str:
    found = row.selected.get(network)
    return str(found) if found is not None and found.by == way else _ABSENT


def _selected_columns(network: str, row: Row) -> dict[str, Any]:
    """A selection as plain numbers, under its own name."""
    found = row.selected.get(network)
    if found is None:
        return {}
    name = f"{network}_{found.by}"
    return {
        **_sample_columns(name, found.best.clean),
        f"{name}_iteration": found.best.iteration,
        f"{name}_checkpoints": len(found.candidates),
    }


def frame(rows: Sequence[Row]) -> pandas.DataFrame:
    """One line a row, one column a number: budgets, and mean, std and n of clean, average and each corruption."""
    import pandas

    return pandas.DataFrame.from_records([_flat(row, list(row.corruptions)) for row in rows])


def notes(rows: Sequence[Row], severities: Sequence[int], budget_by: BudgetBy | None = None) -> list[str]:
    """What must be read beside the numbers: preset, limits, partial data, spread, what is inferred."""
    said = ["Accuracy in %, mean ± std over n students" + _severity_note(severities) + "."]
    said += [f"Suite {suite}." for suite in dict.fromkeys(row.suite for row in rows) if suite]
    said += [f"Preset {recipe}, network {network}." for recipe, network in _presets(rows)]
    if any(row.unit == "network" or row.over_networks for row in rows):
        said.append("Over networks: each counts once, by the mean of its students; ± and n are of networks.")
    limits = sorted({row.limit for row in rows if row.limit is not None and row.corrupted_limit is None})
    said += [f"Scored on {limit} evenly spaced test pictures, not on all." for limit in limits]
    said += [
        f"Corruptions are scored on {corrupted} evenly spaced test pictures, clean ones on {limit or 'all'}."
        for corrupted, limit in dict.fromkeys((row.corrupted_limit, row.limit) for row in rows if row.corrupted_limit)
    ]
    partial = {f"{split}: {what}" for row in rows for split, what in row.partial.items()}
    said += [f"Partial dataset ({note})." for note in sorted(partial)]
    said += _protocol_notes(rows)
    said += budget_notes(rows, budget_by)
    said += list(dict.fromkeys(f"{row.method}: {'; '.join(row.assumed)}." for row in rows if row.assumed))
    said += [f"Pictures: {framing}." for framing in sorted({row.framing for row in rows if row.framing})]
    if any(CLEAN_CROP in row.domains for row in rows):
        said.append("Crop: clean pictures in the corrupted ones' framing; drop and relative mCE are against these.")
    said += _literal_notes(rows)
    said += _baseline_notes(rows)
    unharmed = {name: None for row in rows if row.baseline for name, s in row.corruptions.items() if _unharmed(s)}
    if unharmed:
        said.append(f"No relative mCE: the baseline does not suffer from {', '.join(unharmed)}.")
    if any(found.brier is None for row in expanded(rows) for found in row.calibration.values()):
        said.append(
            "No Brier score where students' predictions were stored before it was kept; without the scores-* files of "
            "the run's cells/ they are made again, by the students that are kept there."
        )
    said += [explained(way) for way in dict.fromkeys(f.by for row in rows for f in row.selected.values())]
    said += verdicts(expanded(rows))
    inferred = {tuple(row.published["inferred"]) for row in rows if row.published}
    said += [text for words, text in _INFERRED.items() if words in inferred]
    return said + [
        f"{name} is run here with {objective}; the numbers that it was published with use {usual}."
        for name, objective, usual in dict.fromkeys(_other_objectives(rows))
    ]


def _protocol_notes(rows: Sequence[Row]) -> list[str]:
    """What students were told and shown, where some rows say that it is not the set's and the recipe's own."""
    said = [
        _teacher_told(teacher)
        for teacher in {row.teacher["digest"]: row.teacher for row in rows if row.teacher}.values()
    ]
    if any(row.train_labels == "hard" for row in rows):
        said.append("Hard labels: the class of each picture, of soft labels the largest.")
    if any((row.train_labels, row.augmentation) != ("own", "own") for row in rows):
        kinds = ", ".join(dict.fromkeys(row.own_labels for row in rows if not row.control))
        said.append(f"Rows without a mark: the set's own labels ({kinds}), augmentation as the recipe has it.")
    return said


def _other_objectives(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    """(method, its objective here, its own) of rows whose system was published with another objective."""
    for row in rows:
        if row.method in METHODS and (usual := METHODS.get(row.method).objective) != row.objective:
            yield row.method, row.objective, usual


def _literal_notes(rows: Sequence[Row]) -> list[str]:
    """That the published script has nothing to say of a dataset, where rows follow it all the same."""
    unknown = dict.fromkeys(
        row.dataset for row in rows if row.protocol == "fred-literal" and not known_to_script(row.dataset)
    )
    return [
        f"fred-literal: FreD's script tests CIFAR-10 and ImageNet subsets; {name} is scored by the students that it "
        "trains, on pictures prepared as the sets' own."
        for name in unknown
    ]


def _teacher_told(said: Mapping[str, Any]) -> str:
    """A teacher in a line, for the notes of a table."""
    return (
        f"Relabelled: every picture once, by {said['network']} ({said['digest'][:8]}) trained on the real pictures "
        f"({said['split']}), {said['recipe']}, seed {said['seed']}; it is right on {said['clean']:.1f} % of the clean "
        "test pictures scored here."
    )


def _unharmed(score: CorruptionScore) -> bool:
    return score.ce is not None and score.relative_ce is None


def _baseline_notes(rows: Sequence[Row]) -> list[str]:
    """What mCE is relative to, on which pictures, and why it is missing where the suite's baseline is of others."""
    said = list(dict.fromkeys(_baseline_note(row.baseline) for row in rows if row.baseline is not None))
    found = {row.corrupted_limit or row.limit for row in rows if row.baseline is not None}
    limits = sorted(limit for limit in found if limit is not None)
    said += [f"mCE holds errors on {limit} pictures against the baseline's on all of them." for limit in limits]
    said += [
        f"No mCE: the suite's baseline was measured on {others} (`fredbench suite baseline` measures one)."
        for others in dict.fromkeys(row.no_baseline for row in rows if row.no_baseline)
    ]
    return said


def _baseline_note(baseline: Mapping[str, Any]) -> str:
    return (
        f"mCE is relative to {baseline['name']}: {baseline['network']}, {baseline['training']}; clean error "
        f"{baseline['clean_error']:.1f} %, n = {baseline['students']}; {baseline['provenance']}."
    )


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Each distilled row against its start and its control, a sentence a pair, and how that was judged."""
    pairs = _pairs(rows)
    asked = [(pair, domain) for pair in range(len(pairs)) for domain in (CLEAN, "average")]
    found = {key: comparison for key in asked if (comparison := between(*pairs[key[0]], key[1])) is not None}
    judged = dict(zip(found, claims(list(found.values())), strict=True))
    said = [
        f"{row.label} against {other.label}: "
        + ", ".join(
            f"{domain} {judged[number, domain].told()}" for domain in (CLEAN, "average") if (number, domain) in judged
        )
        + "."
        for number, (row, other) in enumerate(pairs)
    ]
    return said + footnotes(judged.values())


def _severity_note(severities: Sequence[int]) -> str:
    if not severities:
        return ""
    return f"; corruptions over severit{'y' if len(severities) == 1 else 'ies'} {', '.join(map(str, severities))}"


def _presets(rows: Sequence[Row]) -> list[tuple[str, str]]:
    each = [row for row in rows if row.unit == "student"]
    longest = max(each, key=lambda row: row.iterations, default=None)
    shown = [row for row in each if row.iterations or (longest is not None and row.run == longest.run)]
    return list(dict.fromkeys((row.recipe, name) for row in shown for name in row.networks or (row.network,)))


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each distilled row with the start and the control that belong to it: those that it was compared with, by run.

    Rows that were compared with nothing, such as those of older files, go by what they and others say of themselves.
    """
    pairs = []
    for row in rows:
        # Two means over the same networks are compared network by network, above.
        if row.control or row.start or row.unit == "network":
            continue
        named = {compared.to for compared in row.compared}
        for other in rows:
            same = _setting(other) == _setting(row) and (not named or Path(other.run).name in named)
            alike = other.parameterization == row.parameterization and other.method == row.method
            if same and (other.control or (other.start and (named or alike))):
                pairs.append((row, other))
    return pairs


def _setting(row: Row) -> tuple[Any, ...]:
    """What two rows have in common that are compared."""
    protocol = (row.protocol, row.train_labels, row.augmentation)
    return row.dataset, row.ipc, row.seed, row.preset, *protocol, row.network


def _cells(
    row: Row, names: Sequence[str], further: Sequence[Column], intervals: bool, budget_by: BudgetBy | None
) -> list[Any]:
    def shown(sample: Sample | None) -> str:
        if sample is None:
            return _ABSENT
        interval = sample.interval if intervals else None
        return str(sample) if interval is None else f"{sample} [{interval[0]:.1f}, {interval[1]:.1f}]"

    return [
        row.label,
        *(f"{row.corruptions[name].sample.mean:.1f}" for name in names),
        shown(row.average),
        shown(row.clean),
        *(text(row) or _ABSENT for _, _, text in further),
        *budget_cells(row, budget_by),
        row.students,
        row.preset,
    ]


def _published_cells(row: Row, names: Sequence[str], further: int, budget_by: BudgetBy | None) -> list[Any]:
    printed: Mapping[str, Any] = row.published or {}
    clean, values = printed.get("clean"), printed.get("corruptions", {})
    shown = _ABSENT if clean is None else f"{clean['mean']:g}" + (f" ± {clean['std']:g}" if clean["std"] else "")
    average = printed.get("average")
    return [
        f"  {row.method}, published",
        *(f"{values[name]:g}" if name in values else _ABSENT for name in names),
        _ABSENT if average is None else f"{average:g}",
        shown,
        *[_ABSENT] * further,
        # Scalars of whole pictures are the same for everybody; of what else was published nobody said the strict count.
        *(f"{row.params:,}" if row.control and head == "#Params" else _ABSENT for head in budget_heads(budget_by)),
        _ABSENT,
        "paper",
    ]


def _identity(row: Row) -> dict[str, Any]:
    plain = row.to_mapping()
    stored = {key: value for key, value in plain.get("storage", {}).items() if key.startswith(("bytes", "bits"))}
    own = {key: value for key, value in plain.items() if not isinstance(value, (dict, list))}
    return {**own, **stored, **({"unit": row.unit} if row.apart else {})}


def _sample_columns(prefix: str, sample: Any) -> dict[str, Any]:
    return {f"{prefix}_mean": sample.mean, f"{prefix}_std": sample.std, f"{prefix}_n": sample.n}


def _flat(row: Row, names: Sequence[str]) -> dict[str, Any]:
    flat = {**_identity(row), **_sample_columns("clean", row.clean)}
    if row.average is not None:
        flat |= _sample_columns("average", row.average)
    for name in names:
        flat |= _sample_columns(name, row.corruptions[name].sample)
    for name, sample in {**row.domains, "mce": row.mce, "relative_mce": row.relative_mce}.items():
        flat |= {} if sample is None else _sample_columns(name, sample)
    for name, found in row.calibration.items():
        flat |= {f"{name}_{key}": sample.mean for key, sample in found.samples.items()}
    return flat | attack_columns(row) | outlier_columns(row) | sequence_columns(row)
