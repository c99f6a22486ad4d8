"""A row of a table: one run's accuracies with everything that must stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fredbench.evaluation.attacked import Attacked
from fredbench.evaluation.comparison import Comparison
from fredbench.evaluation.selection import Selected
from fredbench.evaluation.statistics import Sample
from fredbench.foundation.coding import InBytes

__all__ = [
    "CLEAN", "CLEAN_CROP", "SCORES", "Calibration", "Compared", "CorruptionScore", "OutlierScore", "Outliers",
    "Reliability", "Row", "Stability",
]  # fmt: skip

CLEAN = "clean"
CLEAN_CROP = "clean-crop"
"""The uncorrupted pictures in the framing of the corrupted ones, where that is not the test split's own."""
SCORES = {
    "msp": "largest probability (Hendrycks and Gimpel, ICLR 2017)",
    "energy": "log-sum-exp of the logits (Liu et al., NeurIPS 2020, at temperature 1)",
    "knn": "cosine to the nearest training picture in the last features (Sun et al., ICML 2022, k = 1)",
}
"""By which students tell other pictures from their own, by name, and whose these are."""


@dataclass(frozen=True)
class CorruptionScore:
    """One corruption: the sample over students of the mean over severities, and the mean at each severity.

    ce, relative_ce: corruption errors in percent of the baseline's, means over students; None without a baseline.
    by_student: of each student the accuracy at each severity; empty where only the means are known.
    """

    sample: Sample
    by_severity: tuple[float, ...]
    ce: float | None = None
    relative_ce: float | None = None
    by_student: tuple[tuple[float, ...], ...] = field(default=(), compare=False, repr=False)

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        return {
            **self.sample.to_mapping(),
            "by_severity": [round(value, 4) for value in self.by_severity],
            "ce": _rounded(self.ce),
            "relative_ce": _rounded(self.relative_ce),
            **({"by_student": [[round(v, 8) for v in each] for each in self.by_student]} if self.by_student else {}),
        }


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence in bins of equal width from 0 to 100 %, pooled over students (and domains).

    pictures: predictions in each bin. confidence, accuracy: their means in percent, None in a bin without any.
    """

    pictures: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        means = {"confidence": self.confidence, "accuracy": self.accuracy}
        return {"pictures": list(self.pictures), **{key: list(map(_rounded, found)) for key, found in means.items()}}


@dataclass(frozen=True)
class Calibration:
    """How far confidences can be trusted: negative log-likelihood in nats, expected calibration error in percent.

    adaptive: the latter with bins of equally many pictures. aurc: area under the risk-coverage curve, in percent. Both
    None in files of earlier versions. brier: Brier score, 0 to 2; None where the predictions were stored before it was
    kept. reliability: the bins behind `ece`, of clean pictures and of the average alone.
    """

    nll: Sample
    ece: Sample
    adaptive: Sample | None = None
    aurc: Sample | None = None
    brier: Sample | None = None
    reliability: Reliability | None = None

    @property
    def samples(self) -> dict[str, Sample]:
        """The measures that there are, by the names that JSON and CSV give them."""
        named = {
            "nll": self.nll, "ece": self.ece, "adaptive_ece": self.adaptive, "aurc": self.aurc, "brier": self.brier,
        }  # fmt: skip
        return {name: sample for name, sample in named.items() if sample is not None}

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        plain: dict[str, Any] = {name: sample.to_mapping() for name, sample in self.samples.items()}
        return plain if self.reliability is None else {**plain, "reliability": self.reliability.to_mapping()}


@dataclass(frozen=True)
class OutlierScore:
    """By one score, over students, in percent. auroc: 50 by chance. fpr95: share of the other pictures that pass where
    95 % of one's own do; 95 by chance, lower is better.
    """

    score: str
    auroc: Sample
    fpr95: Sample

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        return {"score": self.score, "auroc": self.auroc.to_mapping(), "fpr95": self.fpr95.to_mapping()}


@dataclass(frozen=True)
class Outliers:
    """A row's students against pictures of another dataset. inside, outside: test pictures of its own and of that.

    partial: what is missing of the other dataset, by split, as `Row.partial` has it of the row's own.
    """

    dataset: str
    inside: int
    outside: int
    scores: tuple[OutlierScore, ...]
    partial: Mapping[str, str] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        counts = {"dataset": self.dataset, "inside": self.inside, "outside": self.outside}
        missing = {"partial": dict(self.partial)} if self.partial else {}
        return {**counts, **missing, "scores": [score.to_mapping() for score in self.scores]}


@dataclass(frozen=True)
class Stability:
    """Along a perturbation's sequences, over students: see `evaluation.stability`.

    frames: of a sequence. sequences: how many, each of a clean test picture. flips: flip probability in percent.
    distance: top-5 distance, 0 to 15. accuracy: in percent, over all frames; where that is chance, few flips mean
    nothing. note: what must be said of their constants, where something must.
    """

    name: str
    frames: int
    sequences: int
    flips: Sample
    distance: Sample
    accuracy: Sample
    note: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        samples = {"flip_probability": self.flips, "top5_distance": self.distance, "accuracy": self.accuracy}
        plain = {"name": self.name, "frames": self.frames, "sequences": self.sequences}
        plain |= {key: sample.to_mapping() for key, sample in samples.items()}
        return plain | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Compared:
    """A row against another of its table, by predictions on the same test pictures.

    to: name of the other's run. domain: `clean`, or `average` over corruptions and severities.
    """

    to: str
    network: str
    domain: str
    found: Comparison

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        return {"to": self.to, "network": self.network, "on": self.domain, **self.found.to_mapping()}


@dataclass(frozen=True)
class Row:
    """One run in a table. Accuracies in percent, spread over students; `corruptions` is empty in `evaluate`.

    suite: the suite as it was built, by name. domains: uncorrupted test pictures beside `clean`, by name: the clean
    ones in the corrupted ones' framing, shifted test sets. mce, relative_mce: against `baseline`, which says what that
    is; all None where the suite has none for these pictures. no_baseline: which other pictures its baseline is of, in
    words. framing: how an ImageNet suite's pictures were cut. calibration: by domain and for `average`, where it was
    asked for. assumed: of a set that was made elsewhere, what was found out or said of it. selected: by network, what a
    choice among the run's checkpoints would give, where that was asked for; every other number is of the last iterate.
    limit: evenly spaced test pictures that were scored, None for all; corrupted_limit: of corruptions, where it is
    another number. compared: against its start and its control, by predictions; the correction is each table's own.
    by_network, over_networks: where several test networks were asked for, the row of each (`apart`: labels name the
    network) and their mean, whose `unit` is the network (see `across`); all else is the first's.
    storage: the set's bytes; of a control, those of its first random subset. train_labels, augmentation, teacher: the
    protocol that students are trained by (see `labelling`); own_labels: what the set's own labels are. attacked: what
    adversarial attacks leave, where they were asked for; None in a mean over networks. outliers: how well students tell
    other datasets' pictures from their own, likewise.
    """

    run: str
    dataset: str
    method: str
    objective: str
    parameterization: str
    iterations: int
    ipc: int
    params: int
    params_strict: int
    decoded: int
    students: int
    network: str
    preset: str
    recipe: str
    control: bool
    start: bool
    protocol: str
    source: str
    limit: int | None
    partial: Mapping[str, str]
    clean: Sample
    average: Sample | None = None
    corruptions: Mapping[str, CorruptionScore] = field(default_factory=dict)
    networks: Mapping[str, Sample] = field(default_factory=dict)
    published: Mapping[str, Any] | None = None
    seed: int = 0
    suite: str = ""
    framing: str = ""
    domains: Mapping[str, Sample] = field(default_factory=dict)
    mce: Sample | None = None
    relative_mce: Sample | None = None
    baseline: Mapping[str, Any] | None = None
    no_baseline: str = ""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    selected: Mapping[str, Selected] = field(default_factory=dict)
    corrupted_limit: int | None = None
    compared: tuple[Compared, ...] = ()
    by_network: Mapping[str, Row] = field(default_factory=dict)
    over_networks: Row | None = None
    apart: bool = False
    unit: Literal["student", "network"] = "student"
    storage: InBytes | None = None
    train_labels: str = "own"
    augmentation: str = "own"
    own_labels: str = "hard"
    teacher: Mapping[str, Any] = field(default_factory=dict)
    attacked: Attacked | None = None
    outliers: tuple[Outliers, ...] = ()
    stability: tuple[Stability, ...] = ()

    @property
    def reference(self) -> Sample:
        """The clean accuracy that corrupted ones are held against: in their own framing, where that is another."""
        return self.domains.get(CLEAN_CROP, self.clean)

    @property
    def drop(self) -> float | None:
        """Relative drop 1 - average / clean, in percent of the clean accuracy (`reference`)."""
        if self.average is None or self.reference.mean == 0:
            return None
        return 100 * (1 - self.average.mean / self.reference.mean)

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        name = self.method if self.control else f"{self.method} ({self.objective} × {self.parameterization})"
        role = " start" if self.start else " control" if self.control else ""
        words = {"hard": "hard labels"}.get(self.train_labels, self.train_labels)
        marks = (self.protocol, words, "no augmentation" if self.augmentation == "none" else "own")
        protocol = "".join(f" [{mark}]" for mark in marks if mark != "own")
        where = f" on {self.network}" if self.apart else ""
        return f"{name}{role}{protocol}{where}"

    def to_mapping(self) -> dict[str, Any]:
        """As the contract's JSON has it."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "run", "dataset", "method", "objective", "parameterization", "iterations", "ipc", "seed",
                "params", "params_strict", "decoded", "students", "network", "recipe",
                "control", "start", "protocol", "train_labels", "own_labels", "augmentation",
            )
        }  # fmt: skip
        plain |= {"teacher": dict(self.teacher)} if self.teacher else {}
        plain |= {} if self.storage is None else {"storage": self.storage.to_mapping()}
        plain["scale"] = self.preset  # the name of this key is fixed: scripts read it
        plain |= {name: value for name, value in (("suite", self.suite), ("framing", self.framing)) if value}
        plain |= self.scores()
        if self.assumed:
            plain["assumed"] = list(self.assumed)
        if self.networks:
            plain["networks"] = {name: sample.to_mapping() for name, sample in self.networks.items()}
        plain |= self._comparisons(self.network)
        if self.over_networks is not None:
            plain["by_network"] = {
                name: {**row.scores(), **self._comparisons(name)} for name, row in self.by_network.items()
            }
            plain["over_networks"] = {"unit": "network", "n": len(self.by_network), **self.over_networks.scores()}
        if self.selected:
            plain["selected"] = {name: found.to_mapping() for name, found in self.selected.items()}
        plain |= {
            "source": self.source,
            "limit": self.limit,
            **({} if self.corrupted_limit is None else {"corrupted_limit": self.corrupted_limit}),
            "partial": dict(self.partial),
            "published": None if self.published is None else dict(self.published),
        }
        return plain

    def _comparisons(self, network: str) -> dict[str, Any]:
        own = [found.to_mapping() for found in self.compared if found.network == network]
        return {"compared": own} if own else {}

    def scores(self) -> dict[str, Any]:
        """What follows from predictions, as the JSON tables hold it of a row, of each network and of their mean."""
        plain: dict[str, Any] = {"clean": self.clean.to_mapping()}
        if self.average is not None:
            plain["average"] = self.average.to_mapping()
            plain["drop"] = _rounded(self.drop)
            plain["drop_from"] = CLEAN_CROP if CLEAN_CROP in self.domains else CLEAN
            plain["corruptions"] = {name: score.to_mapping() for name, score in self.corruptions.items()}
            plain["mce"] = None if self.mce is None else self.mce.to_mapping()
            plain["relative_mce"] = None if self.relative_mce is None else self.relative_mce.to_mapping()
            plain["baseline"] = None if self.baseline is None else dict(self.baseline)
            plain |= {"no_baseline": self.no_baseline} if self.no_baseline else {}
        if self.domains:
            plain["domains"] = {name: sample.to_mapping() for name, sample in self.domains.items()}
        if self.calibration:
            plain["calibration"] = {name: found.to_mapping() for name, found in self.calibration.items()}
        if self.attacked is not None:
            plain["attacked"] = self.attacked.to_mapping()
        if self.outliers:
            plain["outliers"] = [found.to_mapping() for found in self.outliers]
        if self.stability:
            plain["stability"] = [found.to_mapping() for found in self.stability]
        return plain


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
