"""Every registered part keeps its promises, alone and with every other: the check that a plug-in meets as well."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from spine import TINY_SETTINGS, TINY_STARTS, set_of, spec_of

import fredbench
from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping
from fredbench.foundation.errors import CompatibilityError, FredbenchError, UsageError
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.recipes.methods import METHODS
from fredbench.runs.assembly import Distillation
from fredbench.testing import (
    PARAMETERIZATION_CHECKS,
    Subject,
    check_objective,
    check_pair,
    small_digits,
)

PAIRS = list(itertools.product(OBJECTIVES, PARAMETERIZATIONS))
CPU = torch.device("cpu")
# What the loop itself gives to an objective.
GIVEN = frozenset({"experts"})


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return small_digits()


@pytest.mark.parametrize(("objective", "parameterization"), PAIRS)
def test_every_pair_runs_or_is_refused_before_step_0(digits: Dataset, objective: str, parameterization: str) -> None:
    needs = OBJECTIVES.get(objective).needs - PARAMETERIZATIONS.get(parameterization).offers - GIVEN
    if needs:
        with pytest.raises(CompatibilityError) as caught:
            check_pair(objective, parameterization, dataset=digits)
        assert all(need in caught.value.message for need in needs) and caught.value.hint
        return
    # With plain pixels also what an objective promises by itself.
    check = check_objective if parameterization == "pixels" else check_pair
    overrides = (*TINY_SETTINGS.get(objective, ()), *TINY_STARTS.get(parameterization, ()))
    check(objective, parameterization, dataset=digits, overrides=overrides)


# Soft labels are a property of the state: with any parameterization, fixed or learned, or refused with the reason.
LABELS = [("hard", True), *itertools.product(("probability", "centred"), (False, True))]


@pytest.mark.parametrize(("objective", "labels"), list(itertools.product(OBJECTIVES, LABELS)), ids=str)
def test_every_form_of_labels_runs_or_is_refused_before_step_0(
    digits: Dataset, objective: str, labels: tuple[str, bool]
) -> None:
    (form, learned), kind = labels, OBJECTIVES.get(objective)
    overrides = (*TINY_SETTINGS.get(objective, ()), f"labels.form={form}", f"labels.learned={str(learned).lower()}")
    reasons = []
    if form == "hard" and learned:
        reasons.append("hard labels cannot be learned")
    elif form not in kind.label_forms:
        reasons.append(f"{objective!r} cannot match {form} labels")
    elif learned and kind.learns_labels == "never":
        reasons.append(f"{objective!r} does not learn labels")
    elif not learned and kind.learns_labels == "must":
        reasons.append(f"{objective!r} learns labels only")
    if not reasons:
        check_pair(objective, "fred", dataset=digits, overrides=overrides)
        return
    with pytest.raises(UsageError if form == "hard" and learned else CompatibilityError, match=reasons[0]) as caught:
        check_pair(objective, "fred", dataset=digits, overrides=overrides)
    assert caught.value.hint


def test_a_pair_that_cannot_be_is_refused_by_name(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OBJECTIVES.get("dm"), "needs", frozenset({"class batches", "learnable labels"}))
    with pytest.raises(
        CompatibilityError, match="'dm' needs learnable labels, which parameterization 'fred'"
    ) as caught:
        spec_of(digits)
    assert "none" in caught.value.hint


@pytest.mark.parametrize("check", PARAMETERIZATION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_a_parameterization_keeps_its_promises(digits: Dataset, name: str, check: Callable[[Subject], None]) -> None:
    check(Subject(name, digits, TINY_STARTS.get(name, ())))


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_another_seed_is_another_start(digits: Dataset, name: str) -> None:
    one, other = (
        list(Subject(name, digits, TINY_STARTS.get(name, ())).begun(seed=seed).state.learned.values())
        for seed in (0, 1)
    )
    assert not all(map(torch.equal, one, other))


@pytest.mark.parametrize("registry", [OBJECTIVES, PARAMETERIZATIONS], ids=lambda registry: registry.kind)
def test_settings_refuse_what_they_do_not_know(registry) -> None:
    for name in registry:
        assert registry.summary(name) and "\n" not in registry.summary(name)
        with pytest.raises(FredbenchError, match="unheard"):
            from_mapping(registry.get(name).Config, {"unheard": 1}, where=name)


def test_methods_name_registered_parts() -> None:
    for method in METHODS.values():
        assert method.objective == "none" or method.objective in OBJECTIVES
        assert method.parameterization in PARAMETERIZATIONS


def test_a_set_without_colour_and_without_a_square_shape_works(tmp_path: Path) -> None:
    """28 x 20 in one grey channel: nothing assumes squares or RGB."""
    grey = set_of(3, (28, 20), channels=1)
    for name in PARAMETERIZATIONS:
        overrides = ("parameterization.k=35",) if name == "fred" else ()
        run = Distillation(spec_of(grey, parameterization=name, ipc=2, network="mlp", overrides=overrides), grey, CPU)
        run.step()
        run.synset(grey).save(tmp_path / f"{name}.safetensors")
        synset = fredbench.load(tmp_path / f"{name}.safetensors")
        synset.verify()
        assert synset.images.shape[1:] == (1, 28, 20)
