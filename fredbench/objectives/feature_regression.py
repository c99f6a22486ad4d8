"""FRePo, neural feature regression with pooling of models (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.networks.kernels.ridge import centred_one_hot, half_squared_error, ridge_prediction
from fredbench.objectives.base import Context, Objective, Synthetic, Update
from fredbench.objectives.kernel_regression import centred
from fredbench.training.loop import descend, squared_error
from fredbench.training.optimisation import Optimisers, ParameterGroup

__all__ = ["FRePo", "FRePoConfig", "feature_regression", "margin_loss", "mirrored"]

# Real pictures a forward pass, by device: as in distribution matching.
_CHUNK = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True)
class FRePoConfig:
    """pool: networks; max_age: updates after which one is drawn anew; batch_real: real targets a step.

    batch_network: pictures that a network trains on at a time; lr_network: its Adam rate; ridge: relative to
    tr(K_ss) / m; flip: mirrored pictures stand beside the pictures in the regression.
    """

    pool: int = 10
    max_age: int = 100
    batch_real: int = 1024
    batch_network: int = 1000
    lr_network: float = 3e-4
    ridge: float = 1e-6
    flip: bool = True

    def __post_init__(self) -> None:
        counts = (self.pool, self.batch_real, self.batch_network)
        if min(counts) < 1 or self.max_age < 0 or not self.lr_network > 0 or not self.ridge >= 0:
            raise UsageError(
                f"a pool of {self.pool} networks of age {self.max_age}, batches of {self.batch_real} and "
                f"{self.batch_network}, rate {self.lr_network} and ridge {self.ridge} cannot be run",
                hint="counts and rate must be positive, age and ridge 0 or more",
            )


def margin_loss(labels: Float[Tensor, "n classes"]) -> Float[Tensor, ""]:
    """mean over rows of -min(largest - second largest, 1/C): rewards a margin up to 1/C."""
    best = labels.topk(2, dim=1).values
    margin = best[:, 0] - best[:, 1]
    limit = torch.full_like(margin, 1 / labels.shape[1])
    return -torch.minimum(margin, limit).mean()


def mirrored(
    pictures: Float[Tensor, "n c h w"], labels: Float[Tensor, "n classes"]
) -> tuple[Float[Tensor, "m c h w"], Float[Tensor, "m classes"]]:
    """The pictures and then their mirror images, with the same labels."""
    return torch.cat([pictures, pictures.flip(3)]), torch.cat([labels, labels])


def feature_regression(
    target: Float[Tensor, "t d"], support: Float[Tensor, "m d"], labels: Float[Tensor, "m classes"], ridge: float
) -> Float[Tensor, "t classes"]:
    """Ridge regression on the conjugate kernel K(a, b) = <f(a), f(b)>."""
    return ridge_prediction(target @ support.T, support @ support.T, labels, ridge)


@dataclass
class _Member:
    """A network of the pool, its optimiser, and how many updates it counts."""

    network: Network
    optimiser: Optimisers
    age: int


class FRePo(Objective):
    """One step on the pictures with a random network of the pool, then one step of that network on the pictures."""

    name: ClassVar[str] = "frepo"
    Config: ClassVar[type[FRePoConfig]] = FRePoConfig
    config: FRePoConfig
    needs: ClassVar[frozenset[str]] = frozenset()
    label_forms: ClassVar[frozenset[str]] = frozenset({"hard", "centred"})
    learns_labels: ClassVar[Literal["never", "may", "must"]] = "may"

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Yes: embeddings of the whole network."""
        return True

    def prepare(self, context: Context) -> None:
        """Draws the pool. Ages are staggered so that the networks are not renewed together; as in the published
        code only the counters are, all networks start at their initialisation.
        """
        self._context = context
        spacing = self.config.max_age // self.config.pool
        self._pool = [
            self._member(context.network(context.rng.child("network", i)), i * spacing) for i in range(self.config.pool)
        ]

    def _member(self, network: Network, age: int) -> _Member:
        network.check_embedding()
        group = ParameterGroup("network", tuple(network.parameters()), self.config.lr_network, optimiser="adam")
        return _Member(network, Optimisers([group]), age)

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update on regression and margin loss; features of real pictures and the network are constants."""
        context = self._context
        rng = context.rng.child("iteration", iteration)
        number = int(torch.randint(self.config.pool, (), generator=rng.child("member").torch()))
        network = self._pool[number].network.eval().requires_grad_(False)
        features, wanted = self._targets(network, rng)
        pictures, given = synthetic.decode(rng=rng.child("decode"))
        labels = centred(given, context.real.classes)
        margin = margin_loss(labels)
        support = mirrored(pictures, labels) if self.config.flip else (pictures, labels)
        # The ridge is a millionth of the mean eigenvalue: the solution needs double precision, the features do not.
        prediction = feature_regression(
            features.double(), network.embed(support[0]).double(), support[1].double(), self.config.ridge
        )
        kernel = half_squared_error(prediction, wanted.double())
        right = (prediction.detach().argmax(1) == wanted.argmax(1)).double().mean()
        yield Update(kernel + margin, {"loss": kernel.detach(), "margin": margin.detach(), "accuracy": 100 * right})
        self._grow(number, synthetic, rng)

    @torch.no_grad()
    def _targets(self, network: Network, rng: Stream) -> tuple[Tensor, Tensor]:
        """Features (t, d) and centred labels of a uniform real batch."""
        real = self._context.real
        index = torch.randperm(len(real), generator=rng.child("real").torch())[: self.config.batch_real]
        parts = index.split(_CHUNK.get(real.device.type, 256))
        features = torch.cat([network.embed(real.images(part)) for part in parts])
        return features, centred_one_hot(real.labels_at(index), real.classes)

    def _grow(self, number: int, synthetic: Synthetic, rng: Stream) -> None:
        """Train the network one step on the pictures as they are now, or draw it anew when it is past its age."""
        member = self._pool[number]
        if member.age > self.config.max_age:
            self._context.reinitialise(member.network, rng.child("renewal"))
            self._pool[number] = self._member(member.network.requires_grad_(True), 0)
            return
        index = None
        if len(synthetic) > self.config.batch_network:
            order = torch.randperm(len(synthetic), generator=rng.child("prototypes").torch())
            index = order[: self.config.batch_network]
        with torch.no_grad():
            pictures, given = synthetic.decode(index, rng.child("training"))
        member.network.train().requires_grad_(True)
        descend(member.optimiser, squared_error(member.network(pictures), given))
        member.age += 1

    def to_tensors(self) -> dict[str, Tensor]:
        """Weights, running statistics, Adam's moments and the age of every network."""
        tensors = {}
        for number, member in enumerate(self._pool):
            tensors[f"{number}/age"] = torch.tensor(member.age)
            tensors |= {f"{number}/weights/{k}": v for k, v in member.network.state_dict().items()}
            tensors |= {f"{number}/optimiser/{k}": v for k, v in member.optimiser.to_tensors().items()}
        return tensors

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The pool as it was; a foreign tensor is a `ValueError`, a missing one a `KeyError`."""
        foreign = sorted(key for key in tensors if not key.partition("/")[0].isdigit())
        if foreign:
            raise ValueError(f"{self.name} keeps a pool of networks, not {foreign}")
        for number, member in enumerate(self._pool):
            sections: dict[str, dict[str, Tensor]] = {"weights": {}, "optimiser": {}}
            for key, tensor in tensors.items():
                owner, section, *name = key.split("/", 2)
                if owner == str(number) and name:
                    sections[section][name[0]] = tensor
            member.age = int(tensors[f"{number}/age"])
            member.network.load_state_dict(sections["weights"])
            self._pool[number] = self._member(member.network.requires_grad_(True), member.age)
            self._pool[number].optimiser.from_tensors(sections["optimiser"])
