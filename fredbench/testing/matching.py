"""Checks of objectives, and of an objective with a parameterization: declarations, iterations, a checkpoint."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch

from fredbench.datasets import Dataset
from fredbench.foundation.errors import CheckFailedError, FredbenchError
from fredbench.objectives import OBJECTIVES
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.testing.common import (
    NETWORK,
    GlobalGenerators,
    check_artefact,
    check_settings,
    demand,
    small_digits,
    within_budget,
)
from fredbench.training.experts import ExpertStore

__all__ = ["check_objective", "check_pair"]

_CPU = torch.device("cpu")
_FORMS = frozenset({"hard", "probability", "centred"})


def check_objective(
    name: str,
    parameterization: str = "pixels",
    *,
    dataset: Dataset | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Declarations and settings of the objective `name`, then `check_pair` with `parameterization`, as it is by itself
    and with every form of labels that it declares."""
    kind = OBJECTIVES.get(name)
    check_settings(name, kind)
    demand(isinstance(kind.needs, frozenset), f"{name}.needs is no frozenset", "declare it, frozenset() for nothing")
    known = isinstance(kind.label_forms, frozenset) and bool(kind.label_forms) and kind.label_forms <= _FORMS
    demand(known, f"{name}.label_forms is no choice of {sorted(_FORMS)}", "declare what iterate() can match")
    demand(
        kind.learns_labels in {"never", "may", "must"},
        f"{name}.learns_labels is {kind.learns_labels!r}",
        "declare never, may or must",
    )
    demand(
        kind.learns_labels == "never" or kind.label_forms != {"hard"},
        f"{name} learns labels and matches hard ones only",
        "add the soft form that it learns to label_forms",
    )
    pictures = dataset or small_digits()
    check_pair(name, parameterization, dataset=pictures, overrides=overrides)
    if any(override.startswith("labels.") for override in overrides):
        return
    for form, learned in itertools.product(sorted(kind.label_forms - {"hard"}), (False, True)):
        if (learned and kind.learns_labels == "never") or (not learned and kind.learns_labels == "must"):
            continue
        labels = (f"labels.form={form}", f"labels.learned={str(learned).lower()}")
        try:
            check_pair(name, parameterization, dataset=pictures, overrides=(*overrides, *labels))
        except CheckFailedError:
            raise
        except Exception as error:
            raise CheckFailedError(
                f"{name} declares {form} labels{' that it learns' * learned} and fails on them: {error}",
                hint="declare in label_forms and learns_labels what iterate() can match",
            ) from error


def check_pair(
    objective: str,
    parameterization: str,
    *,
    dataset: Dataset | None = None,
    overrides: Sequence[str] = (),
    network: str = NETWORK,
) -> None:
    """Four iterations: what is learned moves, all is finite and in budget; checkpoint and artefact say it all.

    A pair that cannot be is refused with a `CompatibilityError`, before anything is made.
    """
    pictures = dataset or small_digits()
    request = Request(
        ipc=1, objective=objective, parameterization=parameterization, preset="quick", iterations=4,
        network=network, overrides=(*overrides, "student.epochs=1"),
    )  # fmt: skip
    spec = resolve(request, pictures, device="cpu", threads=torch.get_num_threads())
    what = f"{objective} × {parameterization}"
    with tempfile.TemporaryDirectory(prefix="fredbench-") as folder:

        def begun() -> Distillation:
            meant = expert_spec(spec, pictures)
            return Distillation(spec, pictures, _CPU, lambda real: ExpertStore(Path(folder), meant, real))

        generators = GlobalGenerators()
        with within_budget(what):
            run = begun()
        _check_streams(begun(), what)
        _check_gradients_are_used(run, what, len(pictures.classes))
        _check_checkpoint(run, begun(), what)
        generators.demand_untouched(what, "draw from context.rng and the rng that decode and init are given")
    check_artefact(run.synset(pictures), run.parameterization.decode(run.state)[0], what)


def _check_streams(run: Distillation, what: str) -> None:
    """A first update by itself leaves the global generators alone: what a step lends them is for networks that draw."""
    generators = GlobalGenerators()
    if run.objective is not None:
        next(iter(run.objective.iterate(run.iteration, run.synthetic)))
    generators.demand_untouched(what, "draw from context.rng and the rng that decode and init are given")


def _check_gradients_are_used(run: Distillation, what: str, classes: int) -> None:
    """Two iterations: numbers are finite, and what is learned moves, of every class."""
    before = {name: tensor.detach().clone() for name, tensor in run.state.learned.items()}
    pictures = run.parameterization.decode(run.state)[0].detach().clone()
    report = run.step()
    finite = all(bool(torch.as_tensor(value).isfinite().all()) for value in report.values())
    demand(bool(report), f"{what} reports nothing", "yield Update(loss, {'loss': loss.detach()})")
    demand(finite, f"{what} reports {report}", "look for a division by zero or a rate that is too high")
    demand(
        all(bool(tensor.isfinite().all()) for tensor in run.state.learned.values()),
        f"{what} leaves numbers that are not finite",
        "look for a gradient of a norm at zero, or a rate that is too high",
    )
    still = [name for name, tensor in run.state.learned.items() if torch.equal(before[name], tensor)]
    demand(
        len(still) < len(before),
        f"an iteration of {what} moves nothing that is learned",
        "the loss must depend on synthetic.decode(), without detach() or no_grad() between",
    )
    run.step()
    still = [name for name, tensor in run.state.learned.items() if torch.equal(before[name], tensor)]
    if run.objective is not None and run.objective.learns_labels == "must":
        # It solves for labels; the pictures may stay.
        demand("labels" not in still, f"two iterations of {what} leave the labels as they were", "match soft labels")
        return
    demand(
        not still, f"two iterations of {what} leave {', '.join(still)} as it was", "let the loss depend on all of it"
    )
    apart = (run.parameterization.decode(run.state)[0] != pictures).flatten(1).any(dim=1)
    untouched = (~apart.view(classes, -1).any(dim=1)).nonzero().flatten().tolist()
    demand(not untouched, f"two iterations of {what} leave classes {untouched} as they were", "match every class")
    demand(
        run.ledger.params <= run.spec.budget,
        f"{what} stores {run.ledger.params} of {run.spec.budget}",
        "count again in ledger() and instances()",
    )


def _check_checkpoint(run: Distillation, resumed: Distillation, what: str) -> None:
    """Taken up from a file after two iterations, two more give the same bytes; what is foreign is refused."""
    objective = resumed.objective
    if objective is None:
        raise ValueError("a run of no iterations has no checkpoint to check")
    try:
        objective.from_tensors({"unheard of": torch.zeros(1)})
    except (ValueError, KeyError, FredbenchError):
        pass
    else:
        raise CheckFailedError(f"{what} takes up a checkpoint that is not its own", hint="refuse unknown tensors")
    resumed.from_tensors(safetensors.torch.load(safetensors.torch.save(run.to_tensors())))
    for _ in range(2):
        run.step()
        resumed.step()
    one, other = run.to_tensors(), resumed.to_tensors()
    apart = [name for name in one if name not in other or not torch.equal(one[name], other[name])]
    demand(
        one.keys() == other.keys() and not apart,
        f"{what} goes on otherwise after a checkpoint, in {', '.join(apart) or 'what it keeps'}",
        "keep all that lives between iterations in to_tensors(), and name streams after the iteration",
    )
