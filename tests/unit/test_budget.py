"""The ledger, and the budget counted from a file's own bytes."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import cifar_like, distillation_of

from fredbench.foundation.errors import BudgetError
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.frequency import FreD, FreDConfig
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.runs import assembly
from fredbench.runs.store import RunFolder

CIFAR = (3, 32, 32)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(2, 100), st.tuples(*[st.integers(1, 40)] * 3))
def test_ipc_is_whole_pictures(ipc: int, classes: int, shape: tuple[int, int, int]) -> None:
    budget = Budget.for_ipc(ipc, classes, shape)
    assert budget.scalars == ipc * classes * math.prod(shape)
    assert budget.whole_pictures == ipc and budget.per_class == ipc * budget.picture


@settings(deadline=None, max_examples=50)
@given(*[st.integers(0, 10**6)] * 5)
def test_strict_counts_everything(params: int, bits: int, labels: int, step: int, decoder: int) -> None:
    ledger = Ledger(params, 1, bits, labels, step, decoder)
    assert ledger.params_strict == params + -(-bits // 32) + labels + step + decoder
    assert ledger.to_mapping()["params_strict"] == ledger.params_strict


@pytest.mark.parametrize(
    ("ipc", "classes", "side", "k", "instances"),
    # methods.md 13.7: SVHN and CIFAR-10, CIFAR-100 from the increments; DC's k = 32; ImageNet at 128 pixels.
    [
        (1, 10, 32, 64, 16), (10, 10, 32, 128, 80), (50, 10, 32, 256, 200), (10, 10, 32, 160, 64),
        (1, 100, 32, 128, 8), (10, 100, 32, 400, 25), (50, 100, 32, 400, 128), (2, 10, 32, 32, 64),
        (2, 10, 32, 64, 32), (1, 10, 128, 2048, 8),
    ],
)  # fmt: skip
def test_instances_of_the_published_settings(ipc: int, classes: int, side: int, k: int, instances: int) -> None:
    budget = Budget.for_ipc(ipc, classes, (3, side, side))
    assert FreD(FreDConfig(k)).instances(budget) == instances
    assert classes * instances * 3 * k <= budget.scalars


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 2 * 10**6), st.integers(2, 100), st.integers(1, 1024))
def test_fred_never_exceeds_its_budget_and_leaves_less_than_an_instance(scalars: int, classes: int, k: int) -> None:
    budget = Budget(scalars, classes, CIFAR)
    try:
        count = FreD(FreDConfig(k)).instances(budget)
    except BudgetError:
        assert scalars // classes < 2 * 3 * k
        return
    assert classes * count * 3 * k <= scalars < classes * (count + 1) * 3 * k + classes


def scalars_in(file: Path) -> tuple[dict[str, tuple[str, list[int], int]], dict[str, str]]:
    """Read by hand from the bytes, after the format's own description: tensors (dtype, shape, bytes), metadata."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + length])
    metadata = head.pop("__metadata__")
    sizes = {name: (t["dtype"], t["shape"], t["data_offsets"][1] - t["data_offsets"][0]) for name, t in head.items()}
    assert sum(size for *_, size in sizes.values()) == len(data) - 8 - length
    return sizes, metadata


def test_fred_on_cifar_pictures_at_ipc_1_stores_30720_scalars_and_31040_strictly(tmp_path: Path) -> None:
    """methods.md 14: 10 x 16 x 3 x 64 coefficients, and 10 x 1024 bits of mask, which are 320 floats."""
    made = distillation_of(cifar_like(), iterations=0, overrides=("parameterization.k=64",))
    made.synset(cifar_like()).save(tmp_path / "synset.safetensors")
    sizes, _ = scalars_in(tmp_path / "synset.safetensors")
    assert set(sizes) == {"coefficients", "mask"}
    assert sizes["coefficients"] == ("F32", [10, 16, 3, 64], 30_720 * 4)
    assert sizes["mask"] == ("U8", [10, 128], 10 * 1024 // 8)
    stored = sizes["coefficients"][2] // 4, sizes["mask"][2] * 8
    assert made.ledger == Ledger(params=stored[0], decoded=160, mask_bits=stored[1])
    assert (made.ledger.params, made.ledger.params_strict) == (30_720, 31_040)
    assert made.ledger.params_strict * 4 == sum(size for *_, size in sizes.values())


def test_pixels_store_whole_pictures_and_nothing_else(tmp_path: Path) -> None:
    made = distillation_of(cifar_like(), iterations=0, parameterization="pixels")
    made.synset(cifar_like()).save(tmp_path / "synset.safetensors")
    sizes, metadata = scalars_in(tmp_path / "synset.safetensors")
    assert sizes == {"pixels": ("F32", [10, 3, 32, 32], 30_720 * 4)}
    assert list(metadata) == ["fredbench"]
    assert made.ledger == Ledger(params=30_720, decoded=10) and made.ledger.params_strict == 30_720


class Greedy(Pixels):
    """Pixels that store one picture a class more than the budget holds."""

    name = "greedy"

    def instances(self, budget: Budget) -> int:
        return budget.whole_pictures + 1


def test_over_budget_is_refused_before_step_0_and_before_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(assembly.PARAMETERIZATIONS._targets, "pixels", Greedy)
    dataset, folder = cifar_like(), RunFolder(tmp_path / "run")
    with pytest.raises(BudgetError, match="61,440 scalars, over the budget of 30,720"):
        distillation_of(dataset, iterations=3, parameterization="pixels", folder=folder)
    assert not folder.path.exists()


def test_budgets_that_cannot_be_met_say_what_would_do() -> None:
    small = Budget(5000, 10, CIFAR)
    for parameterization, words in (
        (Pixels(PixelsConfig()), "--params 30720"),
        (FreD(FreDConfig(256)), "parameterization.k"),
        (FreD(FreDConfig(1025)), "at most 1024"),
    ):
        with pytest.raises(BudgetError) as caught:
            parameterization.instances(small)
        assert words in caught.value.hint
    for ipc in (0, -3):
        with pytest.raises(BudgetError, match="at least 1"):
            Budget.for_ipc(ipc, 10, CIFAR)


def test_the_check_is_of_the_papers_convention() -> None:
    budget = Budget(100, 10, CIFAR)
    budget.check(Ledger(params=100, decoded=1, mask_bits=10**6))
    with pytest.raises(BudgetError, match="101"):
        budget.check(Ledger(params=101, decoded=1))


def test_the_audit_counts_the_tensors_and_not_the_claim() -> None:
    synset = distillation_of(cifar_like(), iterations=0).synset(cifar_like())
    assert synset.ledger.to_mapping() == synset.header["ledger"]
    synset.header["ledger"] = {**synset.header["ledger"], "params": 1}
    assert synset.ledger.params == 30_720
    synset.tensors["coefficients"] = torch.zeros(10, 3, 3, 64)
    assert synset.ledger.params == 10 * 3 * 3 * 64
    assert np.prod(synset.tensors["mask"].shape) * 8 == synset.ledger.mask_bits
