"""HaBa's hallucinators, contrastive terms and trajectory loss against the authors' (golden haba.npz)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from vectors import Vectors, close, holds, read, tensor, unnoticed, write

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.objectives.flat import Derivatives, FlatNetwork
from fredbench.objectives.unrolling import InnerStep, Segment, exact_gradient, unrolled_loss
from fredbench.parameterizations.base import State
from fredbench.parameterizations.contrast import (
    ContrastConfig,
    club_cosine,
    extractor_name,
    likelihood_cosine,
    supervised_contrastive,
)
from fredbench.parameterizations.hallucinator import Hallucination, HallucinationConfig, Hallucinator
from fredbench.training.augmentation import Draw
from fredbench.training.loop import cross_entropy

CLASSES, STYLES, SHAPE = 3, 3, (3, 32, 32)
# Their names of a hallucinator's weights, in the order of ours.
PARTS = ("enc.weight", "enc.bias", "scale", "shift", "dec.weight", "dec.bias")
NAMES = dict(zip(Hallucinator._fields, PARTS, strict=True))
LAYERS = [f"features.{layer}" for layer in (0, 1, 4, 5, 8, 9)] + ["classifier"]
WEIGHTS = [f"start.{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
INPUTS = {
    *("basis", "basis_label", "cotangent", "target_flat", "start_flat", "tm.style_per_step", "tm.syn_lr", *WEIGHTS),
    *(f"aux.{name}" for name in ("embed0", "embed1", "label", "logits", "extractor_meta_json")),
    *(f"style.{style}.{part}" for style in range(STYLES) for part in PARTS),
    *(f"style_gray.{part}" for part in PARTS),
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}
DTYPES = sorted(TOLERANCE, key=str)
Found = dict[str, Tensor]


def holding(vectors: Vectors, prefixes: list[str], bases: Tensor) -> tuple[Hallucination, State]:
    """The parameterization with `bases` (C n, i, H, W) and the hallucinators of these names, all taking part."""
    grey = bases.shape[1] == 1
    config = HallucinationConfig(hallucinators=len(prefixes), grey=grey, contrast=0.1 if len(prefixes) > 1 else 0.0)
    parts = Hallucination(config)
    stored = {"bases": bases.clone().reshape(CLASSES, -1, *bases.shape[1:])}
    for ours, theirs in NAMES.items():
        stacked = torch.stack([tensor(vectors[f"{prefix}.{theirs}"], bases.dtype) for prefix in prefixes])
        # Theirs keep an axis of one picture before scale and shift.
        stored[ours] = stacked.flatten(1, 2) if stacked.ndim == 5 and theirs in {"scale", "shift"} else stacked
    state = parts.from_tensors(stored, classes=CLASSES, shape=SHAPE)
    for learned in state.learned.values():
        learned.requires_grad_()
    return parts, state


def gradients(scalar: Tensor, state: State, prefix: str) -> Found:
    """Gradients of `scalar` with respect to bases and hallucinators, named as in the file."""
    found = torch.autograd.grad(scalar, list(state.learned.values()))
    by_name = dict(zip(state.learned, found, strict=True))
    named = {f"{prefix}grad_basis": by_name["bases"].flatten(0, 1)}
    for ours, theirs in NAMES.items():
        for style in range(STYLES):
            own = by_name[ours][style]
            named[f"{prefix}grad_style.{style}.{theirs}"] = own[None] if theirs in {"scale", "shift"} else own
    return named


def composing(vectors: Vectors, dtype: torch.dtype) -> Found:
    basis = tensor(vectors["basis"], dtype)
    parts, state = holding(vectors, [f"style.{style}" for style in range(STYLES)], basis)
    pictures, labels = parts.decode(state)
    rows = parts.alternatives(state)
    assert labels[rows].tolist() == [[label] * STYLES for label in vectors["basis_label"].tolist()]
    composed = pictures[rows.T]
    found = {"composed": composed, **gradients((composed * tensor(vectors["cotangent"], dtype)).sum(), state, "")}
    in_grey, grey_state = holding(vectors, ["style_gray"], basis[:, :1])
    numbers = Hallucinator.shapes(3, SHAPE).numel()
    return {**found, "gray_composed": in_grey.decode(grey_state)[0], "num_parameters_per_style": torch.tensor(numbers)}


def contrasting(vectors: Vectors, dtype: torch.dtype) -> Found:
    first, second = (tensor(vectors[f"aux.embed{i}"], dtype).requires_grad_() for i in (0, 1))
    labels, logits = tensor(vectors["aux.label"], dtype), tensor(vectors["aux.logits"], dtype)
    club = club_cosine(first, second)
    grouped = supervised_contrastive(first, second, labels, ContrastConfig().temperature)
    by_first, by_second = torch.autograd.grad(grouped, (first, second))
    return {
        "aux.club_cosine": club,
        "aux.club_grad0": torch.autograd.grad(club, first)[0],
        "aux.likelihood_cosine": likelihood_cosine(first, second),
        "aux.supcon": grouped,
        "aux.supcon_grad0": by_first,
        "aux.supcon_grad1": by_second,
        "aux.cls_cross_entropy": cross_entropy(logits, torch.cat([labels, labels])),
    }


def matching(vectors: Vectors, dtype: torch.dtype, mode: str) -> Found:
    network = FlatNetwork(networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype))
    assert [f"start.{name}" for name, _ in network.layout] == WEIGHTS
    start = network.flatten({name.removeprefix("start."): tensor(vectors[name], dtype) for name in WEIGHTS})
    assert torch.equal(start, tensor(vectors["start_flat"], dtype))
    basis = tensor(vectors["basis"], dtype)
    parts, state = holding(vectors, [f"style.{style}" for style in range(STYLES)], basis)
    pictures, labels = parts.decode(state)
    rows = parts.alternatives(state)
    styles = vectors["tm.style_per_step"].tolist()
    steps = [InnerStep(rows[:, style], Draw("none", (), (32, 32))) for style in styles]
    segment = Segment(start, tensor(vectors["target_flat"], dtype), steps)
    alpha = torch.tensor(float(vectors["tm.syn_lr"]), dtype=dtype).requires_grad_()
    if mode == "autograd":
        loss, _, _ = unrolled_loss(network, segment, pictures, labels, alpha)
        (by_alpha,) = torch.autograd.grad(loss, alpha, retain_graph=True)
        return {"tm.loss": loss, "tm.grad_lr": by_alpha, **gradients(loss, state, "tm.")}
    found = exact_gradient(Derivatives(network, 4), segment, pictures, labels, alpha)
    carried = gradients((pictures * found.pictures).sum(), state, "tm.")
    return {"tm.loss": found.loss, "tm.grad_lr": found.step_size, **carried}


def computed(vectors: Vectors, dtype: torch.dtype, mode: str = "exact") -> Found:
    """What our functions make of the inputs, under the names of the file."""
    return {**composing(vectors, dtype), **contrasting(vectors, dtype), **matching(vectors, dtype, mode)}


def check_extractor(vectors: Vectors) -> None:
    meta = json.loads(str(vectors["aux.extractor_meta_json"]))
    classes = dict(map(tuple, meta))["classifier.bias"][0] if meta else 0
    built = networks.build(extractor_name((32, 32), 128), classes=classes, size=32, rng=Stream(0))
    own = [[name.replace("features", "model"), list(weight.shape)] for name, weight in built.named_parameters()]
    assert own == meta


def compare(found: Found, vectors: Vectors, dtype: torch.dtype) -> None:
    wanted = set(vectors)
    assert wanted == INPUTS | set(found), f"missing {(INPUTS | set(found)) - wanted}, unknown {wanted - set(found)}"
    check_extractor(vectors)
    for key, value in found.items():
        close(value, vectors[key], TOLERANCE[dtype], key)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "haba.npz")


@pytest.mark.parametrize("mode", ["exact", "autograd"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_against_the_authors_vectors(vectors: Vectors, dtype: torch.dtype, mode: str) -> None:
    compare(computed(vectors, dtype, mode), vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "haba.npz"
    write(copy, vectors)
    dtype = torch.float64
    found = computed(read(copy), dtype)
    compare(found, read(copy), dtype)

    def passes(key: str, altered: Vectors) -> None:
        # What is computed depends on the inputs alone, and an altered one shows in one of the three parts.
        again: Found = {}
        if key.startswith("aux."):
            again = contrasting(altered, dtype)
        elif key in {"cotangent", "basis", "basis_label"} or key.startswith("style"):
            again = composing(altered, dtype)
        elif key in INPUTS:
            again = matching(altered, dtype, "exact")
        compare({**found, **again}, altered, dtype)

    assert unnoticed(vectors, passes, INPUTS) == set()


def test_a_missing_key_fails(vectors: Vectors) -> None:
    found = computed(vectors, torch.float64)
    for key in found:
        rest = {name: array for name, array in vectors.items() if name != key}
        assert not holds(compare, found, rest, torch.float64)
