"""What attacks leave of networks that were trained on all of CIFAR-10 without a defence: the control of our attacks.

    python benchmarks/undefended.py --out results/undefended.json

An attack that leaves such a network much of its accuracy at the usual radii (8/255, and .5 in L2) does not work. Each
network must show: at radius 0 the very predictions of the clean pictures; no sign of masked gradients
(`signs_of_masking`: a larger radius, more steps or a stronger attack that leaves more); next to nothing under an
attack of several steps at 8/255. Exit status 1 where one of these does not hold. No path and no name of a machine is
in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.places import add_places  # noqa: E402
from fredbench import networks  # noqa: E402
from fredbench.corruptions.indices import evenly_spaced  # noqa: E402
from fredbench.datasets import Dataset, load_dataset  # noqa: E402
from fredbench.evaluation.aggregation import Outcomes  # noqa: E402
from fredbench.evaluation.attacked import Attacked, Attacks, signs_of_masking, told_norm, told_radius  # noqa: E402
from fredbench.evaluation.attacking import Prey, attack_scores  # noqa: E402
from fredbench.evaluation.statistics import summarise  # noqa: E402
from fredbench.evaluation.threats import ATTACKS, LEVELS, Attack, Norm  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.foundation.rng import Stream  # noqa: E402
from fredbench.training.batches import RealPictures  # noqa: E402
from fredbench.training.loop import TrainingRecipe, train  # noqa: E402

# By norm: what is tried, and at which radii beside 0. What is made on another student has no place here.
TRIED: Mapping[Norm, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "linf": (("fgsm", "pgd20", "pgd50", "apgd-ce", "apgd-dlr"), tuple(level / LEVELS for level in (1, 2, 4, 8))),
    "l2": (("pgd20-l2", "pgd50-l2"), (0.125, 0.25, 0.5)),
}
FALLEN = 3.0
"""Percent, at the largest L∞ radius."""


def main() -> None:
    options = parse()
    threads = use_threads(options.threads)
    data = load_dataset("cifar10", root=options.data, offline=True)
    measured = [measure(seed, data, options) for seed in options.seeds]
    failed = [f"seed {entry['seed']}: {what}" for entry in measured for what in entry["failed"]]
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "attacks on networks trained on all of CIFAR-10 without a defence",
        "setting": f"{options.network}, {options.epochs} epochs, {options.attacked} test pictures attacked",
        "environment": {k: v for k, v in environment("cpu", threads).items() if k != "platform"},
        "networks": measured,
    }
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, found)
    print("\n".join([*table(found), *failed]))
    sys.exit(1 if failed else 0)


def measure(seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """One network: trained, attacked, and what does not hold of it."""
    device, rng = resolve_device("cpu"), Stream(seed)
    real = RealPictures(
        data.train.images, data.train.labels, mean=data.mean, std=data.std, classes=len(data.classes), device=device
    )
    size = (data.train.images.shape[1], data.train.images.shape[2])
    network = networks.build(options.network, classes=len(data.classes), size=size, rng=rng.child("network"))
    network.arithmetic = "fused"
    # Mirrored and shifted; no attack in it.
    recipe = TrainingRecipe(options.epochs, lr=0.02, schedule="cosine", augmentation="crop_flip")
    train(network, real, recipe, rng.child("training"))
    chosen = evenly_spaced(len(data.test.labels), options.attacked)
    prey = Prey(
        data.test.images[chosen], data.test.labels[chosen], chosen.tolist(), real.preprocessing, "none", device
    )  # fmt: skip

    def outcomes(attack: Attack | None = None, epsilon: float = 0.0) -> Outcomes:
        return Outcomes([prey.predictions(network, attack, epsilon)], prey.labels)

    clean, found, failed = outcomes(), [], []
    for names, radii in TRIED.values():
        attacks = tuple(ATTACKS[name] for name in names)
        found.append(attack_scores(Attacks(attacks, radii), clean, outcomes))
        still = {attack.name for attack in attacks if not moved(clean, outcomes(attack))}
        failed += [f"{name} at radius 0 changes a prediction" for name in names if name not in still]
    failed += [what for each in found for what in broken(each)]
    print(f"seed {seed}: clean {found[0].clean.mean:.1f}", *failed, sep="; ", flush=True)
    return {"seed": seed, "failed": failed, **dict(zip(TRIED, (each.to_mapping() for each in found), strict=True))}


def moved(clean: Outcomes, attacked: Outcomes) -> bool:
    """Whether a prediction is another one."""
    pairs = zip(clean.predictions, attacked.predictions, strict=True)
    return not all(bool((a.predicted == b.predicted).all()) for a, b in pairs)


def broken(found: Attacked) -> Iterator[str]:
    """What must hold of a network under attack and does not, in words."""
    yield from signs_of_masking(found)
    largest = max(score.epsilon for score in found.scores)
    for score in found.scores:
        several = score.attack in ATTACKS and ATTACKS[score.attack].steps > 1
        if score.norm == "linf" and several and score.epsilon == largest and not score.robust.mean < FALLEN:
            where = told_radius(score.norm, largest)
            yield f"{score.attack} at {where} leaves {score.robust.mean:.1f} %, not less than {FALLEN:g}"


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table: a line an attack, its smallest radius first; mean ± deviation over networks, percent."""
    lines = [
        "| under | norm | clean | an eighth | a quarter | half | the usual radius |",
        "|---|---|---|---|---|---|---|",
    ]
    for norm, (names, radii) in TRIED.items():
        measured = [network[norm] for network in document["networks"]]
        clean = told([each["clean"]["mean"] for each in measured])
        for name in names:
            cells = [
                told([_accuracy(each, name, radius) for each in measured]) + f" ({told_radius(norm, radius)})"
                for radius in radii
            ]
            cells = ["–"] * (4 - len(cells)) + cells
            lines.append(f"| `{name}` | {told_norm(norm)} | {clean} | {' | '.join(cells)} |")
    return lines


def _accuracy(attacked: Mapping[str, Any], name: str, radius: float) -> float:
    (found,) = (
        score["accuracy"]["mean"]
        for score in attacked["scores"]
        if score["attack"] == name and abs(score["epsilon"] - radius) < 1e-6
    )
    return float(found)


def told(values: Sequence[float]) -> str:
    """Mean and deviation, percent."""
    sample = summarise(values)
    return f"{sample.mean:.1f}" + ("" if sample.std is None else f" ± {sample.std:.1f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a network each")
    parser.add_argument("--network", default="convnet-d3-w32-in")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--attacked", type=int, default=300, help="test pictures, evenly spaced")
    options = parser.parse_args()
    if len(set(options.seeds)) < len(options.seeds):
        parser.error("a seed stands twice in --seeds")
    return options


if __name__ == "__main__":
    main()
