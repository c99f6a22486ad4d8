"""KIP's kernels, predictions, losses and gradients against neural-tangents (golden kip.npz)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from vectors import Vectors, alterations, close, holds, read, tensor, write

from fredbench.networks.kernels import Architecture, Kernels, centred_one_hot, convolutional_kernels, dense_kernels
from fredbench.objectives.kernel_regression import kernel_regression_loss

CLASSES = 3
KERNELS: dict[str, Callable[..., Kernels]] = {
    "fc1": lambda a, b=None: dense_kernels(a, b, depth=1),
    "fc3": lambda a, b=None: dense_kernels(a, b, depth=3),
    "conv2": lambda a, b=None: convolutional_kernels(a, b, architecture=Architecture(2)),
}
RIDGES = ("1e-06", "0.01")
INPUTS = {"x_support", "y_support", "x_target", "y_target"}
KEYS = {
    *(*INPUTS, "label_support", "label_target", "nt_version"),
    *(f"{name}.{part}" for name in KERNELS for part in ("ntk_ss", "ntk_ts", "nngp_ss")),
    *(f"{name}.reg{r}.{p}" for name in KERNELS for r in RIDGES for p in ("loss", "pred", "grad_x", "grad_y")),
}
KERNEL_TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4}
TOLERANCE = {"1e-06": 1e-7, "0.01": 1e-10}


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def pictures(vectors: Vectors, which: str, dtype: torch.dtype) -> Tensor:
    """Channels first: the vectors have them last."""
    return tensor(vectors[f"x_{which}"], dtype).permute(0, 3, 1, 2).contiguous()


def check_kernels(vectors: Vectors, name: str, dtype: torch.dtype) -> None:
    support, target = (pictures(vectors, which, dtype) for which in ("support", "target"))
    kernels = KERNELS[name](support)
    close(kernels.nngp, vectors[f"{name}.nngp_ss"], KERNEL_TOLERANCE[dtype], f"{name} nngp")
    close(kernels.ntk, vectors[f"{name}.ntk_ss"], KERNEL_TOLERANCE[dtype], f"{name} ntk ss")
    close(KERNELS[name](target, support).ntk, vectors[f"{name}.ntk_ts"], KERNEL_TOLERANCE[dtype], f"{name} ntk ts")


def check_labels(vectors: Vectors) -> None:
    for which in ("support", "target"):
        rows = centred_one_hot(torch.from_numpy(vectors[f"label_{which}"]), CLASSES).double()
        close(rows, vectors[f"y_{which}"], 1e-7, f"labels of the {which}")


def check_regression(vectors: Vectors, name: str) -> None:
    target = pictures(vectors, "target", torch.float64)
    for ridge in RIDGES:
        support = pictures(vectors, "support", torch.float64).requires_grad_()
        labels = tensor(vectors["y_support"], torch.float64).requires_grad_()
        loss, prediction = kernel_regression_loss(
            lambda a, b=None: KERNELS[name](a, b).ntk,
            (support, labels),
            (target, tensor(vectors["y_target"], torch.float64)),
            float(ridge),
        )
        loss.backward()
        key = f"{name}.reg{ridge}"
        found = {"loss": loss, "pred": prediction, "grad_x": support.grad.permute(0, 2, 3, 1), "grad_y": labels.grad}
        for part, value in found.items():
            close(value, vectors[f"{key}.{part}"], TOLERANCE[ridge], f"{key}.{part}")


def all_checks(vectors: Vectors) -> None:
    check_keys(vectors)
    check_labels(vectors)
    for name in KERNELS:
        check_kernels(vectors, name, torch.float64)
        check_regression(vectors, name)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "kip.npz")


def test_the_file_holds_the_keys_that_its_readme_promises(vectors: Vectors) -> None:
    check_keys(vectors)
    check_labels(vectors)


@pytest.mark.parametrize("dtype", sorted(KERNEL_TOLERANCE, key=str), ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels(vectors: Vectors, name: str, dtype: torch.dtype) -> None:
    check_kernels(vectors, name, dtype)


@pytest.mark.parametrize("name", KERNELS)
def test_predictions_losses_and_gradients(vectors: Vectors, name: str) -> None:
    check_regression(vectors, name)


def test_every_altered_file_fails(vectors: Vectors, tmp_path: Path) -> None:
    # The version of the library is text; the gradients at a ridge of 1e-6 are only good to 1e-7, the change's size.
    numbers = {key: array for key, array in vectors.items() if array.dtype.kind in "fi"}
    altered = {key: {**vectors, key: changed[key]} for key, changed in alterations(numbers)}
    loose = {key for key in numbers if ".reg1e-06." in key}
    for key in loose:
        changed = vectors[key].copy()
        changed.flat[abs(changed).argmax()] *= 1 + 1e-5
        altered[key] = {**vectors, key: changed}
    quiet = [key for key, wrong in altered.items() if holds(all_checks, wrong)]
    # How much an entry of an input shows depends on the numbers: those that do not at once must at a thousandth.
    large = {key: {**vectors, key: changed[key]} for key, changed in alterations(numbers, 1e-3)}
    assert [key for key in quiet if key not in INPUTS or holds(all_checks, large[key])] == []
    write(tmp_path / "kip.npz", altered["fc3.ntk_ss"])
    with pytest.raises(AssertionError, match="fc3 ntk ss"):
        all_checks(read(tmp_path / "kip.npz"))


def test_a_missing_key_fails(vectors: Vectors) -> None:
    for key in vectors:
        assert not holds(check_keys, {name: array for name, array in vectors.items() if name != key})
