"""The literature's numbers: whole, plausible, and shown only where they belong."""

from __future__ import annotations

import collections
import csv
import dataclasses
from importlib.resources import files

import pytest
import torch
from spine import cifar_like

from fredbench.corruptions import NAMES
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.published import published_clean, published_row
from fredbench.evaluation.scoring import Evaluation
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.spec import Spec
from fredbench.suites.corruption import CorruptionSuite, suite_named

CIFAR10C = suite_named("cifar10c")
FRED = {"method": "fred", "objective": "tm", "parameterization": "fred"}


def spec_of(**asked: object) -> Spec:
    cifar = dataclasses.replace(cifar_like(), name="cifar10")
    return resolve(Request(**asked), cifar, device="cpu", threads=1)


@pytest.fixture(scope="module")
def entries() -> list[dict[str, str]]:
    text = (files("fredbench.evaluation") / "published.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def test_entries_are_accuracies_and_none_is_there_twice(entries: list[dict[str, str]]) -> None:
    assert len(entries) > 200
    keys = collections.Counter(
        tuple(entry[name] for name in entry if name not in {"mean", "std", "unit"}) for entry in entries
    )
    assert max(keys.values()) == 1
    for entry in entries:
        assert entry["unit"] == "%" and 0 < float(entry["mean"]) < 100
        assert not entry["std"] or 0 <= float(entry["std"]) < 10


def test_the_printed_averages_are_the_means_of_their_rows(entries: list[dict[str, str]]) -> None:
    table = collections.defaultdict(dict)
    for entry in entries:
        if entry["table"] == "T3_cifar10c":
            table[entry["objective"], entry["parameterization_or_method"]][entry["corruption"]] = float(entry["mean"])
    assert len(table) == 5
    for row in table.values():
        assert set(row) == {*NAMES, "avg"}
        assert sum(row[name] for name in NAMES) / 15 == pytest.approx(row["avg"], abs=0.1)


def test_freds_row_stands_beside_fred_with_tm_at_ipc_1() -> None:
    row = published_row(CIFAR10C, dataset="cifar10", **FRED, ipc=1)
    # FreD, slides tables 1 and 3.
    assert row is not None and row["clean"] == {"mean": 60.6, "std": 0.8} and row["average"] == 57.0
    assert tuple(row["corruptions"]) == tuple(NAMES) and row["corruptions"]["fog"] == 53.6
    assert row["source"] and row["inferred"] == ["ipc", "severity"]


@pytest.mark.parametrize(
    "asked",
    [
        {"objective": "dm"},  # nothing is printed for FreD with DM at IPC 1
        {"method": "unheard", "parameterization": "unheard"},
        {"method": "tm"},  # a name with parts of another system
        {"method": "idc", "objective": "idc", "parameterization": "pixels"},
        {"dataset": "digits"},
        {"ipc": 3},
    ],
)
def test_no_row_stands_where_none_was_printed(asked: dict[str, object]) -> None:
    base = {"dataset": "cifar10", **FRED, "ipc": 1}
    suite = CIFAR10C if asked.get("dataset") is None else suite_named("digitsc")
    assert published_row(suite, **{**base, **asked}) is None


def test_corruptions_are_printed_for_one_set_and_budget_only() -> None:
    asked = {"dataset": "cifar10", **FRED}
    ten = published_row(CIFAR10C, ipc=10, **asked)
    assert ten is not None and ten["corruptions"] == {} and ten["average"] is None and ten["inferred"] == []
    mine = CorruptionSuite("mine", "mine", "cifar10", "cifar", tuple(NAMES))
    own = published_row(mine, ipc=1, **asked)
    assert own is not None and own["corruptions"] == {} and own["clean"] == {"mean": 60.6, "std": 0.8}


@pytest.mark.parametrize(
    ("system", "ipc", "mean"),
    [
        # Slides table 1.
        ("random none pixels", 1, 14.4),
        ("fred tm fred", 10, 70.3),
        ("fred tm fred", 50, 75.8),
        ("haba tm haba", 1, 48.3),
        # Slides table 2: DM alone beside FreD-DM, and what has a name of its own beside what has none.
        ("dm dm pixels", 2, 34.6),
        ("fred dm fred", 11, 61.3),
        ("dm-idc dm idc", 2, 45.1),
        ("tm-idc tm idc", 51, 71.1),
        ("haba tm haba", 11, 69.5),
        ("dc-haba dc haba", 51, 58.9),
    ],
)
def test_clean_accuracies_by_system_and_budget(system: str, ipc: int, mean: float) -> None:
    found = published_clean("cifar10", *system.split(), ipc, counted="haba" in system and ipc in {2, 11, 51})
    assert found is not None and found["mean"] == mean


@pytest.mark.parametrize("objective", ["dc", "dm", "tm"])
@pytest.mark.parametrize("parameterization", ["pixels", "idc", "haba", "fred"])
def test_all_of_table_2_is_found_by_the_names_that_runs_have(objective: str, parameterization: str) -> None:
    for ipc in (2, 11, 51):
        spec = spec_of(ipc=ipc, objective=objective, parameterization=parameterization)
        system = (spec.method, spec.objective, spec.parameterization)
        assert published_clean("cifar10", *system, ipc, counted=parameterization == "haba") is not None


COUNTED = "parameterization.count_hallucinators=true"


@pytest.mark.parametrize(
    ("asked", "mean"),
    [
        ({"ipc": 1}, 60.6),
        ({"params": 30_720}, 60.6),
        ({"params": 8_000}, None),  # buys no whole picture a class, and is called IPC 1
        ({"params": 45_000}, None),
        ({"params": 61_440}, 61.4),
        ({"ipc": 1, "method": "haba"}, 48.3),
        ({"ipc": 2, "method": "haba"}, None),
        ({"ipc": 2, "method": "haba", "overrides": (COUNTED,)}, 56.8),
        ({"ipc": 10, "method": "haba", "overrides": (COUNTED,)}, None),
    ],
)
def test_a_row_stands_beside_runs_of_its_own_budget_only(asked: dict[str, object], mean: float | None) -> None:
    """Table 1 leaves HaBa's hallucinators out of the budget, table 2 counts them within it (hence its IPCs)."""
    cifar = dataclasses.replace(cifar_like(), name="cifar10")
    evaluation = Evaluation(cifar, torch.device("cpu"), 1, TestDomains(CIFAR10C, cifar, (1,)))
    row = evaluation.published(spec_of(**asked))
    assert row is None if mean is None else row is not None and row["clean"]["mean"] == mean


@pytest.mark.parametrize(
    ("suite", "system", "ipc", "average"),
    # Slides table 4.
    [
        ("imagenettec", "fred tm fred", 1, 51.2),
        ("imagenettec", "tm tm pixels", 10, 50.9),
        ("imagesquawkc", "tm-idc tm idc", 1, 26.8),
        ("imagesquawkc", "idc idc idc", 1, None),  # what optimises the pictures is trajectory matching there
        ("imagewoofc", "fred tm fred", 10, 33.8),
        ("imagesquawkc", "tm tm pixels", 1, None),
        ("imagenettec", "fred dm fred", 1, None),
        ("imagenettec", "fred tm fred", 50, None),
        ("imagenettec", "random none pixels", 1, None),
    ],
)
def test_imagenet_subsets_have_printed_averages(suite: str, system: str, ipc: int, average: float | None) -> None:
    chosen = suite_named(suite)
    asked = dict(zip(("method", "objective", "parameterization"), system.split(), strict=True))
    row = published_row(chosen, dataset=chosen.dataset, **asked, ipc=ipc)
    if average is None:
        assert row is None
        return
    assert row is not None and row["average"] == average and row["corruptions"] == {}
    assert row["inferred"] == ["severity"] and row["source"]
    # Built on other pictures it has another name, and nothing was printed for that.
    built = chosen.named_from("-from128")
    assert published_row(built, dataset=built.dataset, **asked, ipc=ipc) is None
