"""What `python -m benchmarks` measures: each subject with its sizes, its goals and what was scaled down.

Importing this is quick: torch and fredbench are loaded where a subject is made, in the process that measures it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.pairs import Pair

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of a piece of work; 0 and "" leave a value to the recipe.

    dataset: whose recipes are asked. held: training pictures a class. pictures: shown to students, or scored.
    real: real pictures a step (of DM, DC and IDC a class, of FRePo and KIP in all). network: another than the recipe's.
    k: FreD's coefficients a channel. steps: of trajectory matching. trained: real pictures that IDC's network sees.
    students: trained one after the other. arithmetic: of run and students.
    """

    dataset: str = "cifar10"
    side: int = 32
    classes: int = 10
    ipc: int = 1
    held: int = 300
    pictures: int = 512
    real: int = 0
    network: str = ""
    k: int = 0
    steps: int = 0
    trained: int = 0
    students: int = 1
    arithmetic: str = ""


@dataclasses.dataclass(frozen=True)
class Goal:
    """The least ratio of plain to ours; the most memory of ours in GiB; the least ratio of any part."""

    ratio: float | None = None
    gib: float | None = None
    part: float | None = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """kind: which pair of `benchmarks.pairs`. setting: as timed. whole: as published, where memory is measured.

    note: how the timed work is smaller than the published one; empty where it is not. small: part of `--short`.
    why: what stands in the way of a goal, by the goal's name (docs/performance.md has the measurements).
    """

    kind: str
    what: str
    goal: Goal
    setting: Setting
    whole: Setting
    note: str = ""
    small: bool = False
    why: Mapping[str, str] = dataclasses.field(default_factory=dict)


_SMALL, _LARGE = Setting(), Setting(dataset="imagenette", side=128, pictures=80)
_LIBRARIES = "torch, numba and what they load are .8 to .96 of it, before any work"
_NEAR_PEAK = (
    "where torch's direct convolutions are near the processor's peak, Winograd's take half of their time, not a quarter"
)
_GRADIENTS = "where torch's direct convolutions are near the processor's peak, gradients by weights gain little"
_FEWER = "timed with 32 real pictures a class of 256, memory with all"


def _subject(
    kind: str, what: str, goal: Goal, setting: Setting = _SMALL, *, whole: Setting | None = None, **said: Any
) -> Subject:
    return Subject(kind, what, goal, setting, whole or setting, **said)


_REDUCED = "bfloat16 products (arithmetic fused-bf16) beside float32 of the yardstick"
_NO_UNITS = "its goals are for AMX; AVX-512's bfloat16 gains less, and without either it is slower than float32"


def _reduced(name: str, goal: Goal) -> Subject:
    """A subject in reduced precision, the yardstick as it is."""
    whole = SUBJECTS[name]
    return dataclasses.replace(
        whole,
        goal=goal,
        setting=_at(whole.setting, arithmetic="fused-bf16"),
        whole=_at(whole.whole, arithmetic="fused-bf16"),
        note="; ".join(filter(None, (_REDUCED, whole.note))),
        # Its bounds would be of one kind of processor.
        small=False,
        why={aim: why for aim, why in {**whole.why, "ratio": _NO_UNITS}.items() if getattr(goal, aim) is not None},
    )


def _at(setting: Setting, **changed: Any) -> Setting:
    return dataclasses.replace(setting, **changed)


SUBJECTS: dict[str, Subject] = {
    "students-32": _subject("students", "an epoch of 512 pictures", Goal(1.6), small=True, why={"ratio": _GRADIENTS}),
    "scoring-32": _subject(
        "scoring",
        "2,048 pictures of a domain",
        Goal(2.0),
        _at(_SMALL, pictures=2048),
        small=True,
        why={"ratio": _NEAR_PEAK},
    ),
    "dm-32": _subject(
        "dm",
        "a DM iteration on FreD, IPC 2",
        Goal(2.8, 1.2),
        _at(_SMALL, ipc=2),
        small=True,
        why={
            "ratio": "products have a quarter of the multiplications, their tiles still go to the third cache and back",
            "gib": _LIBRARIES,
        },
    ),
    "dc-32": _subject(
        "dc",
        "a DC iteration on FreD, IPC 2",
        Goal(3.5, 1.0),
        _at(_SMALL, ipc=2),
        why={
            "ratio": "two fifths are second derivatives of few pictures at a time, where a product's fixed cost shows",
            "gib": _LIBRARIES,
        },
    ),
    "dc-pixels-32": _subject("dc-pixels", "a DC iteration on pixels, IPC 1", Goal()),
    "tm-32": _subject(
        "tm",
        "a TM step of 160 pictures, FreD, IPC 1",
        Goal(1.3, 1.0),
        _at(_SMALL, steps=4),
        whole=_SMALL,
        note="timed over 4 steps an iteration of 50, whose graphs the plain loop keeps; memory over 50",
        small=True,
        why={"ratio": _GRADIENTS, "gib": _LIBRARIES},
    ),
    "idc-32": _subject("idc", "an IDC iteration, IPC 1", Goal(1.5), why={"ratio": _GRADIENTS}),
    "haba-32": _subject(
        "haba",
        "a HaBa iteration, IPC 1",
        Goal(1.5),
        why={
            "ratio": "ten pictures a step are too few for Winograd's products, and constant memory takes each step's "
            "gradient twice where the plain loop keeps its graph"
        },
    ),
    "frepo-32": _subject(
        "frepo",
        "a FRePo iteration, IPC 1",
        Goal(1.5),
        small=True,
        why={"ratio": "its networks have batch norm, which no fused block covers"},
    ),
    "kip-32": _subject(
        "kip",
        "a KIP iteration, IPC 1",
        Goal(1.5),
        _at(_SMALL, held=500),
        note="the dense kernel of its recipe; the convolutional ones take minutes a step",
        small=True,
        why={"ratio": "two products of matrices, which are the plain loop's too"},
    ),
    "students-128": _subject(
        "students", "an epoch of 80 pictures", Goal(2.0, 2.0), _at(_LARGE, held=8), why={"ratio": _GRADIENTS}
    ),
    "dm-128": _subject(
        "dm",
        "a DM iteration on FreD, IPC 1",
        Goal(2.0, 2.0),
        _at(_LARGE, real=32),
        whole=_LARGE,
        note=_FEWER,
        why={"gib": "a first iteration takes 1.8; what the heap keeps in pieces from one to the next is the rest"},
    ),
    "dc-128": _subject(
        "dc",
        "a DC iteration on FreD, IPC 1",
        Goal(2.0, 2.0),
        _at(_LARGE, real=32),
        whole=_LARGE,
        note=_FEWER,
        why={"ratio": _GRADIENTS, "gib": "a class's synthetic pictures have one graph for their second derivative"},
    ),
    "tm-128": _subject(
        "tm",
        "a TM step of 80 pictures, FreD, IPC 1",
        Goal(2.0, 2.0),
        _at(_LARGE, steps=2),
        whole=_at(_LARGE, steps=4),
        note="timed over 2 steps an iteration of 20, whose graphs the plain loop keeps; memory over 4",
        why={
            "ratio": _GRADIENTS,
            "gib": "each thread holds a graph of five pictures for their second derivative, beside the libraries",
        },
    ),
    "corruptions-224": _subject(
        "corruptions",
        "the 15 corruptions at severity 3, a picture of each",
        Goal(25, part=2.0),
        _at(_SMALL, side=224, pictures=16),
        note="beside the package imagecorruptions; processor seconds",
        why={
            "ratio": "two thirds of ours are blurs, glass, snow and elastic, passes over memory in the package too",
            "part": "libjpeg is on both sides",
        },
    ),
}

SUBJECTS |= {
    f"{name}-bf16": _reduced(name, goal)
    for name, goal in {
        "students-32": Goal(2.5),
        "scoring-32": Goal(2.0),
        "dm-32": Goal(4.0),
        "dc-32": Goal(),
        "tm-32": Goal(2.0),
        "students-128": Goal(2.0, 2.0),
        "dm-128": Goal(2.0, 2.0),
    }.items()
}

# Does it run? Kinds at sizes of moments.
_TINY_NETWORK = {"network": "convnet-d2-w8-in", "held": 40, "pictures": 48}
TINY: dict[str, dict[str, Any]] = {
    "students": {},
    "scoring": {},
    "dm": {"ipc": 2, "real": 16},
    "dc": {"ipc": 2, "real": 16, "held": 70},
    "dc-pixels": {"real": 16},
    "tm": {"k": 512, "steps": 3},
    "idc": {"real": 8, "trained": 40},
    "haba": {"steps": 3},
    "frepo": {"network": "frepo-d2-w4-bn", "real": 40},
    "kip": {"real": 100},
    "corruptions": {"side": 64, "pictures": 2},
}


def tiny(kind: str, arithmetic: str = "") -> Setting:
    """Sizes of moments, at 32 pixels whatever the subject's."""
    return Setting(**{**_TINY_NETWORK, **TINY[kind]}, arithmetic=arithmetic)


def make(kind: str, setting: Setting, threads: int) -> Pair:
    """Ours and the yardstick of a kind, not yet built."""
    from benchmarks import pairs

    kinds = {
        "students": pairs.Students,
        "scoring": pairs.Scoring,
        "tm": pairs.Trajectories,
        "idc": pairs.Canvases,
        "haba": pairs.Factorised,
        "frepo": pairs.Regression,
        "kip": pairs.Kernels,
        "corruptions": pairs.Corruptions,
    }
    if kind in kinds:
        return kinds[kind](setting, threads)
    objective, _, storage = kind.partition("-")
    return pairs.Matching(setting, threads, objective=objective, storage=storage or "fred")
