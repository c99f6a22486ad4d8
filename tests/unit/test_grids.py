"""Grids of runs: the shipped ones, and files of the user's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fredbench.datasets import DATASETS
from fredbench.evaluation.scoring import PROTOCOLS
from fredbench.foundation.errors import FredbenchError, UnknownNameError, UsageError
from fredbench.objectives import OBJECTIVES
from fredbench.recipes.methods import METHODS
from fredbench.recipes.presets import PRESETS
from fredbench.suites.corruption import suite_named
from fredbench.suites.grids import grid_named, grid_names

# The names of the contract; CAFE stands in two forms.
TWELVE = ("random", "herding", "dc", "dsa", "dm", "cafe", "cafe-dsa", "tm", "kip", "frepo", "idc", "haba", "fred")
MINE = """
kind = "grid"
name = "mine"
title = "mine"
methods = ["dm", "fred"]

[[datasets]]
name = "digits"
scored_on = "digitsc"
ipcs = [1, 5]
seeds = [0, 3]
preset = "quick"
iterations = 7
set = ["student.epochs=2"]

[[changes]]
method = "fred"
ipc = 5
why = "to see that it applies there only"
iterations = 9
set = ["parameterization.k=64"]
"""


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids_are_whole(name: str) -> None:
    grid = grid_named(name)
    assert grid.name == name and grid.title
    for place in grid.places:
        assert place.name in DATASETS and place.preset in PRESETS
        cells = grid.cells(place)
        assert len({(cell.label, cell.seed) for cell in cells}) == len(cells)


def test_the_row_of_twelve() -> None:
    grid = grid_named("twelve")
    assert grid.methods == TWELVE and set(TWELVE) <= set(METHODS)
    digits, cifar = grid.place("digits"), grid.place("cifar10")
    assert (digits.ipcs, digits.preset, digits.limit) == ((1, 10), "quick", None)
    assert (cifar.ipcs, cifar.preset, cifar.limit, cifar.scored_on) == ((1,), "quick", 1000, "cifar10c")
    assert [cell.method for cell in grid.cells(cifar)] == list(TWELVE)
    assert [cell.ipc for cell in grid.cells(digits)] == [1] * 13 + [10] * 13


def test_the_grid_of_table_2_is_whole_on_both_datasets() -> None:
    grid = grid_named("table2")
    assert set(grid.objectives) == {"dc", "dm", "tm"} <= set(OBJECTIVES)
    assert grid.place("cifar10").ipcs == (2, 11, 51)
    for name, count in (("digits", 12), ("cifar10", 36)):
        cells = grid.cells(grid.place(name))
        pairs = Counter((cell.objective, cell.parameterization) for cell in cells)
        assert len(cells) == count and len(pairs) == 12 and len(set(pairs.values())) == 1
        # The table counts the hallucinators, and nothing else is asked of one parameterization only.
        counted = [cell for cell in cells if "parameterization.count_hallucinators=true" in cell.overrides]
        assert {cell.parameterization for cell in counted} == {"haba"} and len(counted) == count // 4


TABLES = {
    "table1_svhn": ("svhn", 13, (1, 10, 50)), "table1_cifar10": ("cifar10", 13, (1, 10, 50)),
    "table1_cifar100": ("cifar100", 13, (1, 10, 50)), "table2": ("cifar10", 12, (2, 11, 51)),
    "table3_cifar10c": ("cifar10", 5, (1,)), "table4_imagenet_subset_c": ("imagenette", 3, (1, 10)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_printed_table_has_the_scales_paper_and_ci(name: str) -> None:
    dataset, systems, ipcs = TABLES[name]
    grid = grid_named(name)
    assert grid.scales == ("paper", "ci") and grid.layout != "lines"
    paper, ci = grid.place(), grid.place(scale="ci")
    assert (paper.name, paper.ipcs, paper.preset, paper.limit) == (dataset, ipcs, "paper", None)
    assert ci.name == "digits" and ci.limit is not None and ci.preset == "quick"
    for place in (paper, ci):
        cells = grid.cells(place)
        assert len(cells) == systems * len(place.ipcs) and len({(cell.system, cell.ipc) for cell in cells}) == len(
            cells
        )
    # What makes a cell small is asked at that scale only.
    small = [cell for cell in grid.cells(paper) if any("count_hallucinators" not in asked for asked in cell.overrides)]
    assert not small


def test_the_tables_of_subsets_name_all_six() -> None:
    grid = grid_named("table4_imagenet_subset_c")
    assert len(grid.of_scale("paper")) == 6 and len(grid.of_scale("ci")) == 1


def test_scales_are_chosen_by_name(tmp_path: Path) -> None:
    grid = grid_named("table1_svhn")
    # A dataset is found in whatever scale has it, unless one is named.
    assert grid.place("digits").scale == "ci" and grid.place().scale == "paper"
    with pytest.raises(FredbenchError, match="digits"):
        grid.place("digits", "paper")
    with pytest.raises(FredbenchError, match="huge"):
        grid.of_scale("huge")
    with pytest.raises(UsageError, match="one scale"):
        grid_named("twelve").of_scale("ci")


def test_a_grid_like_another_has_what_it_does_not_say_itself(tmp_path: Path) -> None:
    file, again = tmp_path / "mine.toml", tmp_path / "again.toml"
    file.write_text('kind = "grid"\nlike = "smoke"\nname = "mine"\ntitle = "mine"\n')
    mine, smoke = grid_named(str(file)), grid_named("smoke")
    assert mine.name == "mine" and mine.places == smoke.places and mine.changes == smoke.changes
    again.write_text(f'kind = "grid"\nlike = "{file}"\nname = "again"\ntitle = "again"\n')
    with pytest.raises(UsageError, match="like another"):
        grid_named(str(again))


def test_cells_are_what_the_file_asks_for(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    grid = grid_named(str(file))
    cells = grid.cells(grid.place())
    assert [(cell.seed, cell.ipc, cell.method) for cell in cells] == [
        (seed, ipc, method) for seed in (0, 3) for ipc in (1, 5) for method in ("dm", "fred")
    ]
    changed = {cell.label: (cell.iterations, cell.overrides) for cell in cells if cell.seed == 0}
    plain = (7, ("student.epochs=2",))
    assert changed == {
        "dm, ipc 1": plain, "fred, ipc 1": plain, "dm, ipc 5": plain,
        "fred, ipc 5": (9, ("student.epochs=2", "parameterization.k=64")),
    }  # fmt: skip
    assert cells[-1].label == "fred, ipc 5, seed 3"
    with pytest.raises(UnknownNameError, match="cifar10"):
        grid.place("cifar10")


@pytest.mark.parametrize(
    ("old", "new", "say"),
    [
        ('methods = ["dm", "fred"]', "", "which systems"),
        ('methods = ["dm", "fred"]', 'objectives = ["dm"]', "which systems"),
        ('methods = ["dm", "fred"]', 'methods = ["dm"]\nobjectives = ["dm"]', "which systems"),
        ('methods = ["dm", "fred"]', 'methods = "dm"\nparameterizations = ["pixels"]', "which systems"),
        ('title = "mine"', "", "lacks title"),
        ('title = "mine"', 'tilte = "mine"', "tilte"),
        ("ipcs = [1, 5]", "ipcs = []", "nothing to run"),
        ("ipcs = [1, 5]", 'ipcs = "many"', "ipcs"),
        ("seeds = [0, 3]", "seeds = []", "nothing to run"),
        ("ipcs = [1, 5]", "", "lacks ipcs"),
        ('scored_on = "digitsc"', 'scored_on = "cifar10c"', "which tests cifar10"),
        ('scored_on = "digitsc"', 'scored_on = "digitsd"', "digitsd"),
        ('scored_on = "digitsc"', 'scored_on = "smoke"', "not a corruption suite"),
        ("[[datasets]]", "[datasets]", "no list of tables"),
        ("[[datasets]]", "[[changes]]", "changes, number 1"),
        ('why = "to see that it applies there only"', "", "lacks why"),
        ("ipc = 5\n", "ipc = 6\n", "fits no cell"),
        ('method = "fred"', 'method = "tm"', "fits no cell"),
        ('kind = "grid"', 'kind = "gird"', "gird"),
        ('set = ["student.epochs=2"]', "set.epochs = 2", "set.epochs is no table"),
        ('set = ["student.epochs=2"]', "set.student.deep.epochs = 2", "set.student is no table"),
        ('set = ["student.epochs=2"]', "protocols = []", "no protocol"),
        ('set = ["student.epochs=2"]', 'protocols = ["theirs"]', "theirs"),
        ("iterations = 9\n", "students = 0\n", "0 students"),
        ('method = "fred"\nipc = 5\n', "seeds = []\n", "leave no cell"),
        ('kind = "grid"', "", "not a grid of runs"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, say: str) -> None:
    file = tmp_path / "mine.toml"
    assert old in MINE
    file.write_text(MINE.replace(old, new, 1))
    with pytest.raises(UsageError, match=say) as caught:
        grid_named(str(file))
    assert caught.value.hint


def test_a_change_may_ask_for_other_seeds_and_students(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    dm_at_1 = '[[changes]]\nmethod = "dm"\nipc = 1\nwhy = "more sets, few students"\nseeds = [7, 0, 8]\nstudents = 2\n'
    no_fred_at_1 = '[[changes]]\nmethod = "fred"\nipc = 1\nwhy = "dear"\nseeds = []\n'
    file.write_text(MINE.replace('preset = "quick"', 'preset = "quick"\nstudents = 4') + dm_at_1 + no_fred_at_1)
    grid = grid_named(str(file))
    cells = [(cell.seed, cell.ipc, cell.method, cell.students) for cell in grid.cells(grid.place())]
    assert cells == [
        (0, 1, "dm", 2), (0, 5, "dm", 4), (0, 5, "fred", 4), (3, 5, "dm", 4), (3, 5, "fred", 4),
        (7, 1, "dm", 2), (8, 1, "dm", 2),
    ]  # fmt: skip
    assert "students" not in grid.cells(grid.place())[0].request()


def test_settings_are_written_as_text_or_as_tables(tmp_path: Path) -> None:
    texts, tables = tmp_path / "texts.toml", tmp_path / "tables.toml"
    texts.write_text(MINE.replace('"student.epochs=2"', '"student.epochs=2", "objective.augmentation=none"'))
    in_tables = MINE.replace(
        'set = ["student.epochs=2"]', '[datasets.set]\nstudent.epochs = 2\nobjective.augmentation = "none"'
    )
    tables.write_text(in_tables.replace('set = ["parameterization.k=64"]', "set.parameterization.k = 64"))
    assert grid_named(str(texts)) == grid_named(str(tables))
    tables.write_text(MINE.replace('set = ["student.epochs=2"]', "[datasets.set.student]\nmilestones = [1, true]"))
    assert grid_named(str(tables)).place().set == ("student.milestones=1,true",)


def test_reproduced_is_what_a_cpu_can_make_of_the_published_scale() -> None:
    grid = grid_named("reproduced")
    assert [(p.name, p.preset, p.limit, p.corrupted_limit) for p in grid.places] == [
        ("cifar10", "paper", None, 500), ("svhn", "paper", None, 500), ("cifar100", "paper", None, 500),
    ]  # fmt: skip
    cells = Counter((c.dataset, c.method, c.ipc, c.students, c.protocols) for p in grid.places for c in grid.cells(p))
    both = tuple(PROTOCOLS)
    assert cells == dict.fromkeys([
        ("cifar10", "random", 1, 10, both), ("cifar10", "random", 10, None, ("own",)),
        ("cifar10", "random", 50, 2, ("own",)),
        ("cifar10", "herding", 1, None, both), ("cifar10", "herding", 10, None, ("own",)),
        ("cifar10", "herding", 50, 2, ("own",)), ("cifar10", "dc", 1, None, both),
        ("svhn", "random", 1, 10, ("own",)), ("svhn", "random", 10, None, ("own",)),
        ("cifar100", "random", 1, 5, ("own",)), ("cifar100", "herding", 1, None, ("own",)),
    ], 1)  # fmt: skip


def test_a_dataset_stands_in_a_grid_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    again = '[[datasets]]\nname = "digits"\nscored_on = "digitsc"\nipcs = [2]\n'
    file.write_text(MINE.replace("[[changes]]", f"{again}[[changes]]"))
    with pytest.raises(UsageError, match="twice"):
        grid_named(str(file))


def test_each_kind_of_suite_names_the_command_of_the_other() -> None:
    with pytest.raises(FredbenchError) as caught:
        grid_named("cifar10c")
    assert "corrupt-eval --suite cifar10c" in caught.value.hint
    with pytest.raises(FredbenchError) as caught:
        suite_named("smoke")
    assert "suite run smoke" in caught.value.hint
