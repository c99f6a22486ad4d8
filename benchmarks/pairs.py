"""Ours and a yardstick of the same work: the same pictures, weights, settings and draws, ready to be run in turns.

Settings come out of fredbench's own recipes (preset `paper`), so that ours is whatever the product does by default.
Pictures are random and experts are initialisations: neither time nor memory depends on what pictures show.
"""

from __future__ import annotations

import contextlib
import functools
import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.subjects import Setting
from benchmarks.yardsticks import distribution, gradients, haba, idc, regression, students, trajectory
from benchmarks.yardsticks.networks import Draws, Embedded, convnet, drawn, frepo_net
from benchmarks.yardsticks.pictures import Frequencies, Pixels, Real
from fredbench import networks
from fredbench.datasets import Dataset, Split
from fredbench.evaluation.students import predictions_on
from fredbench.foundation.rng import Stream
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.runs.spec import Spec
from fredbench.training.batches import TensorPictures
from fredbench.training.experts import UntrainedExperts
from fredbench.training.loop import network_optimiser, train_epoch
from fredbench.training.preprocessing import Preprocessing

Work = Callable[[], Any]


def pictures_of(setting: Setting) -> Dataset:
    """Random pictures, under a name whose recipes are found."""
    generator = np.random.default_rng(0)

    def split(count: int) -> Split:
        size = (count, setting.side, setting.side, 3)
        return Split(generator.integers(0, 256, size, dtype=np.uint8), np.arange(count) % setting.classes)

    names = [f"class {label}" for label in range(setting.classes)]
    return Dataset.from_splits(setting.dataset, split(setting.held * setting.classes), split(setting.classes), names)


class Pair(ABC):
    """Two ways to do a piece of work. Both must be made before either is run; each call goes on from the last.

    `per`: how many units, such as steps, a call is.
    """

    unit: ClassVar[str] = "iteration"

    def __init__(self, setting: Setting, threads: int) -> None:
        self.setting, self.threads, self.per = setting, threads, 1

    @abstractmethod
    def ours(self) -> Work:
        """What the product does."""

    @abstractmethod
    def plain(self) -> Work:
        """What the yardstick does."""

    @abstractmethod
    def compared(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What both have made so far, ours first: equal but for rounding."""

    # The run whose settings, and often whose start, both take.
    objective: str | None = None
    storage: str | None = None
    method: str | None = None

    def overrides(self) -> list[str]:
        """Settings in place of the recipe's."""
        given = {"parameterization.k": self.setting.k if self.storage == "fred" else 0, **self.reduced()}
        given |= dict.fromkeys(("run.arithmetic", "student.arithmetic"), self.setting.arithmetic)
        return [f"{name}={value}" for name, value in given.items() if value]

    def reduced(self) -> dict[str, Any]:
        """Settings of the objective in place of the recipe's; those that are 0 are left to it."""
        return {"objective.batch_real": self.setting.real}

    @functools.cached_property
    def data(self) -> Dataset:
        return pictures_of(self.setting)

    @functools.cached_property
    def spec(self) -> Spec:
        """The run as the recipes have it."""
        request = Request(
            ipc=self.setting.ipc,
            method=self.method,
            objective=self.objective,
            parameterization=self.storage,
            preset="paper",
            network=self.setting.network or None,
            overrides=self.overrides(),
        )
        return resolve(request, self.data, device="cpu", threads=self.threads)


class Students(Pair):
    """An epoch of students: `TensorPictures` under the recipe of a DM set, beside the literature's loop."""

    unit = "epoch"
    objective, storage = "dm", "pixels"

    def reduced(self) -> dict[str, Any]:
        return {}

    @functools.cached_property
    def _start(self) -> tuple[list[networks.Network], Tensor, Tensor]:
        setting, generator = self.setting, torch.Generator().manual_seed(0)
        made = [
            networks.build(
                self.spec.student_network,
                channels=3,
                classes=setting.classes,
                size=(setting.side, setting.side),
                rng=Stream(0).child("student", number),
            )
            for number in range(setting.students)
        ]
        images = torch.randn(setting.pictures, 3, setting.side, setting.side, generator=generator)
        return made, images, torch.arange(setting.pictures) % setting.classes

    def ours(self) -> Work:
        made, images, labels = self._start
        recipe, shown = self.spec.student, TensorPictures(images, labels)
        pairs = [(network, network_optimiser(network, recipe)) for network in made]
        count = _Count()

        def epoch() -> None:
            stream = Stream(0).child("epoch", count.next())
            for network, optimiser in pairs:
                train_epoch(network, shown, recipe, optimiser, stream)

        return epoch

    def plain(self) -> Work:
        made, images, labels = self._start
        recipe = self.spec.student
        self._plain = [_stock_convnet(network, self.setting) for network in made]
        rates = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        pairs = [(network, torch.optim.SGD(network.parameters(), **rates)) for network in self._plain]
        count = _Count()

        def epoch() -> None:
            stream = Stream(0).child("epoch", count.next())
            for network, optimiser in pairs:
                students.epoch(network, optimiser, images, labels, stream.torch(), batch=recipe.batch_size)

        return epoch

    def compared(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            f"weights of student {number}": (trajectory.flat(ours), trajectory.flat(plain))
            for number, (ours, plain) in enumerate(zip(self._start[0], self._plain, strict=True))
        }


class Scoring(Pair):
    """Predictions on the uint8 pictures of a domain: outcomes as tables take them, beside classes alone."""

    unit = "domain"
    objective, storage = "dm", "pixels"

    def reduced(self) -> dict[str, Any]:
        return {}

    @functools.cached_property
    def _start(self) -> tuple[networks.Network, np.ndarray, np.ndarray]:
        setting = self.setting
        size = (setting.side, setting.side)
        network = networks.build(
            self.spec.student_network, channels=3, classes=setting.classes, size=size, rng=Stream(0).child("student")
        )
        network.arithmetic = self.spec.student.arithmetic
        generator = np.random.default_rng(1)
        pictures = generator.integers(0, 256, (setting.pictures, *size, 3), dtype=np.uint8)
        return network, pictures, np.arange(setting.pictures) % setting.classes

    def ours(self) -> Work:
        network, pictures, labels = self._start
        prepare = Preprocessing(self.data.mean, self.data.std)

        def score() -> None:
            self._ours = predictions_on(network, [pictures], labels, prepare=prepare).predicted[0].long()

        return score

    def plain(self) -> Work:
        network, pictures, _ = self._start
        stock = _stock_convnet(network, self.setting)

        def score() -> None:
            self._plain = students.score(stock, pictures, self.data.mean, self.data.std)

        return score

    def compared(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"classes": (self._ours, self._plain)}


class Distilled(Pair):
    """An iteration of a run: `Distillation.step`, beside a published loop from the same start."""

    @functools.cached_property
    def run(self) -> Distillation:
        experts = expert_spec(self.spec, self.data)
        return Distillation(self.spec, self.data, torch.device("cpu"), lambda _: UntrainedExperts(experts))

    @property
    def settings(self) -> dict[str, Any]:
        """The objective's, as they came out."""
        return dict(self.spec.objective_settings)

    def ours(self) -> Work:
        run = self.run

        def step() -> Any:
            self._losses[0] = torch.as_tensor(run.step()["loss"])

        return step

    @functools.cached_property
    def _losses(self) -> list[Tensor]:
        return [torch.zeros(()), torch.zeros(())]

    def plain(self) -> Work:
        iterate, count = self.published(), _Count()

        def step() -> None:
            self._losses[1] = iterate(count.next())

        return step

    @abstractmethod
    def published(self) -> Callable[[int], Tensor]:
        """The yardstick's iteration by its number, from the run's start; gives its loss."""

    @abstractmethod
    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What both have learned."""

    def compared(self) -> dict[str, tuple[Tensor, Tensor]]:
        losses = (self._losses[0].double(), self._losses[1].double())
        return {"loss": losses, **{name: (a.detach(), b.detach()) for name, (a, b) in self.learned().items()}}

    def draws(self, iteration: int) -> Draws:
        """The generators that ours draws from in an iteration, by their names."""
        stream = Stream(self.spec.seed).child("objective", "iteration", iteration)
        return lambda *names: stream.child(*names).torch()

    def real(self) -> Real:
        real = self.run.real
        return Real(real.images(torch.arange(len(real))), real.labels, real.classes)

    def stored(self) -> Frequencies | Pixels:
        """The run's storage as the published code holds it."""
        state = self.run.state
        if "coefficients" in state.learned:
            kept = state.learned["coefficients"].detach()
            return Frequencies.of(kept, state.fixed["positions"], self.setting.side)
        return Pixels(_pictures(state.learned).detach(), self.setting.classes)

    def as_ours(self, stored: Frequencies | Pixels) -> Tensor:
        """What the published code learned, in ours' form."""
        state, found = self.run.state, stored.learned.detach()
        if "coefficients" not in state.learned:
            return found.view_as(_only(state.learned))
        kept, positions = state.learned["coefficients"], state.fixed["positions"]
        found = found.view(*kept.shape[:3], -1)
        return found.gather(3, positions[:, None, None, :].expand_as(kept))

    def build(self) -> Callable[[], Embedded]:
        """Makes the run's network of stock layers."""
        return _stock(self.spec.network, self.setting)

    def sgd(self, *tensors: Tensor) -> torch.optim.Optimizer:
        """SGD as the storage asks for."""
        settings = self.spec.parameterization_settings
        return torch.optim.SGD(tensors, lr=settings["lr"], momentum=settings["momentum"])


class Matching(Distilled):
    """DM and DC: freshly drawn networks, class after class."""

    def __init__(self, setting: Setting, threads: int, *, objective: str, storage: str) -> None:
        super().__init__(setting, threads)
        self.objective, self.storage = objective, storage

    def published(self) -> Callable[[int], Tensor]:
        stored, real, build = self.stored(), self.real(), self.build()
        loop = {"dm": distribution.iteration, "dc": gradients.iteration}[str(self.objective)]
        optimiser, batch, self._stored = self.sgd(stored.learned), self.settings["batch_real"], stored
        if self.settings.get("rounds", 1) != 1:
            raise SystemExit("the yardstick of DC has one round, that of IPC 1 and 2: give --ipc 1 or 2")
        return lambda i: loop(stored, optimiser, real, build, self.draws(i), batch=batch)

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"learned": (_only(self.run.state.learned), self.as_ours(self._stored))}


class Trajectories(Distilled):
    """TM: a few steps of an iteration; seconds are of a step."""

    unit = "step"
    objective, storage = "tm", "fred"

    def __init__(self, setting: Setting, threads: int) -> None:
        super().__init__(setting, threads)
        self.per = self.settings["steps"]

    def reduced(self) -> dict[str, Any]:
        # One expert, read at its start: which one is read makes no difference in time.
        return {"objective.steps": self.setting.steps, "objective.experts": 1, "objective.start_epochs": 1}

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Weights to start from and to arrive at."""
        experts = UntrainedExperts(expert_spec(self.spec, self.data))
        return experts.weights(0, 0), experts.weights(0, self.settings["expert_epochs"])

    def _rate(self) -> tuple[Tensor, torch.optim.Optimizer]:
        settings = self.settings
        self._alpha = torch.tensor(settings["step_size"]).requires_grad_()
        return self._alpha, torch.optim.SGD(
            [self._alpha], lr=settings["step_size_lr"], momentum=settings["step_size_momentum"]
        )

    def published(self) -> Callable[[int], Tensor]:
        stored, network, (start, target) = self.stored(), trajectory.Flat(self.build()()), self._ends()
        rate, rate_optimiser = self._rate()
        optimisers, self._stored = [self.sgd(stored.learned), rate_optimiser], stored
        labels, steps = self.run.state.labels, self.settings["steps"]

        def iterate(i: int) -> Tensor:
            pictures, generator = stored(), self.draws(i)("steps")
            found = trajectory.loss(network, start, target, rate, steps, lambda _: pictures, labels, generator)
            trajectory.step(found, optimisers, rate, self.settings["min_step_size"])
            return found.detach()

        return iterate

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        rates = torch.tensor(self.run.objective.step_size()), self._alpha
        return {"learned": (_only(self.run.state.learned), self.as_ours(self._stored)), "step size": rates}


class Factorised(Trajectories):
    """HaBa: trajectory matching through hallucinators, and its extractor; seconds are of a whole iteration."""

    unit = "iteration"
    objective, storage, method = None, None, "haba"

    def __init__(self, setting: Setting, threads: int) -> None:
        super().__init__(setting, threads)
        self.per = 1

    def reduced(self) -> dict[str, Any]:
        width = networks.ConvNetConfig.parse(self.setting.network or "convnet", (self.setting.side,) * 2).width
        return {
            **super().reduced(), "data.whitening": "none", "parameterization.extractor_width": width,
        }  # fmt: skip

    def published(self) -> Callable[[int], Tensor]:
        settings = self.spec.parameterization_settings
        factors = self._factors()
        network, (start, target) = trajectory.Flat(self.build()()), self._ends()
        rate, rate_optimiser = self._rate()
        optimisers = [
            torch.optim.SGD([factors.bases], settings["lr"], settings["momentum"]),
            torch.optim.SGD(factors.hallucinators.parameters(), settings["lr_hallucinators"], settings["momentum"]),
            rate_optimiser,
        ]
        extractor = _stock(f"convnet-w{settings['extractor_width']}", self.setting)()
        kept = self.run.auxiliary.to_tensors().items()
        extractor.load_state_dict({k.removeprefix("weights/"): v for k, v in kept if k.startswith("weights/")})
        learner = torch.optim.SGD(extractor.parameters(), settings["extractor_lr"], settings["extractor_momentum"])
        self._made = factors, extractor

        def iterate(i: int) -> Tensor:
            generator, beside = self.draws(i)("steps"), Stream(self.spec.seed).child("auxiliary", i, 0)
            steps = self.settings["steps"]
            found = trajectory.loss(network, start, target, rate, steps, factors.shown, factors.labels, generator)
            extractor.requires_grad_(False)
            whole = found + settings["contrast"] * haba.likeness(extractor, factors, beside.torch())
            trajectory.step(whole, optimisers, rate, self.settings["min_step_size"])
            extractor.requires_grad_(True)
            haba.extractor_step(
                extractor,
                learner,
                factors,
                beside.child("extractor").torch(),
                apart=settings["extractor_contrast"],
                grouped=settings["extractor_supervised"],
                temperature=settings["temperature"],
            )
            return found.detach()

        return iterate

    def _factors(self) -> haba.Factors:
        learned = {name: tensor.detach() for name, tensor in self.run.state.learned.items()}
        bases = learned["bases"].flatten(0, 1)
        labels = torch.arange(self.setting.classes).repeat_interleave(learned["bases"].shape[1])
        factors = haba.Factors(bases, labels, len(learned["scale"]))
        for number, each in enumerate(factors.hallucinators):
            each.load_state_dict({_HALLUCINATOR[name]: learned[name][number] for name in _HALLUCINATOR})
        return factors

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        learned, (factors, extractor) = self.run.state.learned, self._made
        kept = self.run.auxiliary.to_tensors()
        pairs = {"bases": (learned["bases"], factors.bases.view_as(learned["bases"]))}
        for name, theirs in _HALLUCINATOR.items():
            rows = [each.get_parameter(theirs) for each in factors.hallucinators]
            pairs[name] = (learned[name], torch.stack(rows))
        for name, tensor in extractor.state_dict().items():
            pairs[f"extractor {name}"] = (kept[f"weights/{name}"], tensor)
        return pairs


_HALLUCINATOR = {
    "encoder_weight": "encoder.weight",
    "encoder_bias": "encoder.bias",
    "scale": "scale",
    "shift": "shift",
    "decoder_weight": "decoder.weight",
    "decoder_bias": "decoder.bias",
}


class Canvases(Distilled):
    """IDC: a pass over the classes, and the training of its network."""

    method = "idc"

    def reduced(self) -> dict[str, Any]:
        return {**super().reduced(), "objective.train_pictures": self.setting.trained}

    def published(self) -> Callable[[int], Tensor]:
        run, settings, real, build = self.run, self.settings, self.real(), self.build()
        factor = self.spec.parameterization_settings["factor"]
        stored = idc.Canvases(run.state.learned["canvases"].detach(), factor, run.real.mean, run.real.std)
        optimiser, self._stored = self.sgd(stored.learned), stored

        def iterate(i: int) -> Tensor:
            draws = self.draws(i)
            if i % settings["renew"] == 0:
                self._network = drawn(build, draws("network"))
                self._trainer = torch.optim.SGD(
                    self._network.parameters(),
                    lr=settings["lr_net"],
                    momentum=settings["momentum"],
                    weight_decay=settings["weight_decay"],
                )
            return idc.iteration(
                stored,
                optimiser,
                self._network,
                self._trainer,
                real,
                draws,
                batch=settings["batch_real"],
                pictures=settings["train_pictures"],
                chunk=settings["train_batch"],
                probability=settings["cutmix"],
            )

        return iterate

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        kept = self.run.objective.to_tensors()
        pairs = {"canvases": (self.run.state.learned["canvases"], self._stored.learned)}
        for name, tensor in self._network.state_dict().items():
            pairs[f"network {name}"] = (kept[f"network.{name}"], tensor)
        return pairs


class Regression(Distilled):
    """FRePo: a network of the pool regresses, and is trained."""

    method = "frepo"

    def reduced(self) -> dict[str, Any]:
        return {**super().reduced(), "data.whitening": "none"}

    def published(self) -> Callable[[int], Tensor]:
        run, settings, real, build = self.run, self.settings, self.real(), self.build()
        labels = torch.nn.Parameter(run.state.learned["labels"].detach().clone())
        stored = Pixels(_pictures(run.state.learned).detach(), self.setting.classes)
        rates = {self.spec.parameterization_settings["lr"], self.spec.label_settings["lr"]}
        optimiser = regression.Lamb([stored.learned, labels], lr=_only(dict(enumerate(rates))))
        kept, self._pool = run.objective.to_tensors(), list[regression.Member]()
        for number in range(settings["pool"]):
            network, prefix = build(), f"{number}/weights/"
            network.load_state_dict({k.removeprefix(prefix): v for k, v in kept.items() if k.startswith(prefix)})
            adam = torch.optim.Adam(network.parameters(), lr=settings["lr_network"])
            self._pool.append(regression.Member(network, adam, int(kept[f"{number}/age"])))
        self._learned = stored.learned, labels

        def iterate(i: int) -> Tensor:
            return regression.frepo_iteration(
                stored.learned,
                labels,
                optimiser,
                real,
                self._pool,
                build,
                self.draws(i),
                targets=settings["batch_real"],
                oldest=settings["max_age"],
                flip=settings["flip"],
            )

        return iterate

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        mine, (pictures, labels) = self.run.state.learned, self._learned
        kept = self.run.objective.to_tensors()
        pairs = {
            "pictures": (_pictures(mine), pictures.view_as(_pictures(mine))),
            "labels": (mine["labels"], labels),
        }
        for number, member in enumerate(self._pool):
            for name, tensor in member.network.state_dict().items():
                pairs[f"network {number} {name}"] = (kept[f"{number}/weights/{name}"], tensor)
        return pairs


class Kernels(Distilled):
    """KIP: regression on the kernel that its recipe names, a dense one."""

    method = "kip"

    def reduced(self) -> dict[str, Any]:
        return {**super().reduced(), "data.whitening": "none"}

    def published(self) -> Callable[[int], Tensor]:
        settings, real = self.settings, self.real()
        if settings["kernel"] != "fc1" or settings["precision"] != "float64" or self.spec.label_settings["learned"]:
            raise SystemExit(f"the yardstick of KIP has kernel fc1 in float64 and fixed labels, not {settings}")
        stored = Pixels(_pictures(self.run.state.learned).detach(), self.setting.classes)
        labels, self._stored = self.run.state.labels, stored
        optimiser = torch.optim.Adam([stored.learned], lr=self.spec.parameterization_settings["lr"])
        return lambda i: regression.kip_iteration(
            stored.learned, labels, optimiser, real, self.draws(i), settings["batch_real"]
        )

    def learned(self) -> dict[str, tuple[Tensor, Tensor]]:
        mine = _pictures(self.run.state.learned)
        return {"pictures": (mine, self._stored.learned.view_as(mine))}


class Corruptions(Pair):
    """The 15 corruptions at the size of ImageNet's, by ours and by the package `imagecorruptions`.

    Measured by `benchmarks/corruptions.py`, which has both: a call of either is not needed but for memory.
    """

    unit = "picture"

    def ours(self) -> Work:
        from benchmarks.corruptions import SEVERITY, photographs
        from fredbench.corruptions import NAMES, corrupt

        pictures = photographs(self.setting.side, self.setting.pictures)

        def all_of_them() -> None:
            for name in NAMES:
                corrupt(pictures, name, SEVERITY, profile="imagenet")

        return all_of_them

    def plain(self) -> Work:
        import imagecorruptions

        from benchmarks.corruptions import SEVERITY, photographs
        from fredbench.corruptions import NAMES

        picture = photographs(self.setting.side, 1)[0]

        def all_of_them() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                for name in NAMES:
                    imagecorruptions.corrupt(picture, SEVERITY, name)

        return all_of_them

    def compared(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Nothing: the package draws from a generator of its own; golden files hold ours to it."""
        return {}

    def round(self) -> dict[str, tuple[float, float]]:
        """Processor seconds a picture of each corruption, ours and the package's."""
        from benchmarks.corruptions import compare, photographs
        from fredbench.corruptions import NAMES

        pictures = photographs(self.setting.side, self.setting.pictures)
        found = {name: compare(name, pictures, "imagenet", 2, 1) for name in NAMES}
        return {name: (ours / 1e3, package / 1e3) for name, (ours, package) in found.items()}


class _Count:
    """0, 1, 2, ..."""

    def __init__(self) -> None:
        self._next = -1

    def next(self) -> int:
        self._next += 1
        return self._next


def _only(values: dict[Any, Any]) -> Any:
    (value,) = values.values()
    return value


def _pictures(learned: dict[str, Tensor]) -> Tensor:
    return _only({name: tensor for name, tensor in learned.items() if name != "labels"})


def _stock(name: str, setting: Setting) -> Callable[[], Embedded]:
    """Makes the network of that name, of stock layers."""
    size = (setting.side, setting.side)
    if name.startswith("frepo"):
        depth, width = (int(part[1:]) for part in name.split("-")[1:3])
        return functools.partial(frepo_net, depth, width, setting.side, setting.classes)
    config = networks.ConvNetConfig.parse(name, size)
    if (config.norm, config.activation, config.pooling) != ("in", "relu", "avg"):
        raise SystemExit(f"there is no yardstick of network {name}: only of ConvNets with instance norm")
    return functools.partial(convnet, config.depth, config.width, setting.side, setting.classes)


def _stock_convnet(network: networks.Network, setting: Setting) -> Embedded:
    """`network`, of stock layers, with its weights."""
    made = _stock(network.name, setting)()
    made.load_state_dict(network.state_dict())
    return made
