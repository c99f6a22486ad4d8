"""FRePo's regression, its label loss and their gradients against the authors' (golden frepo.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Vectors, alterations, close, holds, read, tensor, write

from fredbench.networks.kernels import centred_one_hot, half_squared_error
from fredbench.networks.kernels.ridge import ridge_matrix
from fredbench.objectives.feature_regression import feature_regression, margin_loss, mirrored

CLASSES = 3
RIDGES = ("1e-06", "0.001")
FEATURE_PARTS = ("pred", "loss_total", "loss_kernel", "loss_label", "grad_x_proto", "grad_y_proto")
INPUTS = {"x_proto", "y_proto", "x_target", "y_target", "image_proto", "image_target"}
KEYS = {
    *(*INPUTS, "label_proto", "label_target", "k_pp_reg_1e-6"),
    *(f"reg{ridge}.{part}" for ridge in RIDGES for part in (*FEATURE_PARTS, "grad_x_target_feature")),
    *("W1", "b1", "W2"),
    *(f"net.{form}.{part}" for form in ("noflip", "flip") for part in ("loss", "pred", "grad_image", "grad_y")),
    *("label.y", "label.loss", "label.grad"),
}
TOLERANCE = {"1e-06": 1e-8, "0.001": 1e-11}
DOUBLE, SINGLE = torch.float64, torch.float32


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def check_features(vectors: Vectors, ridge: str, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[ridge] if dtype == DOUBLE else 1e-3
    support, labels, target = (
        tensor(vectors[key], dtype).requires_grad_() for key in ("x_proto", "y_proto", "x_target")
    )
    prediction = feature_regression(target, support, labels, float(ridge))
    kernel = half_squared_error(prediction, tensor(vectors["y_target"], dtype))
    margin = margin_loss(labels)
    (kernel + margin).backward()
    found = {
        "pred": prediction,
        "loss_total": kernel + margin,
        "loss_kernel": kernel,
        "loss_label": margin,
        "grad_x_proto": support.grad,
        "grad_y_proto": labels.grad,
        "grad_x_target_feature": target.grad,
    }
    for part, value in found.items():
        close(value, vectors[f"reg{ridge}.{part}"], tolerance, f"reg{ridge}.{part}")


def check_matrix(vectors: Vectors) -> None:
    features = tensor(vectors["x_proto"], DOUBLE)
    close(ridge_matrix(features @ features.T, 1e-6), vectors["k_pp_reg_1e-6"], 1e-12, "regularised kernel")
    targets = centred_one_hot(torch.from_numpy(vectors["label_target"]), CLASSES)
    close(targets, vectors["y_target"], 1e-7, "targets")
    assert vectors["y_proto"].argmax(1).tolist() == vectors["label_proto"].tolist()


def check_images(vectors: Vectors, form: str) -> None:
    """The authors' pictures have channels last, and so do the features' weights."""
    first, bias, second = (tensor(vectors[key], DOUBLE) for key in ("W1", "b1", "W2"))

    def embed(pictures: Tensor) -> Tensor:
        return torch.relu(pictures.permute(0, 2, 3, 1).flatten(1) @ first + bias) @ second

    pictures = tensor(vectors["image_proto"], DOUBLE).permute(0, 3, 1, 2).contiguous().requires_grad_()
    labels = tensor(vectors["y_proto"], DOUBLE).requires_grad_()
    real = tensor(vectors["image_target"], DOUBLE).permute(0, 3, 1, 2)
    support, given = mirrored(pictures, labels) if form == "flip" else (pictures, labels)
    prediction = feature_regression(embed(real), embed(support), given, 1e-6)
    loss = half_squared_error(prediction, tensor(vectors["y_target"], DOUBLE)) + margin_loss(labels)
    loss.backward()
    found = {"loss": loss, "pred": prediction, "grad_y": labels.grad, "grad_image": pictures.grad.permute(0, 2, 3, 1)}
    for part, value in found.items():
        close(value, vectors[f"net.{form}.{part}"], TOLERANCE["1e-06"], f"net.{form}.{part}")


def check_margin(vectors: Vectors, dtype: torch.dtype) -> None:
    tolerance = 1e-11 if dtype == DOUBLE else 1e-5
    labels = tensor(vectors["label.y"], dtype).requires_grad_()
    loss = margin_loss(labels)
    loss.backward()
    close(loss, vectors["label.loss"], tolerance, "label loss")
    close(labels.grad, vectors["label.grad"], tolerance, "label gradient")


def all_checks(vectors: Vectors) -> None:
    check_keys(vectors)
    check_matrix(vectors)
    check_margin(vectors, DOUBLE)
    for ridge in RIDGES:
        check_features(vectors, ridge, DOUBLE)
    for form in ("noflip", "flip"):
        check_images(vectors, form)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "frepo.npz")


def test_the_file_holds_the_keys_that_its_readme_promises(vectors: Vectors) -> None:
    check_keys(vectors)


def test_regularised_kernel_and_targets(vectors: Vectors) -> None:
    check_matrix(vectors)


@pytest.mark.parametrize(("ridge", "dtype"), [("1e-06", DOUBLE), ("0.001", DOUBLE), ("0.001", SINGLE)])
def test_regression_on_features(vectors: Vectors, ridge: str, dtype: torch.dtype) -> None:
    check_features(vectors, ridge, dtype)


@pytest.mark.parametrize("form", ["noflip", "flip"])
def test_regression_on_a_networks_features(vectors: Vectors, form: str) -> None:
    check_images(vectors, form)


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_label_loss(vectors: Vectors, dtype: torch.dtype) -> None:
    check_margin(vectors, dtype)


def test_label_loss_by_hand() -> None:
    labels = torch.tensor([[0.4, 0.3, -0.7]], dtype=DOUBLE, requires_grad=True)
    loss = margin_loss(labels)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-0.1, abs=1e-15)
    assert labels.grad.tolist() == [[-1, 1, 0]]


def test_every_altered_file_fails(vectors: Vectors, tmp_path: Path) -> None:
    altered = dict(alterations(vectors))
    for key in vectors:
        if "1e-06" in key or key.startswith("net."):
            changed = vectors[key].copy()
            changed.flat[np.abs(changed).argmax()] *= 1 + 1e-6
            altered[key] = {**vectors, key: changed}
    # A unit that never fires does not show its own weights, nor does a label beyond the margin's limit show its size.
    for key in ("W1", "b1", "W2"):
        altered[key] = {**vectors, key: vectors[key] + 1e-5}
    altered["label.y"] = {**vectors, "label.y": vectors["label.y"] + 1e-7 * vectors["label.grad"]}
    quiet = [key for key, wrong in altered.items() if holds(all_checks, wrong)]
    # How much an entry of an input shows depends on the numbers: those that do not at once must at a thousandth.
    large = dict(alterations(vectors, 1e-3))
    assert [key for key in quiet if key not in INPUTS or holds(all_checks, large[key])] == []
    write(tmp_path / "frepo.npz", altered["net.flip.grad_image"])
    with pytest.raises(AssertionError, match=r"net\.flip\.grad_image"):
        all_checks(read(tmp_path / "frepo.npz"))


def test_a_missing_key_fails(vectors: Vectors) -> None:
    for key in vectors:
        assert not holds(check_keys, {name: array for name, array in vectors.items() if name != key})
