from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import pytest

from fredbench.datasets import Dataset, load_dataset
from fredbench.recipes.reproducing import distill_command, request_of
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.spec import Spec


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def _resolved(digits: Dataset, **asked: Any) -> Spec:
    return resolve(Request(**asked), digits, device="cpu", threads=1)


REQUESTS: list[dict[str, Any]] = [
    {"ipc": 1, "preset": "quick"},
    {"ipc": 2, "method": "dm", "preset": "fair", "seed": 3},
    {"params": 40000, "iterations": 7, "network": "convnet-d3-w16-in"},
    {"ipc": 1, "objective": "dm", "parameterization": "pixels", "preset": "quick"},
    {"ipc": 1, "method": "random"},
    {"ipc": 1, "preset": "quick", "overrides": ("parameterization.k=128", "student.epochs=5", "student.students=2")},
    {"ipc": 1, "method": "kip", "preset": "quick", "overrides": ("labels.form=hard",)},
    {"ipc": 1, "method": "kip", "preset": "quick", "overrides": ("labels.learned=false", "student.lr=0.1")},
    {"ipc": 1, "overrides": ("student.network=mlp", "objective.augmentation=none", "student.lr=0.05")},
]


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: "-".join(map(str, asked)))
def test_the_command_asks_for_the_very_spec_it_was_written_from(digits: Dataset, asked: dict[str, Any]) -> None:
    spec = _resolved(digits, **asked)
    again = resolve(request_of(spec, digits), digits, device=spec.device, threads=spec.threads)
    assert again == spec
    assert "not exactly" not in distill_command(spec, digits)


@pytest.mark.parametrize("asked", REQUESTS[2:3] + REQUESTS[5:6], ids=["params", "overrides"])
def test_the_command_line_parses_to_the_same_request(digits: Dataset, asked: dict[str, Any]) -> None:
    from fredbench.cli.distill import command

    spec = _resolved(digits, **asked)
    words = shlex.split(distill_command(spec, digits))
    assert words[:2] == ["fredbench", "distill"]
    parsed = command.make_context("distill", words[2:]).params
    fields = {field.name for field in dataclasses.fields(Request)}
    request = Request(**{key: value for key, value in parsed.items() if key in fields})
    assert resolve(request, digits, device=parsed["device"], threads=parsed["threads"]) == spec


@pytest.mark.parametrize("method", ["kip", "frepo", "label-solve", "tm", "idc"])
def test_a_start_can_be_asked_for_with_the_settings_of_its_run(digits: Dataset, method: str) -> None:
    run = _resolved(digits, ipc=1, method=method, preset="quick")
    assert "not exactly" not in distill_command(dataclasses.replace(run, iterations=0), digits)


def test_only_what_differs_from_the_recipe_is_said(digits: Dataset) -> None:
    line = distill_command(_resolved(digits, ipc=1, preset="quick"), digits)
    assert "--set" not in line and "--iterations" not in line and "--network" not in line and "--ipc 1" in line


def test_a_spec_that_no_request_gives_is_said_not_to_be_exact(digits: Dataset) -> None:
    spec = dataclasses.replace(_resolved(digits, ipc=1), split="train without validation")
    assert "not exactly" in distill_command(spec, digits)
