"""The same command gives the same bytes; another seed gives others; nobody else's generator is touched."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import TINY, interpret, invoke, run_in_child

import fredbench
from fredbench.datasets import load_dataset
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import Distillation
from fredbench.runs.spec import Spec

DISTILL = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)


def spec_of(seed: int = 0, iterations: int = 3, **asked: object) -> Spec:
    request = Request(
        ipc=1,
        preset="quick",
        seed=seed,
        iterations=iterations,
        objective="dm",
        network="convnet-d3-w8-in",
        overrides=("objective.batch_real=8",),
        **asked,
    )
    return resolve(request, load_dataset("digits"), device="cpu", threads=1)


def distilled(spec: Spec) -> Distillation:
    made = Distillation(spec, load_dataset("digits"), torch.device("cpu"))
    for _ in range(spec.iterations):
        made.step()
    return made


def test_fresh_processes_make_the_same_bytes(tmp_path: Path) -> None:
    command = (*DISTILL, "--iterations", "6", "--store")
    fresh = interpret(*command, tmp_path / "a", env={"PYTHONHASHSEED": "1", "HOSTNAME": "here"})
    other = run_in_child(
        tmp_path / "log", *command, tmp_path / "b" / "deep", env={"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"}
    )
    third = invoke(*command, tmp_path / "c")
    folders = [outcome.folder for outcome in (fresh, other, third) if outcome.code == 0]
    assert len(folders) == 3, (fresh, other, third)
    for name in ("synset.safetensors", "spec.toml", "progress.jsonl"):
        contents = {(folder / name).read_bytes() for folder in folders}
        assert len(contents) == 1, name
    assert len({folder.name for folder in folders}) == 1
    # Nor do they say where and when they were made.
    header = json.dumps(fredbench.load(folders[0]).header)
    for word in ("/", "Tokyo", "seconds", "hostname", f'"{platform.node()}"'):
        assert word not in header, word


@pytest.mark.parametrize("parameterization", ["fred", "pixels"])
def test_another_seed_gives_another_set(parameterization: str) -> None:
    name = {"fred": "coefficients", "pixels": "pixels"}[parameterization]
    first, again, other = (
        distilled(spec_of(seed, parameterization=parameterization)).to_tensors()[f"learned/{name}"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_global_generators_are_neither_read_nor_moved() -> None:
    def states() -> tuple[object, ...]:
        # Not Python's own generator, from which the tests' type checker draws; no module imports it
        # (tests/unit/test_architecture.py).
        numpy_state = np.random.get_state()
        return torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2]

    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = states()
        results.append(distilled(spec_of()).to_tensors()["learned/coefficients"])
        assert states() == before
    assert torch.equal(*results)


def test_the_start_holds_what_the_distilled_run_began_with() -> None:
    digits, device = load_dataset("digits"), torch.device("cpu")
    spec = spec_of(iterations=2)
    begun, start = (Distillation(s, digits, device) for s in (spec, spec.start()))
    at_first = begun.to_tensors()["learned/coefficients"].clone()
    begun.step()
    assert torch.equal(start.to_tensors()["learned/coefficients"], at_first)
    assert torch.equal(start.state.fixed["positions"], begun.state.fixed["positions"])
    assert not torch.equal(begun.to_tensors()["learned/coefficients"], at_first)
    # Zero iterations of another objective's network or settings are the same start.
    assert start.objective is None and spec.start().iterations == 0


def test_an_iteration_depends_on_its_number_alone() -> None:
    """Iteration 2 draws the same whether 0 and 1 ran in this process or came from a checkpoint."""
    through = distilled(spec_of(iterations=2))
    saved = safetensors.torch.save(through.to_tensors())
    through.step()
    resumed = Distillation(spec_of(iterations=2), load_dataset("digits"), torch.device("cpu"))
    resumed.from_tensors(safetensors.torch.load(saved))
    assert resumed.iteration == 2
    resumed.step()
    a, b = through.to_tensors(), resumed.to_tensors()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert any(name.endswith("momentum_buffer") for name in a)


def test_the_estimate_of_a_long_run_leaves_no_trace(tmp_path: Path) -> None:
    """From 50 iterations on, `distill` measures a step of a trial run first."""
    long = invoke(*DISTILL, "--iterations", "50", "--store", tmp_path)
    assert long.code == 0 and "estimate:" in long.err
    made = fredbench.load(long.folder)
    direct = distilled(spec_of(iterations=50))
    assert torch.equal(made.tensors["coefficients"], direct.to_tensors()["learned/coefficients"])


def test_students_do_not_depend_on_each_other_or_on_the_order(tmp_path: Path) -> None:
    """Three students scored at once, and the third made alone, give the same cell."""
    made = invoke(*DISTILL, "--iterations", "0", "--store", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    scores = []
    for store, cut in (("a", False), ("b", True)):
        command = ("corrupt-eval", "--suite", "digitsc", "--limit", "20", "--severity", "1", "--format", "json")
        asked = invoke(*command, "--threads", "1", "--store", tmp_path / store)
        assert asked.code == 0, asked.err
        if cut:
            students = tmp_path / store / made.folder.name / "cells"
            for file in sorted(students.iterdir())[::2]:
                file.unlink()
            torch.manual_seed(5)
            asked = invoke(*command, "--threads", "1", "--store", tmp_path / store)
        scores.append([{**row, "run": Path(row["run"]).name} for row in json.loads(asked.out)["rows"]])
    assert scores[0] == scores[1]
