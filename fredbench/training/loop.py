"""THE network-training loop: students, experts, herding features and the inner loops of objectives.

The default recipe is the literature's evaluation protocol (DC, DSA, DM, MTT, FreD; reference: their public
`evaluate_synset`): SGD with momentum .9 and weight decay 5e-4, batches of 256, E + 1 epochs, the rate times .1 once
after epoch index E // 2 + 1, where the optimiser is made anew and so loses its momentum.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from fredbench.foundation.config import late
from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError
from fredbench.foundation.parallel import in_rounds
from fredbench.foundation.rng import Stream
from fredbench.networks import fused, mixes_pictures
from fredbench.networks.base import Network
from fredbench.networks.kernels.empirical import maximum_stable_rate
from fredbench.networks.kernels.ridge import centred_one_hot, half_squared_error
from fredbench.networks.names import Arithmetic
from fredbench.training.augmentation import CONSTANTS
from fredbench.training.batches import Pictures, Standardisation, standardised
from fredbench.training.cutmix import mixed_loss, paste, sample_mix
from fredbench.training.optimisation import Optimisers, cosine
from fredbench.training.stages import apply_stages, parse_stages, sample_stages

__all__ = [
    "LOSSES",
    "PREDICTED_AT_ONCE",
    "TrainingRecipe",
    "cross_entropy",
    "descend",
    "network_optimiser",
    "predict",
    "squared_error",
    "train",
    "train_epoch",
]

OnEpoch = Callable[[int, torch.optim.Optimizer], None]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained; the defaults are §0.5 of the field's shared protocol.

    schedule: `drop` (E + 1 epochs, one drop by `drop_factor`, optimiser rebuilt), `constant` (E epochs), `steps`
    (E epochs, a drop at two thirds and at five sixths, same optimiser: IDC) or `cosine` (E epochs: `warmup` of them
    linearly from 0, the rest half a cosine down to `final` of the rate, batch by batch).
    augmentation: a DSA strategy string drawn independently for each picture, several stages joined by `+` (see
    `stages`), or `none`; `strength` names its constants. cutmix: the probability that a batch is mixed (see `cutmix`).
    lr_unit: `absolute`, or `stable`: `lr` times the largest rate that the network stands on its first 50 pictures.
    standardise: `batch`: every batch is standardised before augmentation, and so are those that the network is scored
    on (see `batches.standardised`; there in batches of PREDICTED_AT_ONCE), or `none`.
    arithmetic: how the network is run, in training and from then on (see `networks.names`).
    """

    epochs: int = 1000
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    schedule: Literal["drop", "constant", "steps", "cosine"] = "drop"
    drop_factor: float = 0.1
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    cutmix: float = 0.0
    loss: Literal["cross-entropy", "mse"] = late("cross-entropy")
    optimiser: Literal["sgd", "adam"] = late("sgd")
    warmup: int = late(0)
    final: float = late(0.0)
    strength: Literal["dsa", "frepo-code"] = late("dsa")
    lr_unit: Literal["absolute", "stable"] = late("absolute")
    standardise: Standardisation = late("none")
    arithmetic: Arithmetic = late("fused", absent="eager")

    @staticmethod
    def stored(values: Mapping[str, Any]) -> TrainingRecipe:
        """The recipe that `values` say, of an artefact; those that were written before there was a choice are eager."""
        return TrainingRecipe(**{"arithmetic": "eager", **values})

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1 or self.warmup < 0:
            raise UsageError(
                f"a recipe cannot warm up for {self.warmup} epochs and end at {self.final} of its rate",
                hint="warmup is 0 or more, final between 0 and 1",
            )
        rates = (self.lr, self.momentum, self.weight_decay, self.drop_factor)
        if self.epochs < 0 or self.batch_size < 1 or not self.lr > 0 or not all(0 <= r < math.inf for r in rates):
            raise UsageError(
                f"a recipe of {self.epochs} epochs, batches of {self.batch_size}, rate {self.lr}, momentum "
                f"{self.momentum}, weight decay {self.weight_decay}, drop by {self.drop_factor} cannot be run",
                hint="epochs and the last three must be 0 or more, the batch size at least 1, the rate positive",
            )
        if not 0 <= self.cutmix <= 1:
            raise UsageError(f"cutmix = {self.cutmix} is no probability", hint="give a number from 0 to 1")
        parse_stages(self.augmentation)

    def phases(self) -> list[tuple[float, int]]:
        """(learning rate, epochs) in order; under `drop` each phase has an optimiser of its own."""
        if self.schedule in {"constant", "cosine"}:
            return [(self.lr, self.epochs)]
        if self.schedule == "steps":
            ends = (0, 2 * self.epochs // 3, 5 * self.epochs // 6, self.epochs)
            return [(self.lr * self.drop_factor**n, b - a) for n, (a, b) in enumerate(itertools.pairwise(ends))]
        total = self.epochs + 1
        first = min(self.epochs // 2 + 2, total)
        return [(self.lr, first), (self.lr * self.drop_factor, total - first)] if first < total else [(self.lr, first)]

    def factor(self, epochs: float) -> float:
        """What the cosine schedule multiplies the rate by after `epochs` epochs, whole or not; 1 for the others."""
        if self.schedule != "cosine":
            return 1.0
        if epochs < self.warmup:
            return epochs / self.warmup
        return cosine((epochs - self.warmup) / (self.epochs - self.warmup), self.final)


def cross_entropy(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, ""]:
    """Mean cross-entropy against hard labels (int64, (n,)) or probabilities (float, (n, k))."""
    return F.cross_entropy(logits, labels)


def squared_error(outputs: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, ""]:
    """mean_n 1/2 || outputs - labels ||^2 against soft labels as they are, or hard ones as one-hot minus 1/k."""
    rows = labels if labels.is_floating_point() else centred_one_hot(labels, outputs.shape[1])
    return half_squared_error(outputs, rows.to(outputs.dtype))


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "mse": squared_error}
"""Losses of recipes by name: (outputs, labels) to a scalar."""


def _batches(count: int, size: int, generator: torch.Generator, *, single: bool) -> list[Tensor]:
    """Positions in random order, `size` at a time; unless `single`, a last one by itself joins those before it."""
    batches = list(torch.randperm(count, generator=generator).split(size))
    if not single and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _takes_single(network: nn.Module, pictures: Pictures, size: int) -> bool:
    """Whether `network` can be trained on a batch of one picture, asked only where batches of `size` leave one.

    Under batch norm over a map of one position it cannot: a variance of one number is none. The published loops have
    no rule for the picture that is left over (theirs end in an error), so here it joins the batch before it. Where the
    norm sees more positions, and in networks that do not mix pictures, it stays a batch of its own, as in those loops.
    Raises `UsageError` where there is no batch to join.
    """
    count = len(pictures)
    network.train()
    if count % size != 1 % size or not mixes_pictures(network) or not _norm_sees_one(network, pictures):
        return True
    if size == 1 or count == 1:
        name = getattr(network, "name", type(network).__name__)
        raise UsageError(
            f"network {name!r} has batch norm over maps of one position and cannot be trained on batches of one "
            f"picture ({count} pictures, batches of {size})",
            hint="use --set student.batch_size=2 or more and two pictures or more, or a network with another norm",
        )
    return False


@torch.no_grad()
def _norm_sees_one(network: nn.Module, pictures: Pictures) -> bool:
    """Whether some batch norm of `network` would take its statistics from one number; nothing is changed by asking."""
    found: list[bool] = []
    norms = [norm for norm in network.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_pre_hook(lambda _, given: found.append(_is_pair(given[0]))) for norm in norms]
    index = torch.zeros(2, dtype=torch.int64, device=pictures.device)
    images, _ = pictures.batch(index, Stream(0))
    try:
        # Two pictures in evaluation mode: statistics stay as they are, and every norm takes its input.
        network.eval()
        network(images)
    finally:
        network.train()
        for hook in hooks:
            hook.remove()
    return any(found)


def _is_pair(maps: Tensor) -> bool:
    return maps.numel() == 2 * maps.shape[1]


def train(
    network: nn.Module,
    pictures: Pictures,
    recipe: TrainingRecipe,
    rng: Stream,
    *,
    on_epoch: OnEpoch | None = None,
    loss: Loss | None = None,
    first_epoch: int = 0,
) -> None:
    """Train `network` in place on `pictures` after `recipe`; `loss` takes the place of the recipe's own.

    Epochs before `first_epoch` are taken as done; with momentum, what it had gathered there is lost.

    Every epoch draws from its own child stream of `rng` (order, augmentation, decoding), so that the result does
    not depend on what was drawn elsewhere. `on_epoch(epoch, optimiser)` is called before each epoch.
    """
    unit = 1.0 if recipe.lr_unit == "absolute" else _stable_rate(network, pictures, recipe, rng.child("rate"))
    epoch, optimiser = 0, network_optimiser(network, recipe)
    for rate, epochs in recipe.phases():
        if recipe.schedule == "drop" and epoch:
            optimiser = network_optimiser(network, recipe)
        for _ in range(epochs):
            if epoch >= first_epoch:
                _set_rate(optimiser, rate * unit * recipe.factor(float(epoch)))
                if on_epoch is not None:
                    on_epoch(epoch, optimiser)
                pace = None
                if recipe.schedule == "cosine":
                    pace = functools.partial(_follow, optimiser, recipe, rate * unit, epoch)
                train_epoch(network, pictures, recipe, optimiser, rng.child("epoch", epoch), loss=loss, pace=pace)
            epoch += 1


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for settings in optimiser.param_groups:
        settings["lr"] = rate


def _follow(optimiser: torch.optim.Optimizer, recipe: TrainingRecipe, rate: float, epoch: int, share: float) -> None:
    _set_rate(optimiser, rate * recipe.factor(epoch + share))


def network_optimiser(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser at its first rate."""
    if recipe.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _stable_rate(network: nn.Module, pictures: Pictures, recipe: TrainingRecipe, rng: Stream) -> float:
    index = torch.arange(min(_PROBED, len(pictures)), device=pictures.device)
    images, _ = pictures.batch(index, rng.child("pictures"))
    images = standardised(images, recipe.standardise)
    momentum = 0.0 if recipe.optimiser == "adam" else recipe.momentum
    return maximum_stable_rate(network, images, momentum=momentum, generator=rng.torch())


# KIP estimates the largest stable rate on this many inputs.
_PROBED = 50


def train_epoch(
    network: nn.Module,
    pictures: Pictures,
    recipe: TrainingRecipe,
    optimiser: torch.optim.Optimizer,
    rng: Stream,
    *,
    loss: Loss | None = None,
    pace: Callable[[float], None] | None = None,
) -> None:
    """One pass over `pictures` in random order; all draws come from `rng`, those of dropout and drop-path too.

    For who keeps a network and its optimiser from one pass to the next (IDC); `train` is a sequence of these.
    `pace` is called before every batch with the share of the pass that is done.
    """
    loss = loss or LOSSES[recipe.loss]
    if recipe.arithmetic == "eager" and isinstance(network, Network):
        network.arithmetic = "eager"
    stages, constants, generator = parse_stages(recipe.augmentation), CONSTANTS[recipe.strength], rng.torch()
    single = _takes_single(network, pictures, recipe.batch_size)
    batches = _batches(len(pictures), recipe.batch_size, generator, single=single)
    network.train()
    # Layers that draw know only torch's global generators: lent for the pass, no byte moves where nothing draws there.
    with rng.child("network").lent(pictures.device), fused.once(), _run_by(network, recipe.arithmetic):
        for number, index in enumerate(batches):
            if pace is not None:
                pace(number / len(batches))
            images, labels = pictures.batch(sent(index, pictures.device), rng.child("batch", number))
            images = standardised(images, recipe.standardise)
            height, width = images.shape[2:]
            draws = sample_stages(stages, len(images), (height, width), generator, siamese=False, constants=constants)
            images = apply_stages(draws, images, constants)
            mix = sample_mix(recipe.cutmix, len(images), (height, width), generator) if recipe.cutmix else None
            if mix is None:
                descend(optimiser, loss(network(images), labels))
            else:
                descend(optimiser, mixed_loss(mix, loss, network(paste(mix, images)), labels))


@contextlib.contextmanager
def _run_by(network: nn.Module, arithmetic: Arithmetic) -> Iterator[None]:
    """A network that nobody said an arithmetic of runs by the recipe's meanwhile, and is as it was afterwards."""
    if not isinstance(network, Network) or network.arithmetic is not None:
        yield
        return
    network.arithmetic = arithmetic
    try:
        yield
    finally:
        network.arithmetic = None


def descend(optimiser: torch.optim.Optimizer | Optimisers, loss: Float[Tensor, ""]) -> None:
    """One step down `loss`, the only way in which a network is trained; no gradient is left from before or after.

    For who has a loss of its own and keeps network and optimiser (FRePo's pool, HaBa's extractor).
    """
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    # Gradients are as large as the network: without them the next forward pass has the memory.
    optimiser.zero_grad()


PREDICTED_AT_ONCE = 128
"""Pictures of a batch where networks are scored: small, because on a CPU they stay in the cache; and HaBa's number."""


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Float[Tensor, "n c h w"] | UInt8[np.ndarray, "n h w c"] | Int64[Tensor, " n"],
    *,
    batch_size: int = PREDICTED_AT_ONCE,
    standardise: Standardisation = "none",
    prepare: Callable[[Any], Float[Tensor, "m c h w"]] | None = None,
) -> Float[Tensor, "n k"]:
    """Logits in evaluation mode, (n, k), a batch at a time, in their order.

    images: (n, c, h, w), or what `prepare` makes such of, slice by slice: grey levels, places. Of a network of fused
    blocks a batch is one thread's from there to what its head is given, and as many are made at once as there are
    threads. Standardised by the batch, a picture's logits depend on the pictures beside it: on order and batch size.
    """
    network.eval()

    def shown(first: int) -> Tensor:
        given: Any = images[first : first + batch_size]
        return standardised(given if prepare is None else prepare(given), standardise)

    places = range(0, max(1, len(images)), batch_size)
    if standardise == "none" and isinstance(network, Network) and fused.runs_anywhere(network):
        # Gradients are a thread's own to switch off.
        embedded = torch.no_grad()(lambda first: network.embed(shown(first)))
        floats = 4 * batch_size * network.signature.channels * math.prod(network.signature.size)
        # Heads in the calling thread, as of a batch alone: a product's last bits may be those of its number of threads.
        return torch.cat([network.head(features) for features in in_rounds(embedded, places, held=floats)])
    return torch.cat([network(shown(first)) for first in places])
