"""What attacks leave of networks that were trained on all of CIFAR-10 without a defence: the control of every attack.

    python benchmarks/undefended.py --out results/undefended.json

An attack that leaves such a network much of its accuracy at 8/255 does not work. Held against each network: radius 0
gives its clean accuracy to the picture; no attack leaves more at a larger radius or after more steps, beyond twice the
standard error of a difference; at 8/255 the attacks of several steps leave less than FALLEN. Exit status 1 where one of
these does not hold. No path and no name of a machine is in the file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.places import add_places  # noqa: E402
from fredbench import networks  # noqa: E402
from fredbench.corruptions.indices import evenly_spaced  # noqa: E402
from fredbench.datasets import Dataset, load_dataset  # noqa: E402
from fredbench.evaluation.attacked import told_radius  # noqa: E402
from fredbench.evaluation.attacking import Prey  # noqa: E402
from fredbench.evaluation.statistics import summarise  # noqa: E402
from fredbench.evaluation.threats import LEVELS, attack_named  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.foundation.rng import Stream  # noqa: E402
from fredbench.training.batches import RealPictures  # noqa: E402
from fredbench.training.loop import TrainingRecipe, train  # noqa: E402

# Weaker before stronger.
ATTACKS = ("fgsm", "pgd20", "pgd50")
LEVELS_TRIED = (0, 1, 2, 4, 8)
FALLEN = 3.0
"""Percent."""


def main() -> None:
    options = parse()
    threads = use_threads(options.threads)
    data = load_dataset("cifar10", root=options.data, offline=True)
    measured = [measure(seed, data, options) for seed in options.seeds]
    failed = [f"seed {entry['seed']}: {what}" for entry in measured for what in broken(entry)]
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "attacks on networks trained on all of CIFAR-10 without a defence",
        "setting": f"{options.network}, {options.epochs} epochs, {options.attacked} test pictures attacked",
        "environment": {k: v for k, v in environment("cpu", threads).items() if k != "platform"},
        "pooled": pooled(measured),
        "failed": failed,
        "networks": measured,
    }
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, found)
    print("\n".join([*table(found), *failed]))
    sys.exit(1 if failed else 0)


def measure(seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """One network: trained, and its accuracy in percent on the attacked pictures under each attack at each radius."""
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

    def accuracy(name: str | None, levels: int) -> float:
        attack = None if name is None else attack_named(name)
        right = prey.predictions(network, attack, levels / LEVELS).predicted[0].numpy() == prey.labels
        return round(100 * float(right.mean()), 4)

    under = {name: {str(levels): accuracy(name, levels) for levels in LEVELS_TRIED} for name in ATTACKS}
    print(f"seed {seed}: clean {accuracy(None, 0)}, {under}", flush=True)
    return {"seed": seed, "pictures": len(chosen), "clean": accuracy(None, 0), "under": under}


def broken(entry: Mapping[str, Any]) -> Iterator[str]:
    """What must hold of a network and does not, in words."""
    under: Mapping[str, Mapping[str, float]] = entry["under"]
    for name, by_level in under.items():
        if by_level["0"] != entry["clean"]:
            yield f"{name} at radius 0 leaves {by_level['0']}, not {entry['clean']}"
        for small, large in pairwise(map(str, LEVELS_TRIED)):
            if above(by_level[large], by_level[small], entry["pictures"]):
                yield f"{name} leaves more at {large}/255 than at {small}/255"
    for weak, strong in pairwise(ATTACKS):
        for levels in map(str, LEVELS_TRIED):
            if above(under[strong][levels], under[weak][levels], entry["pictures"]):
                yield f"{strong} leaves more than {weak} at {levels}/255"
    for name in ATTACKS[1:]:
        if not under[name]["8"] < FALLEN:
            yield f"{name} at 8/255 leaves {under[name]['8']}, not less than {FALLEN}"


def above(one: float, other: float, pictures: int) -> bool:
    """Whether an accuracy lies above another by more than twice the standard error of a difference of two shares."""
    shares = one / 100, other / 100
    return shares[0] - shares[1] > 2 * math.sqrt(sum(share * (1 - share) for share in shares) / pictures)


def pooled(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over networks."""
    return {
        "clean": summarise([entry["clean"] for entry in measured]).to_mapping(),
        **{
            name: {
                str(levels): summarise([entry["under"][name][str(levels)] for entry in measured]).to_mapping()
                for levels in LEVELS_TRIED
            }
            for name in ATTACKS
        },
    }


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table: a line an attack, a column a radius."""
    radii = [told_radius("linf", levels / LEVELS) for levels in LEVELS_TRIED]
    lines = [f"| accuracy, %, under | {' | '.join(radii)} |", "|---|" + "---|" * len(radii)]
    for name in ATTACKS:
        cells = [document["pooled"][name][str(levels)] for levels in LEVELS_TRIED]
        shown = [f"{c['mean']:.1f}" + ("" if c["std"] is None else f" ± {c['std']:.1f}") for c in cells]
        lines.append(f"| `{name}` | {' | '.join(shown)} |")
    return lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a network each")
    parser.add_argument("--network", default="convnet-d3-w64-in")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--attacked", type=int, default=500, help="test pictures, evenly spaced")
    return parser.parse_args()


if __name__ == "__main__":
    main()
