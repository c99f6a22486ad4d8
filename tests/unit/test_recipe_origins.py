"""Where the settings of a run come from: the view shows what the spec holds, and why."""

from __future__ import annotations

import re

import pytest
from spine import cifar_like

from fredbench.datasets import Dataset, load_dataset
from fredbench.recipes import Case, Rule, systems
from fredbench.recipes.methods import METHODS
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, explained, resolve


def held(request: Request, dataset: Dataset) -> dict[str, dict[str, object]]:
    """What the spec of a request holds, by section."""
    spec = resolve(request, dataset, device="cpu", threads=1)
    return {
        "run": {"iterations": spec.iterations, "network": spec.network},
        "data": dict(spec.data_settings),
        "parameterization": dict(spec.parameterization_settings),
        "objective": dict(spec.objective_settings),
        "labels": dict(spec.label_settings),
        "student": {**vars(spec.student), "network": spec.student_network, "students": spec.students},
    }


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_the_view_shows_what_the_spec_holds_and_why_it_was_chosen(method: str, preset: str) -> None:
    for dataset in (load_dataset("digits"), cifar_like()):
        for ipc in (1, 10):
            request = Request(ipc=ipc, method=method, preset=preset)
            there, sections = held(request, dataset), explained(request, dataset)
            assert list(sections) == list(there) and "iterations" in sections["run"]
            for section, settings in sections.items():
                for name, setting in settings.items():
                    # Left out of a spec are values that equal a default which came late (see config.late).
                    value = list(setting.value) if isinstance(setting.value, tuple) else setting.value
                    assert there[section].get(name, value) == value, (section, name)
                    assert setting.origin != "chosen" or setting.why, (section, name)
                    assert preset == "quick" or "in place of" not in setting.why, (section, name)


def test_what_the_request_sets_takes_the_place_of_the_recipe() -> None:
    request = Request(ipc=1, method="dm", iterations=7, overrides=("parameterization.lr=0.25",))
    sections = explained(request, cifar_like())
    assert (sections["run"]["iterations"].value, sections["run"]["iterations"].origin) == (7, "chosen")
    rate = sections["parameterization"]["lr"]
    assert (rate.value, rate.origin) == (0.25, "chosen") and "in place of 1.0 (inferred)" in rate.why


# A file of a published repository: `TM/hyper_params.py`, `distill_fac.py:409`, `run_cifar10_ipc*.sh`, `KIP.ipynb`.
NAMED_FILE = re.compile(r"[\w*./-]+\.(py|sh|ipynb|md|yaml)\b")
OURS = [rule for system in systems.READ for rule in system.RULES]


def named_file(rule: Rule) -> bool:
    source = rule.source(Case()) if callable(rule.source) else rule.source
    return NAMED_FILE.search(source) is not None


def test_whatever_is_said_to_be_of_a_script_names_the_file() -> None:
    of_scripts = [rule for rule in OURS if rule.origin == "script"]
    assert len(of_scripts) > 100
    assert [(rule.section, list(rule.values), rule.source) for rule in of_scripts if not named_file(rule)] == []


def test_a_script_without_a_file_would_be_seen() -> None:
    assert not named_file(Rule("run", {"iterations": 1}, "script", "the authors' script"))
    assert named_file(Rule("run", {"iterations": 1}, "script", lambda case: f"distill.py, IPC {case.ipc}"))
