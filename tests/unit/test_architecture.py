"""The rooms of the house: each has a floor, imports go down only, and never in a circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, environment

PACKAGE = ROOT / "fredbench"
# From the ground up: the floors of the house, and the rooms on each. A room is a folder of the package, with all in it.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"foundation"}),
    frozenset({"corruptions", "datasets", "networks"}),
    frozenset({"suites", "training"}),
    frozenset({"objectives", "parameterizations"}),
    frozenset({"runs"}),
    frozenset({"recipes"}),
    frozenset({"evaluation", "importing", "testing"}),
    frozenset({"execution"}),
    frozenset({"report"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
# Arrows between rooms of one floor, from a module to a room, each with its reason; all others are refused: objectives
# and parameterizations know nothing of each other, nor do datasets, networks and corruptions.
SIDEWAYS = {
    ("objectives.coresets", "parameterizations"): "a choice of real pictures is whole pictures, stored as such",
}
# The package itself says its version and, lazily, where its public names lie: it is above and below all.
FACADE = ""
LAZY = re.compile(r"(fredbench(?:\.\w+)+)(?::\w+)?")
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Module names below `fredbench` (the package itself is the empty name) and their files."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def _for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt) and _for_types_only(node):
            continue
        yield node
        yield from _statements(node)


def imported(source: str, known: set[str], own: str = "") -> set[str]:
    """Modules of ours that a source imports, at its top or inside a function, not for types only.

    own: the package whose front the source is: it may name its own parts, which it loads when they are asked for.
    """
    found = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return):
            named = _named_in_text(node, known)
            found |= {name for name in named if not (own and name.startswith(f"fredbench.{own}."))}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("fredbench.") in known else str(node.module) for name in names}
    return {name.removeprefix("fredbench").removeprefix(".") for name in found if room(name) == "fredbench"}


def _named_in_text(node: ast.stmt, known: set[str]) -> set[str]:
    """Modules that a registry's `package.module:attribute` or an import by name will load."""
    texts = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    matches = (LAZY.fullmatch(text) for text in texts)
    return {match[1] for match in matches if match is not None and match[1].removeprefix("fredbench.") in known}


def graph() -> dict[str, set[str]]:
    files = modules()
    fronts = {name for name, file in files.items() if file.name == "__init__.py"}
    return {
        name: imported(file.read_text(), set(files), name if name in fronts else "") for name, file in files.items()
    }


def wrong_arrows(arrows: dict[str, set[str]]) -> list[str]:
    """Arrows that go up, or sideways where none is allowed."""
    found = []
    for module, targets in arrows.items():
        for target in targets:
            here, there = room(module), room(target)
            if FACADE in {here, there} or here == there or not {here, there} <= FLOOR.keys():
                continue  # a room without a floor has a test of its own
            sideways = FLOOR[here] == FLOOR[there] and (module, there) not in SIDEWAYS
            if FLOOR[there] > FLOOR[here] or sideways:
                found.append(f"{module} -> {target}")
    return sorted(found)


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """One circle of modules, or nothing. A package's own `from package.part import` is no arrow to itself."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done or module == FACADE:
            return []
        for target in sorted(arrows.get(module, ())):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(arrows) if (found := visit(module, []))), [])


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    rooms = {room(module) for module in modules()} - {FACADE}
    assert rooms - set(FLOOR) == set(), "new rooms need a floor in FLOORS"
    assert set(FLOOR) - rooms == set(), "these rooms are gone"
    assert sum(map(len, FLOORS)) == len(FLOOR), "a room has two floors"


def test_the_top_of_the_package_is_rooms() -> None:
    """No module lies on the landing, and whoever opens the package sees all of it at a glance."""
    entries = {entry.name for entry in PACKAGE.iterdir() if entry.name != "__pycache__"}
    assert entries - set(FLOOR) == {"__init__.py", "__main__.py", "py.typed"} and len(entries) < 20


def test_every_room_says_what_it_holds_and_travels_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert named == set(settings["packages"]) - set(settings["package-dir"])
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder} does not say what it is"


def test_the_page_of_rooms_shows_the_house_as_it_is() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = [set(re.findall(r"`(\w+)/`", row)) for row in re.findall(r"^\| \d+ \|([^|]+)\|", page, re.MULTILINE)]
    assert shown == [set(rooms) for rooms in FLOORS if rooms != {"__main__"}]


def test_imports_name_modules_that_exist() -> None:
    known = set(modules())
    for module, targets in graph().items():
        assert targets <= known, f"{module} imports {targets - known}"


def test_imports_go_down() -> None:
    assert wrong_arrows(graph()) == []


def test_imports_make_no_circle() -> None:
    assert circle(graph()) == []


def test_sideways_arrows_that_are_allowed_exist() -> None:
    arrows = {(module, room(target)) for module, targets in graph().items() for target in targets}
    assert arrows >= SIDEWAYS.keys()
    assert all(FLOOR[room(module)] == FLOOR[there] for module, there in SIDEWAYS)


def test_below_the_command_line_the_package_is_asked_for_its_version_and_place_only() -> None:
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            assert module == FACADE or room(module) == "cli" or not _goes_out(node), f"{module}:{node.lineno}"


def _goes_out(node: ast.AST) -> bool:
    """Whether a piece of code asks the front door for more than version and place."""
    plain = {"__version__", "__file__"}
    if isinstance(node, ast.Attribute):
        return ast.unparse(node.value) == "fredbench" and node.attr not in plain
    if isinstance(node, ast.ImportFrom):
        return node.module == "fredbench" and any(alias.name not in {*FLOOR, *plain} for alias in node.names)
    return isinstance(node, ast.Import) and any(alias.name == "fredbench" and alias.asname for alias in node.names)


@pytest.mark.parametrize(
    "source",
    [
        "from fredbench import distill",
        "from fredbench import evaluate, load",
        "import fredbench as fb",
        "fredbench.load(p)",
    ],
)
def test_whoever_goes_out_by_the_front_door_is_seen(source: str) -> None:
    assert any(_goes_out(node) for node in ast.walk(ast.parse(source)))
    assert not any(_goes_out(node) for node in ast.walk(ast.parse("import fredbench\nprint(fredbench.__version__)")))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("foundation.errors", "import fredbench.cli"),
        ("foundation.rng", "def f() -> None:\n    from fredbench.runs.store import Store"),
        ("objectives.distribution", "from fredbench.parameterizations import frequency"),
        ("parameterizations.pixels", "from fredbench.objectives.base import Context"),
        ("datasets.digits", "try:\n    from fredbench import networks\nexcept ImportError:\n    pass"),
        ("training.loop", "from fredbench.runs.distillation import run"),
        ("recipes.tables", "from fredbench.evaluation import rows"),
        ("runs.store", "import fredbench.execution.inline"),
        ("training.loop", "import importlib\nmodule = importlib.import_module('fredbench.cli')"),
        ("objectives.base", "THINGS.register('x', 'fredbench.parameterizations.pixels:Pixels')"),
    ],
)
def test_a_wrong_arrow_would_be_seen(module: str, source: str) -> None:
    assert len(wrong_arrows({module: imported(source, set(modules()))})) == 1


def test_a_circle_would_be_seen() -> None:
    arrows = {**graph()}
    rows, students = "evaluation.rows", "evaluation.students"
    arrows[rows] = {*arrows[rows], students}
    arrows[students] = {*arrows[students], rows}
    assert set(circle(arrows)) == {rows, students}
    only_for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fredbench.cli import main\n"
    assert imported(only_for_types, set(modules())) == set()


FORBIDDEN_CALLS = {
    ("pickle", "loads"), ("pickle", "load"), ("torch", "load"), ("torch", "manual_seed"), ("random", "seed"),
    ("np.random", "seed"), ("np.random", "RandomState"), ("torch", "set_rng_state"), ("time", "time"),
    ("torch", "seed"), ("torch.cuda", "manual_seed"), ("torch.cuda", "manual_seed_all"),
    ("torch.cuda", "set_rng_state"), ("torch.random", "manual_seed"),
}  # fmt: skip


# The one foreign engine draws from NumPy's global generator only: it is seeded for each picture and put back.
# Layers that draw, and other libraries' initialisations, know torch's global generators only: they are seeded in one
# place, from a stream, inside a fork that puts them back.
SEEDED = {
    ("foundation.rng", "torch.default_generator.manual_seed"),
    ("foundation.rng", "torch.cuda.default_generators[card].manual_seed"),
}
# Published sets are torch's files: read by weights-only loading, which runs nothing that a file names.
WEIGHTS_ONLY = {("importing.tensors", "torch.load")}
# Since when a lock is held, which the status of a grid tells.
CLOCK = {("foundation.locks", "time.time")}
WITH_REASON = {("corruptions.reference", "np.random.seed"), *SEEDED, *WEIGHTS_ONLY, *CLOCK}
# A worker whose parent has gone has nobody to raise an error to.
MAY_EXIT = {("corruptions.worker", "os._exit"), ("execution.worker", "os._exit")}


def test_no_module_uses_global_generators_pickles_or_the_clock() -> None:
    met = set()
    for module, file in modules().items():
        tree = ast.parse(file.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert "random" not in names, f"{module} imports random"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = (ast.unparse(node.func.value), node.func.attr)
                on_a_global = "default_generator" in called[0] and called[1] in {"manual_seed", "seed", "set_state"}
                if (module, ".".join(called)) in WITH_REASON:
                    if called == ("torch", "load"):
                        only = [ast.unparse(k.value) for k in node.keywords if k.arg == "weights_only"]
                        assert only == ["True"], f"{module}:{node.lineno} unpickles"
                    met.add((module, ".".join(called)))
                    continue
                assert not on_a_global, f"{module}:{node.lineno} calls {'.'.join(called)}"
                assert called not in FORBIDDEN_CALLS, f"{module}:{node.lineno} calls {'.'.join(called)}"
                assert not any(keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                               for keyword in node.keywords), f"{module}:{node.lineno} unpickles"  # fmt: skip

    assert met == WITH_REASON, "an exception that is not needed any more"


def test_only_the_command_line_prints_or_exits() -> None:
    exits = {"print", "exit", "sys.exit", "quit", "os._exit"}
    met = set()
    for module, file in modules().items():
        if room(module) in {"cli", "__main__"}:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in exits:
                met.add((module, ast.unparse(node.func)))
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except in {module}"
    assert met == MAY_EXIT


@pytest.mark.parametrize(
    "package", ["fredbench", "fredbench.corruptions", "fredbench.datasets", "fredbench.cli", "fredbench.cli.board"]
)
def test_light_packages_do_not_load_torch(package: str) -> None:
    """Worker processes of the corruption engine, `--help`, data commands and the board start without its seconds."""
    code = f"import sys, {package}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120
    )
    assert done.stdout.strip() == "False", done.stderr
