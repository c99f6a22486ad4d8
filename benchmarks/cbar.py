"""The C-bar corruptions beside their public generator, on the same pictures in one run: bytes, statistics, speed.

    git clone https://github.com/facebookresearch/augmentation-corruption
    python benchmarks/cbar.py --generator augmentation-corruption                    # on crops of sample photographs
    python benchmarks/cbar.py --generator augmentation-corruption --data data        # on CIFAR-10's test pictures

The generator is MIT-licensed, needs scikit-image beside what is installed here, and is no dependency: it is run from
its checkout. Three comparisons, for each corruption and severity of CIFAR-10-C-bar at 32 pixels, or with
--profile imagenet of ImageNet-C-bar: at 64 pixels, since the generator takes seconds a picture at the published 224,
where only speed is measured. (The engine itself takes ImageNet-C-bar's constants at 224 pixels alone.)

same draws   The generator's parameters go to this project's arithmetic. Counted are the values that differ and by how
             many grey levels: differences of rounding, none of rule.
statistics   Each side draws for itself. Of every picture eleven statistics; the mean over the pictures of their
             differences must lie within BAND standard errors of itself, plus a floor (FLOORS).
speed        CPU time a picture at severity 3, in turns, the smallest of several rounds.

Exit status 1 where a band is left, a rule differs, or the sum of the ten at 32 pixels is less than 10 times as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - thread counts must be set before

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.corruptions import cpu_time, photographs  # noqa: E402
from fredbench.corruptions import (  # noqa: E402
    CBAR,
    CBAR_ALL,
    CBAR_IMAGENET,
    caustics,
    corrupt,
    draws,
    occlusions,
    perlin,
    sparkles,
    spectral,
    splines,
    warps,
    waves,
)
from fredbench.corruptions.batches import Batch  # noqa: E402
from fredbench.corruptions.cbar import MAKERS  # noqa: E402
from fredbench.corruptions.severities import parameters  # noqa: E402

NAMES = {"cifar": CBAR, "imagenet": CBAR_IMAGENET}
SIDES = {"cifar": 32, "imagenet": 64}
SEVERITIES = (1, 2, 3, 4, 5)
BAND = 4.0
"""Standard errors; of the 550 means one in 30 runs leaves them by chance."""
FLOORS = {
    "mae": 0.06, "mean": 0.06, "deviation": 0.06, "red": 0.06, "green": 0.06, "blue": 0.06,
    "unchanged": 0.005, "black": 0.002, "white": 0.002, "across": 0.005, "down": 0.005,
}  # fmt: skip
"""Grey levels, shares of values, and correlations of neighbouring errors."""
LEAST_SPEED = 10.0
FEWEST = 50
"""Pictures, of fewer of which a mean's standard error says too little."""
# A share of values that a truncated or tied last bit may move by one level. At magnification 1 one value in 36 is a
# tie, which the generator's spline breaks by its order of sums.
ROUNDING = {"transverse_chromatic_abberation": 0.03}
OTHERS_ROUNDING = 0.001

Draw = dict[str, Any]


@contextlib.contextmanager
def generator_at(folder: Path) -> Iterator[dict[str, Callable[..., Any]]]:
    """The generator's transforms by name, with NumPy's removed alias that it uses."""
    place = str(folder / "imagenet_c_bar")
    before = set(sys.modules)
    sys.path.insert(0, place)
    np.int = int
    try:
        yield importlib.import_module("transform_finder").transform_dict
    finally:
        del np.int
        sys.path.remove(place)
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(place):
                del sys.modules[name]


def _phases(state: np.random.RandomState, side: int) -> np.ndarray:
    return np.degrees(state.uniform(0, 2 * np.pi, (side, side // 2)).T.reshape(-1))


def _blue(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    phases = _phases(np.random.RandomState(draw["seed"]), picture.shape[1])
    return spectral.blue_noise_sample(picture, v, phases[None])


def _brown(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    state = np.random.RandomState(draw["seed"])
    phases = np.stack([_phases(state, picture.shape[1]) for _ in range(3)])
    return spectral.brownish_noise(picture, v, phases[None])


def _checkerboard(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    tile = float(draw["scales"][0])
    count = int(4 * picture.shape[1] // tile)
    table = np.random.RandomState(draw["seed"]).uniform(size=(1, count * count))
    degrees = np.degrees([draw["angle"]])
    return occlusions.checkerboard_cutout(picture, v, degrees, np.array([tile]), table)


def _inverse_sparkles(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    normals = np.random.RandomState(draw["seed"]).randn(1, draw["rays"])
    return sparkles.inverse_sparkles(picture, v, draw["center"][None], np.array([draw["rays"]]), normals)


def _sparkles(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    state, normals = np.random.RandomState(draw["seed"]), np.zeros((1, sparkles.STARS, sparkles.MOST_RAYS))
    for star, count in enumerate(draw["nrays"]):
        normals[0, star, :count] = state.randn(count)
    return sparkles.sparkles(picture, v, draw["centers"][None], draw["nrays"][None], normals)


def _lines(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    side = picture.shape[1]
    places = np.random.RandomState(draw["seed"]).uniform(size=(1, occlusions.line_count(v, side), 3))
    angle, variation = np.degrees([draw["angle"]]), np.array([draw["angle_variation"]])
    return occlusions.lines(picture, occlusions.line_ends(angle, variation, places, side))


def _pinch_and_twirl(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    return warps.pinch_and_twirl(picture, v, (draw["angles"] < 0).astype(np.uint8)[None])


def _ripple(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    return warps.ripple(picture, v, draw["wavelengths"][None], np.degrees(draw["phases"])[None])


def _chromatic(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    return splines.transverse_chromatic_abberation(picture, v, np.argsort(np.argsort(draw["scales"]))[None])


def _caustic(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    return caustics.caustic_refraction(picture, v, np.array([draw["time"]]), np.array([draw["size"]]))


def _rings(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    drawn = (np.array([draw[name]]) for name in ("offset", "freq", "amplitude", "ring_width"))
    return waves.cocentric_sine_waves(picture, v, *drawn)


def _perlin(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    state = np.random.RandomState(draw["seed"])
    lattice = np.stack([state.randint(0, 2**31, 2) % 512 - 256 for _ in range(514)])[None, : perlin.GRADIENTS]
    swaps = np.array([state.randint(0, 2**31) % 256 for _ in range(256)])[None, ::-1]
    return perlin.perlin_noise(picture, v, np.ascontiguousarray(lattice), np.ascontiguousarray(swaps))


def _plasma(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    drawn = (np.array([draw[name]]) for name in ("time", "iterations", "sharpness", "scale"))
    return waves.plasma_noise(picture, v, *drawn)


def _frequency(picture: np.ndarray, v: float, draw: Draw) -> np.ndarray:
    degrees = np.degrees(draw["freq"])[None], np.degrees([draw["phase"]])
    return waves.single_frequency_greyscale(picture, v, *degrees)


WITH_THEIR_DRAWS: dict[str, Callable[[np.ndarray, float, Draw], np.ndarray]] = {
    "blue_noise_sample": _blue,
    "brownish_noise": _brown,
    "checkerboard_cutout": _checkerboard,
    "inverse_sparkles": _inverse_sparkles,
    "sparkles": _sparkles,
    "circular_motion_blur": lambda picture, v, draw: splines.circular_motion_blur(picture, v),
    "lines": _lines,
    "pinch_and_twirl": _pinch_and_twirl,
    "ripple": _ripple,
    "transverse_chromatic_abberation": _chromatic,
    "caustic_refraction": _caustic,
    "cocentric_sine_waves": _rings,
    "perlin_noise": _perlin,
    "plasma_noise": _plasma,
    "single_frequency_greyscale": _frequency,
}


def with_both(transforms: Any, profile: str, name: str, severity: int, pictures: np.ndarray) -> tuple[Any, Any]:
    """The generator's pictures, and what this project's arithmetic makes of the same pictures and draws."""
    v = parameters(profile, name, severity)[0]
    transform = transforms[name](severity=v, im_size=pictures.shape[1])
    transform.record = True
    theirs, ours = np.empty_like(pictures), np.empty_like(pictures)
    for i, picture in enumerate(pictures):
        theirs[i], draw = transform(picture)
        ours[i] = WITH_THEIR_DRAWS[name](picture[None], v, draw)[0]
    return theirs, ours


def own(profile: str, name: str, severity: int, pictures: np.ndarray, seed: int) -> np.ndarray:
    """What the engine makes of the pictures, at any size of either profile."""
    keys = draws.picture_keys(seed, name, severity, np.arange(len(pictures)))
    return MAKERS[name](Batch(pictures, keys, parameters(profile, name, severity), profile, "files"))


def statistics_of(clean: np.ndarray, made: np.ndarray) -> dict[str, np.ndarray]:
    """Eleven statistics of each picture."""
    error = made.astype(float) - clean
    centred = error - error.mean(axis=(1, 2), keepdims=True)
    power = (centred**2).mean(axis=(1, 2, 3)) + 1e-6
    red, green, blue = error.mean(axis=(1, 2)).T
    return {
        "mae": np.abs(error).mean(axis=(1, 2, 3)), "mean": error.mean(axis=(1, 2, 3)),
        "deviation": error.std(axis=(1, 2, 3)), "red": red, "green": green, "blue": blue,
        "unchanged": (error == 0).mean(axis=(1, 2, 3)), "black": (made == 0).mean(axis=(1, 2, 3)),
        "white": (made == 255).mean(axis=(1, 2, 3)),
        "across": (centred[:, :, 1:] * centred[:, :, :-1]).mean(axis=(1, 2, 3)) / power,
        "down": (centred[:, 1:] * centred[:, :-1]).mean(axis=(1, 2, 3)) / power,
    }  # fmt: skip


def compared(clean: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each statistic its mean on both sides, and the half width of the band that their difference must lie in."""
    found, wanted = statistics_of(clean, ours), statistics_of(clean, theirs)
    told = {}
    for name, floor in FLOORS.items():
        difference = found[name] - wanted[name]
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        told[name] = {"ours": float(found[name].mean()), "theirs": float(wanted[name].mean()),
                      "band": BAND * error + floor}  # fmt: skip
    return told


def outside(told: dict[str, dict[str, float]]) -> list[str]:
    """The statistics whose difference leaves its band."""
    return [name for name, one in told.items() if abs(one["ours"] - one["theirs"]) > one["band"]]


def rule_differs(name: str, theirs: np.ndarray, ours: np.ndarray) -> tuple[float, int, bool]:
    """Share of values that differ, the largest difference, and whether that is more than rounding."""
    off = np.abs(theirs.astype(int) - ours)
    share, largest = float((off > 0).mean()), int(off.max())
    allowed = ROUNDING.get(name, OTHERS_ROUNDING)
    return share, largest, share > allowed or float((off > 1).mean()) > OTHERS_ROUNDING


def agreement(
    transforms: Any, profile: str, name: str, severity: int, pictures: np.ndarray, seed: int
) -> dict[str, Any]:
    """Both comparisons of one corruption and severity."""
    # Of its own for each: under one seed all severities would have the same draws, and leave their bands together.
    np.random.seed([seed, CBAR_ALL.index(name), severity])
    theirs, replayed = with_both(transforms, profile, name, severity, pictures)
    share, largest, differs = rule_differs(name, theirs, replayed)
    told = compared(pictures, theirs, own(profile, name, severity, pictures, seed))
    return {"corruption": name, "severity": severity, "differing": share, "largest": largest, "rule differs": differs,
            "statistics": told, "outside": outside(told)}  # fmt: skip


def speed(transforms: Any, profile: str, name: str, pictures: np.ndarray, theirs: int, rounds: int) -> dict[str, float]:
    """CPU milliseconds a picture at severity 3: ours over the whole batch, theirs over its first pictures."""
    transform = transforms[name](severity=parameters(profile, name, 3)[0], im_size=pictures.shape[1])
    corrupt(pictures[:1], name, 3, profile=profile), transform(pictures[0])  # compile, fill caches
    best = {"ours": float("inf"), "theirs": float("inf")}
    for _ in range(rounds):
        mine = cpu_time(lambda: corrupt(pictures, name, 3, profile=profile)) / len(pictures)
        other = cpu_time(lambda: [transform(picture) for picture in pictures[:theirs]]) / theirs
        best = {"ours": min(best["ours"], 1e3 * mine), "theirs": min(best["theirs"], 1e3 * other)}
    return best


def cifar_pictures(data: Path, count: int) -> np.ndarray:
    from fredbench.corruptions import evenly_spaced
    from fredbench.datasets import load_dataset

    test = load_dataset("cifar10", root=data, offline=True).test
    return np.asarray(test.images[evenly_spaced(len(test), count)])


def furthest(told: dict[str, dict[str, float]]) -> tuple[str, float]:
    """The statistic that comes nearest to its band's edge, and how near in shares of the band."""
    shares = {name: abs(one["ours"] - one["theirs"]) / one["band"] for name, one in told.items()}
    worst = max(shares, key=shares.__getitem__)
    return worst, shares[worst]


def agreement_line(one: dict[str, Any]) -> str:
    worst, share = furthest(one["statistics"])
    mae = one["statistics"]["mae"]
    said = f"LEFT: {', '.join(one['outside'])}" if one["outside"] else f"{share:.2f} of the band ({worst})"
    rule = " RULE" if one["rule differs"] else ""
    return (
        f"{one['corruption']:32s} {one['severity']} {100 * one['differing']:9.4f} {one['largest']:4d}{rule:5s} "
        f"{mae['ours']:8.3f} {mae['theirs']:8.3f} {mae['band']:6.3f}  {said}"
    )


def agreements(transforms: Any, profile: str, pictures: np.ndarray, seed: int) -> list[dict[str, Any]]:
    print(f"{len(pictures)} pictures of {pictures.shape[1]} pixels, constants of {profile}")
    print("same draws: values that differ in %, largest difference; each its own: mean absolute error, statistics")
    print(
        f"{'corruption':32s} s {'differ %':>9s} {'max':>4s}      {'ours':>8s} {'theirs':>8s} {'band':>6s}  statistics"
    )
    done = []
    for name in NAMES[profile]:
        for severity in SEVERITIES:
            done.append(agreement(transforms, profile, name, severity, pictures, seed))
            print(agreement_line(done[-1]), flush=True)
    return done


def speeds(
    transforms: Any, profile: str, pictures: np.ndarray, theirs: int, rounds: int
) -> dict[str, dict[str, float]]:
    found = {name: speed(transforms, profile, name, pictures, theirs, rounds) for name in NAMES[profile]}
    found["sum of the ten"] = {side: sum(one[side] for one in found.values()) for side in ("ours", "theirs")}
    said = f"CPU ms a picture, smallest of {rounds} rounds; load {os.getloadavg()[0]:.1f}"
    print(f"\n{pictures.shape[1]} pixels, severity 3: {said}")
    for name, one in found.items():
        print(f"{name:32s} {one['ours']:10.4f} {one['theirs']:10.4f} {one['theirs'] / one['ours']:8.1f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, required=True, help="a checkout of augmentation-corruption")
    parser.add_argument("--data", type=Path, help="data folder with CIFAR-10; left out: crops of two photographs")
    parser.add_argument("--profile", choices=tuple(NAMES), default="cifar")
    parser.add_argument("--pictures", type=int, default=200, help="for bytes and statistics")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep everything as JSON")
    arguments = parser.parse_args()
    if arguments.pictures < FEWEST:
        parser.error(f"--pictures {arguments.pictures} are too few for bands of standard errors: take {FEWEST} or more")
    profile, count = arguments.profile, arguments.pictures
    real = arguments.data is not None and profile == "cifar"
    pictures = cifar_pictures(arguments.data, count) if real else photographs(SIDES[profile], count)
    timed = photographs(32, 256) if profile == "cifar" else photographs(224, 4)
    with generator_at(arguments.generator) as transforms:
        done = agreements(transforms, profile, pictures, arguments.seed)
        times = speeds(transforms, profile, timed, 5 if profile == "cifar" else 1, arguments.rounds)
    if arguments.out:
        arguments.out.write_text(json.dumps({"pictures": arguments.pictures, "agreement": done, "speed": times}))
    whole = times["sum of the ten"]
    slow = profile == "cifar" and whole["theirs"] < LEAST_SPEED * whole["ours"]
    return int(slow or any(one["outside"] or one["rule differs"] for one in done))


if __name__ == "__main__":
    sys.exit(main())
