"""Which checkpoint is chosen, by what, and that it stands beside the last iterate under its name."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import torch
from made_rows import made_row
from spine import cifar_like, distillation_of, spec_of

from fredbench.evaluation.selection import Candidate, Selected
from fredbench.evaluation.statistics import summarise
from fredbench.foundation.errors import UsageError
from fredbench.report.table import network_table
from fredbench.runs.checkpoints import spaced


def candidates(*values: tuple[float, float | None]) -> tuple[Candidate, ...]:
    """Checkpoints 10, 20, … with (test, validation) means over two students that are a point apart."""

    def sample(mean: float) -> Sequence[float]:
        return [mean - 0.5, mean + 0.5]

    return tuple(
        Candidate(10 * number, summarise(sample(test)), None if seen is None else summarise(sample(seen)))
        for number, (test, seen) in enumerate(values, 1)
    )


def test_the_best_on_test_is_the_highest_mean_and_the_first_of_equals() -> None:
    found = Selected("best-on-test", candidates((30, None), (42, None), (42, None), (40, None)))
    assert (found.best.iteration, found.best.clean.mean, found.gap) == (20, 42, 2)
    assert str(found) == "42.0 ± 0.7 (best of 4, iteration 20)"


def test_the_best_on_validation_is_chosen_without_the_test_pictures() -> None:
    found = Selected("best-on-validation", candidates((30, 70), (42, 50), (40, 60)))
    assert (found.best.iteration, found.best.clean.mean, found.gap) == (10, 30, -10)
    with pytest.raises(ValueError, match="no validation accuracy"):
        _ = Selected("best-on-validation", candidates((30, None))).best


def test_the_last_iterate_stands_in_what_is_kept_of_a_choice() -> None:
    found = Selected("best-on-test", candidates((42, None), (40, None))).to_mapping()
    assert (found["by"], found["checkpoints"], found["iteration"]) == ("best-on-test", 2, 10)
    assert (found["clean"]["mean"], found["last"]["mean"], found["above_last"]) == (42, 40, 2)
    assert [each["iteration"] for each in found["candidates"]] == [10, 20]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("by", ["best-on-test", "best-on-validation"])
def test_a_table_names_the_selection_and_says_what_is_the_last_iterates(by: str) -> None:
    choice = Selected(by, candidates((77.7, 3), (66.6, 2)))  # type: ignore[arg-type]
    row = made_row(corruptions=(), clean=summarise([66.1, 67.1]), selected={"convnet-d3-w32-in": choice})
    start = made_row(1, corruptions=(), start=True, iterations=0)
    for form in ("table", "markdown", "latex"):
        text = network_table([row, start], form).splitlines()
        (head,) = [line for line in text if "Params" in line]
        line = next(line for line in text if "best of 2" in line)
        if form != "latex":
            assert head.index("convnet-d3-w32-in last") < head.index(f"convnet-d3-w32-in {by}")
        assert line.index("66.6") < line.index("77.7"), form
        # No number of the selection's in a line that does not say of how many checkpoints it is the best.
        assert [number for number, other in enumerate(text) if "77.7" in other] == [text.index(line)]
    notes = network_table([row, start], "table")
    assert f"{by}: the checkpoint of the highest mean on" in notes and "All other numbers are of the last" in notes
    plain = network_table([start], "table")
    assert "best-on" not in plain and " last" not in plain.splitlines()[0]


def test_plain_numbers_of_a_selection_have_columns_of_their_own() -> None:
    choice = Selected("best-on-test", candidates((77.7, None), (66.6, None)))
    row = made_row(corruptions=(), clean=summarise([66.1, 67.1]), selected={"convnet-d3-w32-in": choice})
    head, line = (text.split(",") for text in network_table([row], "csv").splitlines()[:2])
    values = dict(zip(head[-8:], line[-8:], strict=True))
    assert float(values["convnet-d3-w32-in_mean"]) == pytest.approx(66.6)
    assert float(values["convnet-d3-w32-in_best-on-test_mean"]) == pytest.approx(77.7)
    assert values["convnet-d3-w32-in_best-on-test_checkpoints"] == "2"
    record = json.loads(network_table([row], "json"))["rows"][0]
    assert record["clean"]["mean"] == pytest.approx(66.6)
    assert record["selected"]["convnet-d3-w32-in"]["clean"]["mean"] == pytest.approx(77.7)


@pytest.mark.parametrize(
    ("iterations", "count", "wanted"),
    [
        (10, 0, ()),
        (10, 1, (10,)),
        (10, 3, (3, 6, 10)),
        (10, 10, tuple(range(1, 11))),
        (15_000, 3, (5000, 10000, 15000)),
    ],
)
def test_checkpoints_are_evenly_spaced_and_end_with_the_run(
    iterations: int, count: int, wanted: tuple[int, ...]
) -> None:
    assert spaced(spec_of(cifar_like(), iterations=iterations), count) == wanted


@pytest.mark.parametrize(
    ("iterations", "count", "say"), [(3, 4, "more than"), (0, 1, "no iterations"), (3, -1, "0 or")]
)
def test_checkpoints_that_a_run_cannot_have_are_refused(iterations: int, count: int, say: str) -> None:
    with pytest.raises(UsageError, match=say) as caught:
        spaced(spec_of(cifar_like(), iterations=iterations), count)
    assert caught.value.hint


PAIRS: list[dict[str, str]] = [
    {"objective": "dm", "parameterization": "idc"},
    {"objective": "dm", "parameterization": "fred"},
    {"method": "frepo"},
]


@pytest.mark.parametrize("asked", PAIRS, ids=str)
def test_a_snapshot_does_not_move_the_run(asked: dict[str, str]) -> None:
    data = cifar_like()
    watched, alone = (distillation_of(data, iterations=4, **asked) for _ in range(2))
    for _ in range(2):
        watched.step()
        alone.step()
        if "canvases" in watched.state.learned:
            for each in (watched, alone):
                with torch.no_grad():
                    each.state.learned["canvases"][0, 0, 0, 0, :2] = torch.tensor([1.5, -0.5])
        if "labels" in watched.state.learned:
            for each in (watched, alone):
                with torch.no_grad():
                    each.state.learned["labels"][0, :2] = torch.tensor([3.0, -2.0])
        before = {name: tensor.clone() for name, tensor in watched.to_tensors().items()}
        kept = watched.snapshot(data)
        held = {name: tensor.clone() for name, tensor in kept.tensors.items()}
        for name, tensor in watched.to_tensors().items():
            assert torch.equal(tensor, before[name]), name
        if "canvases" in kept.tensors:
            assert float(kept.tensors["canvases"].max()) <= 1 and float(kept.tensors["canvases"].min()) >= 0
            assert float(watched.state.learned["canvases"].detach().max()) == 1.5
        assert kept.header["iterations"] == watched.iteration
    watched.step()
    alone.step()
    for name, tensor in watched.to_tensors().items():
        assert torch.equal(tensor, alone.to_tensors()[name]), name
    # What was kept is of its own memory: the run went on and the set did not.
    for name, tensor in kept.tensors.items():
        assert torch.equal(tensor, held[name]), name
