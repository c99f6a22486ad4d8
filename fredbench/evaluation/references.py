"""Reference files of the regression gate: what was found once, how far from it a run may lie, and the comparison.

A line is one quantity of one row. Its rule says what is allowed: `statistical` (a new seed of the same run), `pooled`
(likewise, by the deviation of all rows together), `students` (other students of the same set), `published` (a printed
number), `tight` (a deterministic quantity, up to rounding) or `exact` (text). The first four share one bound on the
probability that a correct program is refused.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scipy.special import stdtrit

from fredbench.evaluation.statistics import Sample, summarise
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import write_json

__all__ = ["FALSE_ALARM", "TIERS", "Finding", "Found", "Line", "Reference", "Rule", "Tier", "judged", "read", "written"]

Rule = Literal["statistical", "pooled", "students", "published", "tight", "exact"]
Tier = Literal["smoke", "stored", "published"]
TIERS: tuple[Tier, ...] = ("smoke", "stored", "published")
FALSE_ALARM = 0.01
"""The probability, over the whole check, that honest draws are refused."""
_FORMAT, _VERSION = "fredbench-reference", 1
_BY_CHANCE = frozenset({"statistical", "pooled", "students", "published"})

Found = float | str | Sample
"""What a check finds of a quantity: a number, text, or a sample over seeds or students."""


@dataclass(frozen=True)
class Line:
    """One quantity of one row, and how far from it a run may lie.

    value, std, n: mean, deviation and number of seeds (`statistical`, `pooled`), of sets or of one set's students
    (`students`), or as printed; text and None under `exact`. df: degrees of freedom of a `pooled` deviation. floor: the
    least deviation that is believed, such as one test picture. tolerance: under `tight`. source: where the value is
    from. protocol: how it was scored. seeds: of the sets that a line of `students` is of.
    """

    row: str
    quantity: str
    rule: Rule
    value: float | str
    std: float | None = None
    n: int | None = None
    floor: float = 0.0
    tolerance: float | None = None
    protocol: str = "own"
    source: str = "recorded"
    df: int | None = None
    seeds: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """How a message calls it."""
        return f"{self.row}: {self.quantity}"


@dataclass(frozen=True)
class Reference:
    """A reference file. seeds: those it was recorded from. made_in: versions, commit, machine."""

    tier: Tier
    suite: str
    dataset: str
    seeds: tuple[int, ...]
    false_alarm: float
    lines: tuple[Line, ...]
    made_in: Mapping[str, Any]

    @property
    def shares(self) -> dict[Rule, float]:
        """The probability of a false alarm that a line has, by its rule; rules without chance are left out.

        Rules with chance have equal parts of the whole, and the lines of a rule equal parts of that (Bonferroni): so
        that the many quantities of sets and students do not widen the few lines of accuracies.
        """
        counts = Counter(line.rule for line in self.lines if line.rule in _BY_CHANCE)
        return {rule: self.false_alarm / (len(counts) * count) for rule, count in counts.items()}


@dataclass(frozen=True)
class Finding:
    """A line beside what was found. found: None where it is missing. tolerance: None where none can be said."""

    line: Line
    found: float | str | None
    tolerance: float | None
    holds: bool

    @property
    def difference(self) -> float | None:
        """Found less reference; None for text and for what is missing."""
        if isinstance(self.found, str) or self.found is None or isinstance(self.line.value, str):
            return None
        return self.found - self.line.value

    @property
    def outside(self) -> float | None:
        """By how much the difference is beyond the tolerance; None where it is not, or cannot be said."""
        if self.holds or self.difference is None or self.tolerance is None:
            return None
        return abs(self.difference) - self.tolerance

    def __str__(self) -> str:
        line = self.line
        if self.found is None:
            return f"{line.name} is missing"
        if isinstance(self.found, str) or isinstance(line.value, str):
            return f"{line.name} is {self.found!r}, not {line.value!r}"
        if self.tolerance is None:
            return f"{line.name} {self.found:.4g} cannot be judged: one student has no spread"
        by = "" if self.outside is None else f", outside by {self.outside:.4g}"
        return f"{line.name} {self.found:.4g} against {line.value:.4g} ± {self.tolerance:.4g}{by}"


def judged(reference: Reference, found: Mapping[tuple[str, str], Found]) -> list[Finding]:
    """Every line of a reference beside what was found, by (row, quantity); what is missing does not hold."""
    shares = reference.shares
    return [_judged(line, found.get((line.row, line.quantity)), shares.get(line.rule, 0.0)) for line in reference.lines]


def _judged(line: Line, found: Found | None, share: float) -> Finding:
    if found is None:
        return Finding(line, None, None, False)
    if isinstance(line.value, str) or isinstance(found, str):
        return Finding(line, found if isinstance(found, str) else str(found), None, found == line.value)
    sample = found if isinstance(found, Sample) else summarise([found])
    tolerance = line.tolerance if line.rule == "tight" else _tolerance(line, sample, share)
    # Not `<=` of a NaN: what is no number never holds.
    holds = tolerance is not None and abs(sample.mean - line.value) <= tolerance
    return Finding(line, sample.mean, tolerance, holds)


def _tolerance(line: Line, found: Sample, share: float) -> float | None:
    """Half the width of the interval in which an honest outcome lies but for a probability of `share`."""
    if line.rule in {"statistical", "pooled"}:
        df = line.df if line.rule == "pooled" else (line.n or 0) - 1
        if line.std is None or line.n is None or df is None or df < 1:
            return None
        # A prediction interval: seeds of the check beside those of the reference.
        error = max(line.std, line.floor) * math.sqrt(1 / found.n + 1 / line.n)
        return float(stdtrit(df, 1 - share / 2)) * error
    if found.std is None:
        return None
    ours = max(found.std, line.floor) ** 2 / found.n
    # Of how many networks a printed deviation is, is not printed: it counts as that of one outcome.
    theirs = max(line.std or 0.0, line.floor) ** 2 / (line.n or 1)
    df = found.n - 1 if line.n is None else min(found.n, line.n) - 1
    return float(stdtrit(df, 1 - share / 2)) * math.sqrt(ours + theirs) if df > 0 else None


def written(reference: Reference, file: Path) -> None:
    """Write a reference file, a line a quantity, so that its changes can be read in a diff."""
    head = {"format": _FORMAT, "format_version": _VERSION, **asdict(reference)}
    head["lines"] = [{k: v for k, v in line.items() if v is not None} for line in head["lines"]]
    write_json(file, head)


def read(file: Path) -> Reference:
    """Read a reference file; `ArtefactError` for what is none."""
    hint = "record one: fredbench check --record FILE SUITE"
    try:
        values = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=hint) from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT or values.get("format_version") != _VERSION:
        raise ArtefactError(f"{file} is no reference file of format version {_VERSION}", hint=hint)
    known = {key: value for key, value in values.items() if key not in {"format", "format_version"}}
    try:
        lines: Sequence[Any] = known.pop("lines")
        reference = Reference(
            **{**known, "seeds": tuple(known["seeds"])},
            lines=tuple(_line(line) for line in lines),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{file} is no whole reference file: {error}", hint=hint) from error
    if not reference.lines or not 0 < reference.false_alarm < 1 or reference.tier not in TIERS:
        raise ArtefactError(f"{file} compares nothing, or has no tier or bound on false alarms", hint=hint)
    return reference


def _line(values: Mapping[str, Any]) -> Line:
    seeds = values.get("seeds")
    line = Line(**{**values, "seeds": None if seeds is None else tuple(seeds)})
    numbers = [number for number in (line.value, line.std, line.tolerance, line.floor) if not isinstance(number, str)]
    if line.rule not in get_args(Rule) or not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError(f"line {line.name!r} has no rule that is known, or a number that is none")
    needed = {"tight": line.tolerance, "pooled": line.df, "published": line.std}
    if isinstance(line.value, str) != (line.rule == "exact") or needed.get(line.rule, 0) is None:
        raise ValueError(f"line {line.name!r} lacks what its rule {line.rule} needs")
    return line
