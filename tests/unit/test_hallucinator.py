"""HaBa's bases and hallucinators: what they decode to, what they cost, and that a file of them says all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations import LabelConfig, labelled
from fredbench.parameterizations.base import State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.hallucinator import Hallucination, HallucinationConfig, Hallucinator, hallucinate
from fredbench.training.batches import AlternativePictures, RealPictures, TensorPictures

CLASSES, SHAPE = 3, (3, 10, 8)
EACH = Hallucinator.shapes(3, SHAPE).numel()


def real_pictures(shape: tuple[int, int, int] = SHAPE) -> RealPictures:
    channels, height, width = shape
    images = np.random.default_rng(0).integers(0, 256, (60, height, width, channels), dtype=np.uint8)
    labels = np.arange(60, dtype=np.int64) % CLASSES
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
    return RealPictures(images, labels, mean=mean, std=std, classes=CLASSES, device=torch.device("cpu"))


def made(ipc: int = 2, shape: tuple[int, int, int] = SHAPE, **settings: Any) -> tuple[Hallucination, State]:
    parts = Hallucination(HallucinationConfig(**settings))
    budget = Budget.for_ipc(ipc, CLASSES, shape)
    state = parts.init(real_pictures(shape), budget, Stream(0))
    assert parts.instances(budget) * CLASSES == len(state)
    return parts, state


def weights_of(state: State, number: int) -> Hallucinator:
    return Hallucinator(*(state.learned[name][number] for name in Hallucinator._fields))


def test_a_hallucinator_is_two_convolutions_around_a_scale_and_a_shift() -> None:
    torch.manual_seed(0)
    encoder, decoder = nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 3, 3)
    scale, shift = torch.randn(3, 8, 6), torch.randn(3, 8, 6)
    bases = torch.randn(4, 2, 10, 8)
    found = hallucinate(bases, Hallucinator(encoder.weight, encoder.bias, scale, shift, decoder.weight, decoder.bias))
    assert torch.equal(found, decoder(encoder(bases) * scale + shift)) and found.shape == (4, 3, 10, 8)


@pytest.mark.parametrize(("side", "scalars"), [(32, 5_568), (64, 23_232), (128, 95_424)])
def test_its_cost_is_the_published_one(side: int, scalars: int) -> None:
    assert Hallucinator.shapes(3, (3, side, side)).numel() == scalars


def test_every_hallucinator_shows_every_base_of_a_class_under_its_label() -> None:
    parts, state = made()
    pictures, labels = parts.decode(state)
    bases, rows = state.learned["bases"], parts.alternatives(state)
    assert pictures.shape == (CLASSES * 5 * 2, *SHAPE) and labels.tolist() == sorted(labels.tolist())
    assert rows.shape == (CLASSES * 2, 5) and sorted(rows.flatten().tolist()) == list(range(len(state)))
    for number in range(5):
        wanted = hallucinate(bases.flatten(0, 1), weights_of(state, number))
        assert torch.allclose(pictures[rows[:, number]], wanted, atol=1e-6)
    assert labels[rows].tolist() == [[label] * 5 for label in range(CLASSES) for _ in range(2)]


def test_decoding_a_part_is_part_of_decoding_all_in_any_order() -> None:
    parts, state = made()
    pictures, labels = parts.decode(state)
    order = torch.tensor([29, 0, 7, 7, 12])
    some, their_labels = parts.decode(state, order)
    assert torch.allclose(some, pictures[order], atol=1e-6) and torch.equal(their_labels, labels[order])
    nothing, none = parts.decode(state, order[:0])
    assert nothing.shape == (0, *SHAPE) and len(none) == 0


def test_a_base_moves_its_own_renderings_alone_and_a_hallucinator_its_column() -> None:
    parts, state = made()
    rows, (before, _) = parts.alternatives(state), parts.decode(state)

    def changed() -> list[int]:
        return (before != parts.decode(state)[0]).flatten(1).any(1).nonzero().flatten().tolist()

    with torch.no_grad():
        state.learned["bases"][1, 0] += 1
        assert changed() == sorted(rows[2].tolist())
        state.learned["bases"][1, 0] -= 1
        before, _ = parts.decode(state)
        state.learned["shift"][3] += 1
    assert changed() == sorted(rows[:, 3].tolist())


def test_the_beginning_is_real_pictures_seen_through_random_maps() -> None:
    _, state = made()
    everything = real_pictures().images(torch.arange(60))
    for base in state.learned["bases"].detach().flatten(0, 1):
        assert bool((everything == base).flatten(1).all(1).any())
    bound = 1 / math.sqrt(27)
    for name in ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias"):
        weight = state.learned[name].detach()
        assert 0.5 * bound < float(weight.abs().max()) <= bound
        assert not torch.equal(weight[0], weight[1]), "each is drawn for itself"
    assert bool((state.learned["scale"] == 1).all()) and bool((state.learned["shift"] == 0).all())
    assert all(tensor.is_leaf and tensor.requires_grad for tensor in state.learned.values())


def test_noise_is_noise() -> None:
    _, state = made(ipc=20, init="noise")
    values = state.learned["bases"].detach()
    assert abs(float(values.mean())) < 0.05 and abs(float(values.std()) - 1) < 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_bases_are_as_many_times_more_and_are_coloured(channels: int) -> None:
    shape = (channels, 10, 8)
    parts, state = made(shape=shape, grey=True)
    bases, (pictures, _) = state.learned["bases"].detach(), parts.decode(state)
    assert bases.shape == (CLASSES, 2 * channels, 1, 10, 8) and pictures.shape == (CLASSES * 10 * channels, *shape)
    everything = real_pictures(shape).images(torch.arange(60)).mean(1, keepdim=True)
    assert bool((everything == bases[0, 0]).flatten(1).all(1).any())
    assert parts.ledger(state).params == bases.numel() == Budget.for_ipc(2, CLASSES, shape).scalars


def test_table_1_leaves_the_hallucinators_out_and_table_2_counts_them() -> None:
    shape, beside = (3, 32, 32), 27_840
    free, counted = (Hallucination(HallucinationConfig(count_hallucinators=count)) for count in (False, True))
    for ipc, bases in ((2, 1), (11, 10), (51, 50)):
        assert counted.shown(Budget.for_ipc(ipc, 10, shape)) == bases
        assert free.shown(Budget.for_ipc(ipc, 10, shape)) == ipc
    budget = Budget(58_560, 10, shape)
    assert counted.shown(budget) == 1
    with pytest.raises(BudgetError, match="27,840 of hallucinators") as caught:
        counted.shown(Budget(58_559, 10, shape))
    assert "58560" in str(caught.value.hint)
    for settings, params, decoder in (({}, 144 * 10, 5 * EACH), ({"count_hallucinators": True}, 144 * 10, 0)):
        parts = Hallucination(HallucinationConfig(**settings))
        room = Budget(720 * 2 + (5 * EACH if settings else 0), CLASSES, SHAPE)
        state = parts.init(real_pictures(), room, Stream(0))
        ledger = parts.ledger(state)
        assert ledger.decoded == 2 * CLASSES * 5 and ledger.decoder_scalars == decoder
        assert ledger.params == params + (5 * EACH if settings else 0)
        assert ledger.params_strict == params + 5 * EACH
        room.check(ledger)
        roles = {name: role for name, (_, role) in parts.to_tensors(state).items()}
        assert roles.pop("bases") == "scalars"
        assert set(roles.values()) == {"scalars" if settings else "decoder"} and set(roles) == set(Hallucinator._fields)
    assert beside == 5 * Hallucinator.shapes(3, shape).numel()


def test_learned_labels_are_one_a_rendering() -> None:
    parts = labelled(Hallucination(HallucinationConfig()), LabelConfig(form="centred", learned=True))
    budget = Budget.for_ipc(2, CLASSES, SHAPE)
    state = parts.init(real_pictures(), budget, Stream(0))
    assert state.labels.shape == (30, CLASSES) and parts.ledger(state).label_scalars == 90
    rows = parts.alternatives(state)
    assert rows is not None and parts.shown(budget) * CLASSES == len(rows) == 6
    with torch.no_grad():
        state.learned["labels"][rows[4, 2]] = 7.0
    assert bool((parts.decode(state, rows[4])[1][2] == 7).all()) and not bool((parts.decode(state)[1] == 7).all())


def test_students_see_each_base_once_an_epoch_by_a_hallucinator_drawn_anew() -> None:
    parts, state = made()
    with torch.no_grad():
        pictures, labels = parts.decode(state)
    shown = AlternativePictures(TensorPictures(pictures, labels), parts.alternatives(state))
    assert len(shown) == 6 and isinstance(shown.device, torch.device)
    rows, seen = parts.alternatives(state), torch.zeros(6, 5)
    for epoch in range(400):
        index = torch.randperm(6, generator=Stream(epoch).torch())
        images, truth = shown.batch(index, Stream(1).child(epoch))
        assert torch.equal(truth, labels[rows[index, 0]])
        same = (images[:, None] == pictures[rows[index]]).flatten(2).all(2)
        assert same.sum(1).tolist() == [1] * 6
        seen[index] += same
    # 80 of 400 for each; five standard deviations of a binomial.
    assert float((seen - 80).abs().max()) < 5 * math.sqrt(400 * 0.2 * 0.8)
    again = [shown.batch(torch.arange(6), Stream(1))[0] for _ in range(2)]
    assert torch.equal(*again) and not torch.equal(again[0], shown.batch(torch.arange(6), Stream(2))[0])


def test_there_and_back() -> None:
    parts, state = made()
    tensors = {name: tensor for name, (tensor, _) in parts.to_tensors(state).items()}
    again = parts.from_tensors(tensors, classes=CLASSES, shape=SHAPE)
    for first, second in zip(parts.decode(state), parts.decode(again), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["bases", *Hallucinator._fields])
def test_tensors_that_contradict_the_header_are_refused(name: str) -> None:
    parts, state = made()
    tensors = {key: tensor for key, (tensor, _) in parts.to_tensors(state).items()}
    for broken in (tensors[name][:1], tensors[name].flatten(), tensors[name][..., :-1]):
        with pytest.raises(ArtefactError, match="shape"):
            parts.from_tensors({**tensors, name: broken}, classes=CLASSES, shape=SHAPE)
    with pytest.raises(KeyError):
        parts.from_tensors({key: tensor for key, tensor in tensors.items() if key != name}, classes=3, shape=SHAPE)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="0 hallucinators"):
        HallucinationConfig(hallucinators=0, contrast=0.0)
    with pytest.raises(UsageError, match="no two renderings"):
        HallucinationConfig(hallucinators=1)
    assert HallucinationConfig(hallucinators=1, contrast=0.0).hallucinators == 1
    parts = Hallucination(HallucinationConfig())
    with pytest.raises(BudgetError, match="no base") as caught:
        parts.shown(Budget(100, CLASSES, SHAPE))
    assert "720" in str(caught.value.hint)
    with pytest.raises(BudgetError, match="3 x 3"):
        parts.shown(Budget(10_000, CLASSES, (3, 2, 40)))
