"""Rows of one table against each other, by the stored predictions of their students on the same test pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64

from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.comparison import paired
from fredbench.evaluation.rows import Compared

__all__ = ["compared", "shares_right"]

Read = Callable[[str], Outcomes]
"""What a row's students predicted on a domain, by its name."""


def compared(
    beside: Mapping[Path, Sequence[Path]],
    domains: Mapping[str, Sequence[str]],
    outcomes: Mapping[Path, Mapping[str, Read]],
) -> dict[str, tuple[Compared, ...]]:
    """Each run of `beside` against the others named there, by run folder.

    domains: names over which shares are averaged, by what that is called. outcomes: of each run, by network.
    """

    @functools.cache
    def shares(run: Path, network: str, domain: str) -> Float[np.ndarray, "k n"] | None:
        return shares_right([outcomes[run][network](name) for name in domains[domain]])

    found: dict[str, tuple[Compared, ...]] = {}
    for run, others in beside.items():
        each = []
        for other in others:
            for network in (name for name in outcomes[run] if name in outcomes[other]):
                for domain in domains:
                    ours, theirs = shares(run, network, domain), shares(other, network, domain)
                    if ours is not None and theirs is not None:
                        each.append(Compared(other.name, network, domain, paired(ours, theirs)))
        found[str(run)] = tuple(each)
    return found


def shares_right(outcomes: Sequence[Outcomes]) -> Float[np.ndarray, "k n"] | None:
    """For each student and picture the share of domains and severities in which the picture was told right.

    None where the domains are not of the same pictures in the same order, so far as labels tell.
    """
    first = outcomes[0].labels
    if not all(np.array_equal(first, each.labels) for each in outcomes):
        return None
    shares: np.ndarray = np.mean([_by_domain(each) for each in outcomes], axis=0)
    return shares


def _by_domain(outcomes: Outcomes) -> Float[np.ndarray, "k n"]:
    labels: Int64[np.ndarray, " n"] = outcomes.labels
    truth = torch.from_numpy(labels)[None, :]
    right = [(found.predicted.long() == truth).double().mean(dim=0).numpy() for found in outcomes.predictions]
    return np.stack(right)
