"""What the checks share: real pictures at a small size, and how a broken promise is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.foundation.errors import BudgetError, CheckFailedError, FredbenchError
from fredbench.runs.synset import Synset

__all__ = ["NETWORK", "GlobalGenerators", "check_artefact", "check_settings", "demand", "small_digits", "within_budget"]

# Large enough that every loss has a gradient, small enough that an iteration is a matter of milliseconds.
NETWORK = "convnet-d2-w4-in"


def demand(held: bool, broken: str, mend: str) -> None:
    """Raise `CheckFailedError` with what is broken and how to mend it, unless it held."""
    if not held:
        raise CheckFailedError(broken, hint=mend)


class GlobalGenerators:
    """State of torch's and NumPy's global generators when this was made.

    Python's own is not watched: type checkers at run time (beartype) draw from it.
    """

    def __init__(self) -> None:
        self.states = self._now()

    @staticmethod
    def _now() -> dict[str, list[Any]]:
        numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - the generator that nobody should use
        own = numpy["state"]
        return {
            "torch": torch.get_rng_state().tolist(),
            "NumPy": [own["pos"], numpy["has_gauss"], numpy["gauss"], *own["key"].tolist()],
        }

    def demand_untouched(self, what: str, mend: str) -> None:
        """Raise `CheckFailedError` where one of them was drawn from or seeded since."""
        touched = [name for name, state in self._now().items() if state != self.states[name]]
        demand(not touched, f"{what} draws from or seeds the global generator of {', '.join(touched)}", mend)


@contextmanager
def within_budget(what: str) -> Iterator[None]:
    """Where a run is begun that stores more than its budget, this is a broken promise of `instances()`."""
    try:
        yield
    except BudgetError as error:
        raise CheckFailedError(
            f"{what} starts above its budget: {error.message}", hint="count in instances() as in ledger()"
        ) from error


def small_digits() -> Dataset:
    """The embedded digits at 16 x 16, forty a class to train on and four to test: real pictures, moments of work."""
    digits, parts = load_dataset("digits"), []
    for split, count in ((digits.train, 40), (digits.test, 4)):
        chosen = np.concatenate([split.class_indices(label)[:count] for label in range(len(digits.classes))])
        parts.append(Split(split.images[chosen][:, ::2, ::2].copy(), split.labels[chosen]))
    train, test = parts
    return Dataset.from_splits("digits-16", train, test, digits.classes, flip=False)


def check_settings(name: str, kind: Any) -> None:
    """`name` and `Config` of a part: a frozen dataclass with defaults, read back from what is written."""
    demand(getattr(kind, "name", None) == name, f"{name} calls itself {getattr(kind, 'name', None)!r}", "set name")
    config: Any = getattr(kind, "Config", None)
    parameters: Any = getattr(config, "__dataclass_params__", None)
    demand(
        parameters is not None and parameters.frozen,
        f"{name}.Config is no frozen dataclass",
        "use @dataclass(frozen=True)",
    )
    try:
        usual = config()
        again = from_mapping(config, to_mapping(usual), where=name)
    except (TypeError, FredbenchError) as error:
        raise CheckFailedError(
            f"settings of {name} cannot be written and read: {error}",
            hint="give every field a default and a plain type",
        ) from error
    demand(again == usual, f"settings of {name} change when read", "use bool, int, float, str or tuples of them")


def check_artefact(synset: Synset, decoded: Tensor, what: str) -> None:
    """The file's own decoding is that of the run, and its ledger is counted from its tensors."""
    try:
        synset.verify()
    except FredbenchError as error:
        raise CheckFailedError(
            f"{what}: {error.message}", hint="let ledger() count what to_tensors() stores"
        ) from error
    demand(
        torch.allclose(synset.images, decoded.detach().float(), atol=1e-6),
        f"the artefact of {what} decodes into other pictures than the run",
        "store all that decode() reads",
    )
