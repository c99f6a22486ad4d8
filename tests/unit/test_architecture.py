"""The rooms of the house: every module has a place, imports go down only, and never in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, environment

PACKAGE = ROOT / "fredbench"
# From the ground up; a name stands for the module or for the package with all that is in it.
LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "affine", "allocator", "progress", "rng", "statistics"}),
    frozenset(
        {
            "budget",
            "config",
            "device",
            "environment",
            "files",
            "memory",
            "optimisation",
            "plugins",
            "registry",
            "suite_reading",
        }
    ),
    frozenset(
        {"augmentation", "corruptions", "cutmix", "datasets", "kernels", "networks", "pictures", "stages", "whitening"}
    ),
    frozenset({"training"}),
    frozenset({"coresets", "experts", "objectives", "parameterizations", "trajectories"}),
    frozenset({"synset"}),
    frozenset({"grids", "methods", "presets", "published", "recipes", "spec", "suite_parts", "suites"}),
    frozenset({"framing", "official", "resolution", "store"}),
    frozenset({"assembly"}),
    frozenset({"auditing", "diagnosis", "distillation", "domains", "exporting", "reproducing", "rows", "students"}),
    frozenset({"baselines", "estimation", "evaluation", "tabulation"}),
    frozenset({"api", "sweep", "testing"}),
    frozenset({"report"}),
    frozenset({"cli", "__main__"}),
)
# Arrows between rooms of one level; all others are refused. Objectives and parameterizations know nothing of each
# other, nor do datasets, networks and corruptions.
SIDEWAYS = {
    ("__main__", "cli"),
    ("coresets", "parameterizations"),
    ("domains", "rows"),
    ("evaluation", "tabulation"),
    ("experts", "trajectories"),
    ("grids", "suites"),
    ("published", "methods"),
    ("published", "suites"),
    ("stages", "augmentation"),
    ("suites", "suite_parts"),
}
# The package itself says its version and, lazily, where its public names lie: it is above and below all.
FACADE = ""
SUITE_FILES = "suite_files"  # the folder suites/, which is data
PLACE = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


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


def imported(source: str, known: set[str]) -> set[str]:
    """Modules of ours that a source imports, at its top or inside a function, not for types only."""
    found = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("fredbench.") in known else str(node.module) for name in names}
    return {name.removeprefix("fredbench").removeprefix(".") for name in found if room(name) == "fredbench"}


def graph() -> dict[str, set[str]]:
    files = modules()
    return {name: imported(file.read_text(), set(files)) for name, file in files.items()}


def wrong_arrows(arrows: dict[str, set[str]]) -> list[str]:
    """Arrows that go up, or sideways where none is allowed."""
    found = []
    for module, targets in arrows.items():
        for target in targets:
            here, there = room(module), room(target)
            if FACADE in {here, there} or here == there or not {here, there} <= PLACE.keys():
                continue  # a room without a place has a test of its own
            same_level = PLACE[here] == PLACE[there]
            if PLACE[there] > PLACE[here] or (same_level and (here, there) not in SIDEWAYS):
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


def test_every_module_has_a_place_and_every_place_a_module() -> None:
    rooms = {room(module) for module in modules()} - {FACADE}
    assert rooms - set(PLACE) == set(), "new rooms need a place in LEVELS"
    assert set(PLACE) - rooms == set(), "these rooms are gone"
    assert sum(map(len, LEVELS)) == len(PLACE), "a room has two places"


def test_imports_name_modules_that_exist() -> None:
    known = set(modules())
    for module, targets in graph().items():
        assert targets <= known, f"{module} imports {targets - known}"


def test_imports_go_down() -> None:
    assert wrong_arrows(graph()) == []


def test_imports_make_no_circle() -> None:
    assert circle(graph()) == []


def test_sideways_arrows_that_are_allowed_exist() -> None:
    arrows = {(room(module), room(target)) for module, targets in graph().items() for target in targets}
    assert arrows >= SIDEWAYS
    assert all(PLACE[a] == PLACE[b] for a, b in SIDEWAYS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "import fredbench.cli"),
        ("rng", "def f() -> None:\n    from fredbench.store import Store"),
        ("objectives.distribution", "from fredbench.parameterizations import frequency"),
        ("parameterizations.pixels", "from fredbench.objectives.base import Context"),
        ("datasets.digits", "try:\n    from fredbench import networks\nexcept ImportError:\n    pass"),
        ("training", "from fredbench.distillation import run"),
    ],
)
def test_a_wrong_arrow_would_be_seen(module: str, source: str) -> None:
    assert len(wrong_arrows({module: imported(source, set(modules()))})) == 1


def test_a_circle_would_be_seen() -> None:
    arrows = {**graph()}
    arrows["rows"] = {*arrows["rows"], "students"}
    arrows["students"] = {*arrows["students"], "rows"}
    assert set(circle(arrows)) == {"rows", "students"}
    only_for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fredbench.cli import main\n"
    assert imported(only_for_types, set(modules())) == set()


FORBIDDEN_CALLS = {
    ("pickle", "loads"), ("pickle", "load"), ("torch", "load"), ("torch", "manual_seed"), ("random", "seed"),
    ("np.random", "seed"), ("np.random", "RandomState"), ("torch", "set_rng_state"), ("time", "time"),
}  # fmt: skip


# The one foreign engine draws from NumPy's global generator only: it is seeded for each picture and put back.
WITH_REASON = {("corruptions.reference", "np.random.seed")}
# A worker whose parent has gone has nobody to raise an error to.
MAY_EXIT = {("corruptions.worker", "os._exit")}


def test_no_module_uses_global_generators_pickles_or_the_clock() -> None:
    met = set()
    for module, file in modules().items():
        tree = ast.parse(file.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert "random" not in names, f"{module} imports random"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = (ast.unparse(node.func.value), node.func.attr)
                if (module, ".".join(called)) in WITH_REASON:
                    met.add((module, ".".join(called)))
                    continue
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


@pytest.mark.parametrize("package", ["fredbench", "fredbench.corruptions", "fredbench.datasets", "fredbench.cli"])
def test_light_packages_do_not_load_torch(package: str) -> None:
    """Worker processes of the corruption engine, `--help` and data commands start without its seconds."""
    code = f"import sys, {package}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120
    )
    assert done.stdout.strip() == "False", done.stderr
