"""HaBa's contrastive terms: renderings of one base are pushed apart in the eyes of a network that holds against it.

Liu et al., "Dataset Distillation via Factorization" (NeurIPS 2022), section 3.3, and its public code. e_0 and e_1 are
the embeddings of the same bases under two hallucinators. The synthetic set minimises mean (cos(e_0, e_1) + 1) / 2. The
extractor, trained alongside, minimises the cross-entropy of both renderings, mean (1 - cos(e_0, e_1)) / 2 and the
supervised contrastive loss (Khosla et al., NeurIPS 2020): to it, renderings of one base are to be one thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench import networks
from fredbench.foundation.config import late
from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Auxiliary
from fredbench.training import augmentation
from fredbench.training.loop import cross_entropy, descend
from fredbench.training.optimisation import Optimisers, ParameterGroup

__all__ = [
    "Contrast",
    "ContrastConfig",
    "club_cosine",
    "extractor_name",
    "likelihood_cosine",
    "supervised_contrastive",
]


@dataclass(frozen=True)
class ContrastConfig:
    """contrast: weight of the set's own term, 0 for none (and no extractor). contrast_batch: bases a step, 0 for all.

    contrast_augmentation: a DSA strategy under which the extractor sees renderings, drawn for each of them, or `none`.
    contrast_fresh: whether the extractor's step has a batch and a pair of hallucinators of its own, or the set's.
    extractor_width, extractor_lr, extractor_momentum: the ConvNet and its SGD. extractor_contrast,
    extractor_supervised, temperature: weights of its two terms beside the cross-entropy, and the latter's τ.
    """

    contrast: float = 0.1
    contrast_batch: int = 256
    extractor_width: int = 128
    extractor_lr: float = 0.001
    extractor_momentum: float = 0.9
    extractor_contrast: float = 0.1
    extractor_supervised: float = 0.1
    temperature: float = 0.07
    contrast_augmentation: str = late("none")
    contrast_fresh: bool = late(False)

    def __post_init__(self) -> None:
        weights = (self.contrast, self.extractor_contrast, self.extractor_supervised)
        if not all(0 <= weight < math.inf for weight in weights) or not 0 < self.temperature < math.inf:
            raise UsageError(
                f"contrastive terms of weights {weights} at temperature {self.temperature} cannot be minimised",
                hint="the weights are 0 or more, the temperature is positive",
            )
        if self.contrast_batch < 0 or self.extractor_width < 1:
            raise UsageError(
                f"an extractor of width {self.extractor_width} cannot see {self.contrast_batch} bases a step",
                hint="set parameterization.extractor_width to 1 or more, contrast_batch to 0 (all) or more",
            )
        augmentation.parse_strategy(self.contrast_augmentation)
        ParameterGroup("extractor", (), self.extractor_lr, self.extractor_momentum)


def club_cosine(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """mean (cos + 1) / 2 over pairs of rows: 1 where they agree, 0 where they are opposite."""
    return (F.cosine_similarity(first, second) + 1).mean() / 2


def likelihood_cosine(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """mean (1 - cos) / 2 over pairs of rows."""
    return (1 - F.cosine_similarity(first, second)).mean() / 2


def supervised_contrastive(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], temperature: float
) -> Float[Tensor, ""]:
    """The supervised contrastive loss of the 2n rows z = [first / |first|; second / |second|].

    Mean over all anchors i of -(1 / |P(i)|) sum_{p in P(i)} (z_i z_p / τ - log sum_{a != i} exp(z_i z_a / τ)), where
    P(i) are the other rows of the same label: never empty, since the other rendering is one.
    """
    rows, truth = F.normalize(torch.cat([first, second])), torch.cat([labels, labels])
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarity = (rows @ rows.T / temperature).masked_fill(itself, -math.inf)
    positive = (truth[:, None] == truth) & ~itself
    # An anchor's similarity to itself is -inf in the sum of exponentials and must not meet a factor 0 afterwards.
    log_share = (similarity - similarity.logsumexp(1, keepdim=True)).masked_fill(~positive, 0)
    return -(log_share.sum(1) / positive.sum(1)).mean()


def extractor_name(size: tuple[int, int], width: int) -> str:
    """The usual ConvNet of pictures of `size`: 2048 numbers at width 128, as published for 32 px."""
    return f"convnet-d{networks.default_depth(size)}-w{width}-in"


class Contrast(Auxiliary):
    """Owns the extractor and its momentum. An update has one pair of hallucinators and one batch of bases; or two, the
    extractor's step its own.
    """

    def __init__(
        self,
        config: ContrastConfig,
        render: Callable[[Int64[Tensor, " n"]], Float[Tensor, "n c h w"]],
        rows: Int64[Tensor, "m k"],
        labels: Int64[Tensor, " m"],
        *,
        classes: int,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        rng: Stream,
    ) -> None:
        """`render` gives the pictures at positions, differentiably; `rows`, on the CPU, holds those of one base,
        `labels` its class, on the device of the pictures.

        The extractor's weights are drawn from `rng`.
        """
        self._config, self._render, self._rows, self._labels = config, render, rows, labels
        channels, height, width = shape
        name = extractor_name((height, width), config.extractor_width)
        network = networks.build(name, channels=channels, classes=classes, size=(height, width), rng=rng)
        self._network = network.to(labels.device, dtype).train()
        weights = tuple(self._network.parameters())
        group = ParameterGroup("extractor", weights, config.extractor_lr, config.extractor_momentum)
        self._optimiser = Optimisers([group])

    def loss(self, rng: Stream) -> Tensor:
        """The weighted similarity of two renderings of the same bases; the extractor is a constant."""
        self._network.requires_grad_(False)
        pictures, _ = self._pair(rng)
        return self._config.contrast * club_cosine(*self._network.embed(pictures).chunk(2))

    def step(self, rng: Stream) -> dict[str, Tensor]:
        """One step of the extractor on the same pair, as it now is, or on another; logs the similarity before it."""
        config, network = self._config, self._network.requires_grad_(True)
        if config.contrast_fresh:
            rng = rng.child("extractor")
        with torch.no_grad():
            pictures, labels = self._pair(rng)
        embedding = network.embed(pictures)
        first, second = embedding.chunk(2)
        own = cross_entropy(network.head(embedding), torch.cat([labels, labels]))
        apart = likelihood_cosine(first, second)
        grouped = supervised_contrastive(first, second, labels, config.temperature)
        descend(self._optimiser, own + config.extractor_contrast * apart + config.extractor_supervised * grouped)
        return {"similarity": 1 - apart.detach(), "extractor": own.detach()}

    def _pair(self, rng: Stream) -> tuple[Float[Tensor, "n2 c h w"], Int64[Tensor, " n"]]:
        """A batch of bases by one hallucinator and then by another, augmented, and the bases' labels.

        Equal for equal `rng`.
        """
        generator, (count, kinds) = rng.torch(), self._rows.shape
        one, other = torch.randperm(kinds, generator=generator)[:2].tolist()
        rows, labels = self._rows, self._labels
        if 0 < self._config.contrast_batch < count:
            chosen = torch.randperm(count, generator=generator)[: self._config.contrast_batch]
            rows, labels = rows[chosen], labels[sent(chosen, labels.device)]
        pictures = self._render(torch.cat([rows[:, one], rows[:, other]]))
        height, width = pictures.shape[2:]
        strategy = augmentation.parse_strategy(self._config.contrast_augmentation)
        draw = augmentation.sample(strategy, len(pictures), (height, width), generator, siamese=False)
        return augmentation.apply(draw, pictures), labels

    def to_tensors(self) -> dict[str, Tensor]:
        """The extractor's weights and their momentum."""
        weights = {f"weights/{name}": tensor for name, tensor in self._network.state_dict().items()}
        return weights | {f"optimiser/{name}": tensor for name, tensor in self._optimiser.to_tensors().items()}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes the extractor up where it was; a foreign tensor is a `ValueError`, a missing one a `RuntimeError`."""
        sections: dict[str, dict[str, Tensor]] = {"weights": {}, "optimiser": {}}
        for key, tensor in tensors.items():
            section, slash, name = key.partition("/")
            if not slash or section not in sections:
                raise ValueError(f"the contrastive terms keep an extractor and its momentum, not {key!r}")
            sections[section][name] = tensor
        self._network.load_state_dict(sections["weights"])
        self._optimiser.from_tensors(sections["optimiser"])
