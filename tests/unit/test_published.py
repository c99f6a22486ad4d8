"""The literature's numbers: whole, plausible, and shown only where they belong."""

from __future__ import annotations

import collections
import csv
from importlib.resources import files

import pytest

from fredbench.corruptions import NAMES
from fredbench.published import published_clean, published_row
from fredbench.suites import CorruptionSuite, suite_named

CIFAR10C = suite_named("cifar10c")


@pytest.fixture(scope="module")
def entries() -> list[dict[str, str]]:
    text = (files("fredbench.report") / "published.csv").read_text()
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
    row = published_row(CIFAR10C, dataset="cifar10", method="fred", objective="tm", ipc=1)
    # FreD, slides tables 1 and 3.
    assert row is not None and row["clean"] == {"mean": 60.6, "std": 0.8} and row["average"] == 57.0
    assert tuple(row["corruptions"]) == tuple(NAMES) and row["corruptions"]["fog"] == 53.6
    assert row["source"] and row["inferred"] == ["ipc", "severity"]


@pytest.mark.parametrize(
    "asked",
    [
        {"objective": "dm"},  # nothing is printed for FreD with DM at IPC 1
        {"method": "unheard"},
        {"dataset": "digits"},
        {"ipc": 3},
    ],
)
def test_no_row_stands_where_none_was_printed(asked: dict[str, object]) -> None:
    base = {"dataset": "cifar10", "method": "fred", "objective": "tm", "ipc": 1}
    suite = CIFAR10C if asked.get("dataset") is None else suite_named("digitsc")
    assert published_row(suite, **{**base, **asked}) is None


def test_corruptions_are_printed_for_one_set_and_budget_only() -> None:
    asked = {"dataset": "cifar10", "method": "fred", "objective": "tm"}
    ten = published_row(CIFAR10C, ipc=10, **asked)
    assert ten is not None and ten["corruptions"] == {} and ten["average"] is None and ten["inferred"] == []
    mine = CorruptionSuite("mine", "mine", "cifar10", "cifar", tuple(NAMES))
    own = published_row(mine, ipc=1, **asked)
    assert own is not None and own["corruptions"] == {} and own["clean"] == {"mean": 60.6, "std": 0.8}


@pytest.mark.parametrize(
    ("method", "objective", "ipc", "mean"),
    # Slides tables 1 and 2 (IPC 2: vanilla DM beside FreD-DM).
    [("random", "none", 1, 14.4), ("fred", "tm", 10, 70.3), ("fred", "tm", 50, 75.8), ("dm", "dm", 2, 34.6)],
)
def test_clean_accuracies_by_method_and_budget(method: str, objective: str, ipc: int, mean: float) -> None:
    found = published_clean("cifar10", method, objective, ipc)
    assert found is not None and found["mean"] == mean


@pytest.mark.parametrize(
    ("suite", "method", "objective", "ipc", "average"),
    # Slides table 4.
    [
        ("imagenettec", "fred", "tm", 1, 51.2), ("imagenettec", "tm", "tm", 10, 50.9),
        ("imagesquawkc", "idc", "idc", 1, 26.8), ("imagewoofc", "fred", "tm", 10, 33.8),
        ("imagesquawkc", "tm", "tm", 1, None), ("imagenettec", "fred", "dm", 1, None),
        ("imagenettec", "fred", "tm", 50, None), ("imagenettec", "random", "none", 1, None),
    ],
)  # fmt: skip
def test_imagenet_subsets_have_printed_averages(
    suite: str, method: str, objective: str, ipc: int, average: float | None
) -> None:
    chosen = suite_named(suite)
    row = published_row(chosen, dataset=chosen.dataset, method=method, objective=objective, ipc=ipc)
    if average is None:
        assert row is None
        return
    assert row is not None and row["average"] == average and row["corruptions"] == {}
    assert row["inferred"] == ["severity"] and row["source"]
    # Built on other pictures it has another name, and nothing was printed for that.
    built = chosen.named_from("-from128")
    assert published_row(built, dataset=built.dataset, method=method, objective=objective, ipc=ipc) is None
