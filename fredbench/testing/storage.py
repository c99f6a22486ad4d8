"""Checks of parameterizations: what is declared, drawn, decoded, optimised, stored and counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import safetensors.torch
import torch
from torch import Tensor

from fredbench.datasets import Dataset
from fredbench.foundation.errors import BudgetError, CheckFailedError, FredbenchError
from fredbench.foundation.rng import Stream
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS, State, StoredRole
from fredbench.parameterizations.budget import Budget
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import Distillation
from fredbench.testing.common import (
    NETWORK,
    GlobalGenerators,
    check_artefact,
    check_settings,
    demand,
    small_digits,
    within_budget,
)

__all__ = ["PARAMETERIZATION_CHECKS", "Subject", "check_parameterization"]

# Two pictures a class: a budget that leaves something over, and half of it, can be asked for as well.
_IPC = 2


@dataclasses.dataclass(frozen=True)
class Subject:
    """A parameterization to be checked: by name, on a dataset, with settings, at a budget."""

    name: str
    dataset: Dataset
    overrides: tuple[str, ...] = ()

    def begun(self, *, seed: int = 0, params: int | None = None) -> Distillation:
        """A run of no iterations, which is a parameterization at its start; no objective is made."""
        request = Request(
            ipc=_IPC if params is None else None, params=params, objective=_undemanding(),
            parameterization=self.name, preset="quick", seed=seed, iterations=0, network=NETWORK,
            overrides=self.overrides,
        )  # fmt: skip
        spec = resolve(request, self.dataset, device="cpu", threads=torch.get_num_threads())
        with within_budget(self.name):
            return Distillation(spec, self.dataset, torch.device("cpu"))

    @property
    def budget(self) -> Budget:
        """What is allowed."""
        shape = (self.dataset.channels, *self.dataset.size)
        return Budget.for_ipc(_IPC, len(self.dataset.classes), shape)


def _undemanding() -> str:
    """An objective that asks nothing of a parameterization, so that all can be resolved with it."""
    return next(name for name in OBJECTIVES if OBJECTIVES.get(name).needs <= {"experts"})


def check_declarations(stored: Subject) -> None:
    """Name, settings and offers are declared; settings survive a round trip and refuse what they do not know."""
    kind = PARAMETERIZATIONS.get(stored.name)
    check_settings(stored.name, kind)
    demand(
        isinstance(kind.offers, frozenset),
        f"{stored.name}.offers is no frozenset",
        "declare it, frozenset() for nothing",
    )


def check_initialisation(stored: Subject) -> None:
    """The start is within budget, finite and a function of its stream: equal streams give equal tensors.

    The cheaper start that `shortened` names has tensors of the same names, shapes and types, and the same labels.
    """
    generators = GlobalGenerators()
    first = stored.begun()
    generators.demand_untouched(
        f"init() of {stored.name}", "draw from the stream it is given: rng.torch(), rng.child(...)"
    )
    tensors = {**first.state.learned, **first.state.fixed}
    demand(bool(first.state.learned), f"{stored.name} learns nothing", "put what an optimiser moves into State.learned")
    finite = all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point())
    demand(finite, f"{stored.name} starts at numbers that are not finite", "look at init()")
    with torch.random.fork_rng(devices=[]):
        torch.rand(7)  # who reads the global generator gets other numbers now
        state = stored.begun().state
    again = {**state.learned, **state.fixed}
    same = tensors.keys() == again.keys() and all(torch.equal(tensors[name], again[name]) for name in tensors)
    demand(same, f"two equal starts of {stored.name} differ", "draw from the stream that init() is given alone")
    kind = PARAMETERIZATIONS.get(stored.name)
    shorter, _ = kind.shortened(first.parameterization.config)
    cheap = kind(shorter).init(first.real, stored.budget, Stream(0).child("init"))
    demand(
        _forms({**cheap.learned, **cheap.fixed}) == _forms(tensors)
        and torch.equal(cheap.labels, first.state.labels)
        and cheap.extra.keys() == first.state.extra.keys(),
        f"the cheaper start of {stored.name} has other tensors than the whole one",
        "shortened() changes how long a start takes, not what it is made of",
    )


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def check_decoding(stored: Subject) -> None:
    """Pictures (N, ch, H, W) float32 with class-ordered labels; a part decodes as it does within all."""
    run = stored.begun()
    parameterization, state = run.parameterization, run.state
    images, labels = parameterization.decode(state)
    count, classes = parameterization.instances(stored.budget), len(stored.dataset.classes)
    demand(
        tuple(images.shape) == (count * classes, *stored.budget.shape) and len(state) == len(labels) == len(images),
        f"{stored.name} decodes {tuple(images.shape)} with {len(labels)} labels for {count} instances of {classes} "
        "classes",
        "instances() is the number of decoded pictures a class",
    )
    demand(images.dtype == torch.float32, f"{stored.name} decodes {images.dtype}", "decode float32")
    demand(bool(images.isfinite().all()), f"{stored.name} decodes numbers that are not finite", "look at decode()")
    demand(
        labels.dtype == torch.int64 and labels.tolist() == [c for c in range(classes) for _ in range(count)],
        f"labels of {stored.name} are not 0, 0, .., 1, 1, .. in int64",
        "use class_ordered_labels(classes, instances); soft labels are put in their place by the loop",
    )
    generators = GlobalGenerators()
    one, other = (parameterization.decode(state, rng=Stream(3))[0] for _ in range(2))
    demand(
        torch.equal(one, other), f"{stored.name} decodes otherwise twice", "draw from the rng that decode() is given"
    )
    generators.demand_untouched(f"decode() of {stored.name}", "draw from the rng that it is given")
    index = torch.tensor([len(state) - 1, 0, min(3, len(state) - 1)])
    part, part_labels = parameterization.decode(state, index)
    demand(
        torch.allclose(part, images[index], atol=1e-5) and torch.equal(part_labels, labels[index]),
        f"{stored.name} decodes a part otherwise than within all",
        "decode(state, index) is decode(state) at index",
    )


def check_alternatives(stored: Subject) -> None:
    """Renderings of one thing, where there are some: every picture in one row, rows of one label, in class order."""
    run = stored.begun()
    rows, shown = run.parameterization.alternatives(run.state), run.parameterization.shown(stored.budget)
    classes = len(stored.dataset.classes)
    if rows is None:
        demand(
            shown == run.parameterization.instances(stored.budget),
            f"a student of {stored.name} sees {shown} pictures a class, without alternatives",
            "leave shown() alone, or say in alternatives() which pictures stand for one another",
        )
        return
    demand(
        sorted(rows.flatten().tolist()) == list(range(len(run.state))) and len(rows) == shown * classes,
        f"alternatives() of {stored.name}, {tuple(rows.shape)}, are not every picture once in {shown} rows a class",
        "give the position of every decoded picture once, and as many rows as shown() says",
    )
    labels = run.parameterization.decode(run.state)[1][rows]
    demand(
        labels.tolist() == [[c] * rows.shape[1] for c in range(classes) for _ in range(shown)],
        f"rows of alternatives() of {stored.name} mix labels",
        "one row holds the renderings of one thing; rows stand in class order",
    )


def check_optimised(stored: Subject) -> None:
    """All that is learned is optimised, once, and nothing else; the gradient of the pictures reaches all of it."""
    run = stored.begun()
    learned = run.state.learned
    groups = run.parameterization.parameters(run.state)
    optimised = [id(tensor) for group in groups for tensor in group.tensors]
    demand(
        sorted(optimised) == sorted(id(tensor) for tensor in learned.values()),
        f"parameters() of {stored.name} are not what State.learned holds, each once",
        "group the very tensors of State.learned",
    )
    demand(
        len({group.name for group in groups}) == len(groups),
        f"two groups of {stored.name} have one name",
        "name groups apart: a checkpoint keeps their momentum by name",
    )
    images, _ = run.parameterization.decode(run.state)
    demand(images.requires_grad, f"decode() of {stored.name} gives no gradient", "no detach() or no_grad() in it")
    images.square().sum().backward()
    for name, tensor in learned.items():
        reached = tensor.grad is not None and float(tensor.grad.abs().sum()) > 0
        demand(
            reached, f"the gradient does not reach {name} of {stored.name}", "let decode() read it, or do not learn it"
        )


def check_projected(stored: Subject) -> None:
    """A projection is finite, changes nothing the second time, and does not undo a step."""
    run = stored.begun()
    learned = run.state.learned
    start = {name: tensor.detach().clone() for name, tensor in learned.items()}
    generator = Stream(5).torch()
    with torch.no_grad():
        for tensor in learned.values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        run.parameterization.project(run.state)
        once = {name: tensor.clone() for name, tensor in learned.items()}
        run.parameterization.project(run.state)
    undone = [name for name, tensor in once.items() if torch.equal(tensor, start[name])]
    demand(not undone, f"project() of {stored.name} undoes a step of {', '.join(undone)}", "only bring back what left")
    again = all(torch.equal(tensor, learned[name]) for name, tensor in once.items())
    finite = all(bool(tensor.isfinite().all()) for tensor in once.values())
    demand(again and finite, f"project() of {stored.name} is no projection", "the second one must change nothing")


def check_stored(stored: Subject) -> None:
    """What is stored decodes into the same pictures, is stored again as the same bytes, and is what is counted."""
    run = stored.begun()
    parameterization, state = run.parameterization, run.state
    tensors = parameterization.to_tensors(state)
    for name, (tensor, role) in tensors.items():
        demand(not tensor.requires_grad, f"{stored.name} stores {name} with a graph", "detach() it in to_tensors()")
        demand(role in get_args(StoredRole), f"{name} of {stored.name} counts as {role!r}", f"one of {StoredRole}")
    again = _reread(parameterization.from_tensors, tensors, stored)
    for one, other in zip(parameterization.decode(state), parameterization.decode(again), strict=True):
        demand(torch.equal(one, other), f"{stored.name} decodes otherwise from a file", "store all that decode() reads")
    kept = parameterization.to_tensors(again)
    same = kept.keys() == tensors.keys() and all(
        role == tensors[name][1] and torch.equal(tensor, tensors[name][0]) for name, (tensor, role) in kept.items()
    )
    demand(same, f"{stored.name} stores other tensors after reading its own", "from_tensors() inverts to_tensors()")
    demand(
        parameterization.ledger(again) == parameterization.ledger(state),
        f"{stored.name} counts otherwise after reading",
        "let ledger() count the state's tensors",
    )
    check_artefact(run.synset(stored.dataset), parameterization.decode(state)[0], stored.name)


def _reread(
    from_tensors: Callable[..., State], tensors: Mapping[str, tuple[Tensor, StoredRole]], stored: Subject
) -> State:
    """The state read from a file of `tensors`; one that lacks a tensor must be refused."""
    plain = safetensors.torch.load(safetensors.torch.save({k: t.contiguous() for k, (t, _) in tensors.items()}))
    classes, shape = len(stored.dataset.classes), stored.budget.shape
    for name in plain:
        rest = {other: tensor for other, tensor in plain.items() if other != name}
        try:
            from_tensors(rest, classes=classes, shape=shape)
        except (KeyError, FredbenchError):
            continue
        raise CheckFailedError(f"{stored.name} reads a file without {name}", hint="refuse it, or do not store it")
    return from_tensors(plain, classes=classes, shape=shape)


def check_budget(stored: Subject) -> None:
    """Instances are counted as the ledger counts, leave little of the budget over, and less than one is refused."""
    whole, least = stored.budget.scalars, 0
    for params in (whole // 2, whole - whole // 5, whole):
        run = stored.begun(params=params)
        ledger = run.ledger
        least = least or ledger.params
        demand(
            params - least < ledger.params <= params,
            f"{stored.name} stores {ledger.params:,} scalars of a budget of {params:,}",
            "instances() is the largest number that the budget pays",
        )
        exact = dataclasses.replace(stored.budget, scalars=ledger.params)
        count, less = run.parameterization.instances(exact), dataclasses.replace(exact, scalars=ledger.params - 1)
        demand(
            count * len(stored.dataset.classes) == ledger.decoded and _instances(run, less) < count,
            f"{stored.name} stores {ledger.params:,} scalars, which are not the price of {count} instances a class",
            "instances() and ledger() must count alike",
        )
    try:
        run.parameterization.instances(dataclasses.replace(stored.budget, scalars=1))
    except BudgetError as error:
        demand(bool(error.hint), f"{stored.name} refuses a budget without a hint", "say what would do")
    else:
        raise CheckFailedError(f"{stored.name} finds room in a budget of one scalar", hint="raise BudgetError")


def _instances(run: Distillation, budget: Budget) -> int:
    try:
        return run.parameterization.instances(budget)
    except BudgetError:
        return 0


PARAMETERIZATION_CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_declarations,
    check_initialisation,
    check_decoding,
    check_alternatives,
    check_optimised,
    check_projected,
    check_stored,
    check_budget,
)


def check_parameterization(name: str, *, dataset: Dataset | None = None, overrides: Sequence[str] = ()) -> None:
    """Every check of `PARAMETERIZATION_CHECKS` on the parameterization `name`.

    overrides: settings as `--set` takes them, such as `parameterization.k=64`; dataset: default `small_digits()`.
    """
    pictures = dataset or small_digits()
    for check in PARAMETERIZATION_CHECKS:
        check(Subject(name, pictures, tuple(overrides)))
