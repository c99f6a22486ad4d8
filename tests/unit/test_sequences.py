"""Perturbation sequences: their pictures against the libraries that published ones were made with, and what is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from corruption_hashes import pictures as hashed_pictures
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from fredbench.corruptions import SEQUENCES, blur, perturb
from fredbench.corruptions.sequences import SequenceKind
from fredbench.evaluation.rows import Stability
from fredbench.evaluation.stability import Sequences, flip_probability, ranked, stability, top_distance
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.networks.base import Network, Signature
from fredbench.training.batches import Standardisation, standardised
from fredbench.training.preprocessing import Preprocessing

FIRST = SequenceKind("noise", 3, "first", "")
PREVIOUS = SequenceKind("moved", 3, "previous", "")


def pictures(count: int = 6, side: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth ones with edges, every grey level among them."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return np.stack([np.array(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in small])


def plain() -> Preprocessing:
    return Preprocessing((0.0,) * 3, (1.0,) * 3)


def affine(image: np.ndarray, **changed: float) -> np.ndarray:
    arguments = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0], **changed}
    made = transforms.affine(Image.fromarray(image), interpolation=InterpolationMode.BILINEAR, **arguments)
    return np.array(made)


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_is_a_function_of_seed_number_and_pixels(name: str) -> None:
    batch = pictures()
    whole = perturb(batch, name)
    assert whole.shape == (6, SEQUENCES[name].frames, 32, 32, 3)
    assert whole.dtype == np.uint8
    some = [4, 1]
    np.testing.assert_array_equal(perturb(batch[some], name, indices=some), whole[some])
    drawn = name in ("gaussian_noise", "shot_noise", "snow")
    assert np.array_equal(perturb(batch, name, seed=1), whole) != drawn
    assert np.array_equal(perturb(batch, name, indices=range(1, 7)), whole) != drawn
    frames = whole.astype(int)
    assert all(np.any(frames[:, t] != frames[:, t + 1]) for t in range(frames.shape[1] - 1))


@pytest.mark.parametrize("name", SEQUENCES)
def test_grey_pictures_become_grey_sequences(name: str) -> None:
    grey = pictures()[..., :1]
    made = perturb(grey, name)
    assert made.shape == (6, SEQUENCES[name].frames, 32, 32, 1)
    np.testing.assert_array_equal(perturb(grey[..., 0], name), made[..., 0])
    if name in ("rotate", "translate", "scale", "tilt"):
        np.testing.assert_array_equal(made[..., 0], perturb(np.repeat(grey, 3, -1), name)[..., 0])


@pytest.mark.parametrize("side", [32, 47])
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("rotate", lambda frame: {"angle": frame - 15.0}),
        ("scale", lambda frame: {"scale": (2 * frame + 70) / 100}),
        ("translate", lambda frame: {"translate": [frame - 7, 0]}),
    ],
)
def test_turns_zooms_and_shifts_are_those_of_pillow(
    name: str, side: int, changed: Callable[[int], dict[str, float]]
) -> None:
    batch = pictures(3, side)
    made = perturb(batch, name)
    for image, frames in zip(batch, made, strict=True):
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(frame, affine(image, **changed(number)), f"frame {number}")


def test_zoom_blur_is_the_running_mean_of_pillows_zooms() -> None:
    batch = pictures(3)
    made = perturb(batch, "zoom_blur")
    for image, frames in zip(batch, made, strict=True):
        total = transforms.to_tensor(Image.fromarray(image))
        np.testing.assert_array_equal(frames[0], image)
        for number in range(1, 31):
            total = total + transforms.to_tensor(Image.fromarray(affine(image, scale=1 + 0.004 * number)))
            expected = np.array(transforms.to_pil_image(total / (number + 1)))
            np.testing.assert_array_equal(frames[number], expected, f"frame {number}")


def projection(degrees: float, h: int, w: int) -> np.ndarray:
    """By matrices of four rows: at depth 1, turned about y and x, moved off by the focal length, seen."""
    turn, focal = np.deg2rad(degrees), float(np.hypot(w, h))
    # (x, y) at depth 1 and homogeneous, the picture's middle at the origin.
    flat = np.zeros((4, 3))
    flat[[0, 1], [0, 1]] = 1
    flat[:, 2] = -w / 2, -h / 2, 1, 1
    about_x, about_y, away, seen = np.eye(4), np.eye(4), np.eye(4), np.diag([focal, focal, 1.0, 0.0])[:3]
    about_x[1:3, 1:3] = np.cos(turn) * np.eye(2) - np.sin(turn) * np.array([[0, 1], [-1, 0]])
    about_y[np.ix_([0, 2], [0, 2])] = about_x[1:3, 1:3]
    away[2, 3] = focal
    seen[:2, 2] = w / 2, h / 2
    return seen @ away @ about_x @ about_y @ flat


def test_tilting_is_that_of_opencv() -> None:
    batch = pictures(3)
    made = perturb(batch, "tilt").astype(int)
    expected = np.array(
        [
            [cv2.warpPerspective(each, projection(0.75 * (t - 15), 32, 32), (32, 32)) for t in range(31)]
            for each in batch
        ]
    ).astype(int)
    if int(cv2.__version__.split(".")[0]) < 5:
        np.testing.assert_array_equal(made, expected)
    # OpenCV 5 places samples more finely than the published sets have them.
    assert np.abs(made - expected).mean() < 0.5


def test_noise_is_of_the_published_strength_and_starts_clean() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    for name, deviation in (("gaussian_noise", 0.02 * 255), ("shot_noise", 255 * np.sqrt(128 / 255 / 700))):
        made = perturb(grey, name).astype(float)
        np.testing.assert_array_equal(made[:, 0], grey)
        # Truncation adds a uniform share of a level.
        assert made[:, 1:].std() == pytest.approx(np.hypot(deviation, 12**-0.5), rel=0.02)
        one, other = made[:, 1].reshape(-1), made[:, 2].reshape(-1)
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_brightness_passes_through_the_picture_itself_and_rises() -> None:
    batch = pictures()
    made = perturb(batch, "brightness").astype(int)
    assert np.abs(made[:, 15] - batch).max() <= 1
    grey = perturb(np.full((1, 32, 32, 3), 100, np.uint8), "brightness")[0, :, 0, 0, 0]
    np.testing.assert_allclose(grey, 100 + 255 * 0.015 * (np.arange(31) - 15), atol=1)
    assert np.all(np.diff(made.mean(axis=(0, 2, 3, 4))) > 0)


def test_motion_is_the_corruptions_with_directions_of_its_own() -> None:
    batch = pictures()
    made = perturb(batch, "motion_blur")
    for frame in (0, 7, 20):
        angles = np.full(6, 9.0 * frame - 180.0)
        np.testing.assert_array_equal(made[:, frame], blur.motion_blur(batch, 6.0, 1.8, angles, "cifar"))


def test_flakes_are_few_and_the_picture_pales_by_the_published_share() -> None:
    batch = np.full((60, 32, 32, 3), 80, np.uint8)
    made = perturb(batch, "snow").astype(float)
    # Where no flake lies: .85 x + .15 max(x, 1.5 grey + .5).
    pale = 255 * (0.85 * 80 / 255 + 0.15 * (1.5 * 80 / 255 + 0.5))
    assert np.median(made) == pytest.approx(np.floor(pale), abs=1)
    # N(.05, .3) reaches the cut of .5 in 6.7 % of the layer, which blurring spreads.
    assert 0.05 < (made > pale + 2).mean() < 0.5


PUBLISHED = {
    "gaussian_noise": (31, "first"), "shot_noise": (31, "first"), "motion_blur": (21, "previous"),
    "zoom_blur": (31, "previous"), "snow": (31, "previous"), "brightness": (31, "previous"),
    "translate": (16, "previous"), "rotate": (31, "previous"), "tilt": (31, "previous"), "scale": (31, "previous"),
}  # fmt: skip


def test_frames_and_what_they_are_compared_with_are_the_published() -> None:
    assert {name: (kind.frames, kind.reference) for name, kind in SEQUENCES.items()} == PUBLISHED


# Of made pictures of whole-number arithmetic; the tilt was then OpenCV 4.10's, value for value.
HASHES = {
    "gaussian_noise": "dfc0d769d8cedcb3",
    "shot_noise": "b901a2a6b98c8fa5",
    "motion_blur": "74fb1f93fc00d806",
    "zoom_blur": "d86c6b000c4023fc",
    "snow": "a70561db2988843d",
    "brightness": "fabc76d9acbe0cec",
    "translate": "e9f7a6f1c151d42c",
    "rotate": "0dadc389527950fe",
    "tilt": "c0750a4d9a4b8c29",
    "scale": "6e114080900d659b",
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_no_library_and_no_machine_moves_a_value(name: str) -> None:
    made = perturb(hashed_pictures("32x32"), name, seed=7, indices=[3, 14, 25, 36])
    assert hashlib.sha256(made.tobytes()).hexdigest()[:16] == HASHES[name]


@pytest.mark.parametrize("standardise", ["none", "batch"])
def test_a_student_that_standardises_by_the_batch_sees_one_frame_at_a_time(standardise: Standardisation) -> None:
    batch = pictures(5)
    found = ranked(
        Brightest(), batch, "brightness", numbers=range(5), seed=0, preprocessing=plain(), standardise=standardise,
        device=torch.device("cpu"),
    ).numpy()  # fmt: skip
    frames = perturb(batch, "brightness")
    for t in (0, 15, 30):
        seen = standardised(plain()(frames[:, t]), standardise)
        np.testing.assert_array_equal(found[:, t, 0], seen.mean(dim=(2, 3)).argmax(dim=1).numpy())


def test_one_layer_of_flakes_is_blown_round() -> None:
    black = np.zeros((8, 32, 32, 3), np.uint8)
    made = perturb(black, "snow").astype(float)
    amounts = made.mean(axis=(2, 3, 4))
    # The same flakes in every frame, half-turned copies with them: about as bright.
    assert np.all(np.abs(amounts / amounts.mean(axis=1, keepdims=True) - 1) < 0.25)
    np.testing.assert_array_equal(made, made[:, :, ::-1, ::-1])


def test_flips_are_counted_against_the_frame_that_the_perturbation_names() -> None:
    classes = np.array([[1, 2, 2], [3, 3, 1]])
    assert flip_probability(classes, PREVIOUS) == 50.0  # 1→2, 2=2, 3=3, 3→1
    assert flip_probability(classes, FIRST) == 75.0  # 2≠1, 2≠1, 3=3, 1≠3
    assert flip_probability(np.full((4, 3), 7), PREVIOUS) == 0.0


@pytest.mark.parametrize(
    ("ranking", "distance"),
    [
        ([0, 1, 2, 3, 4], 0),
        ([1, 0, 2, 3, 4], 2),
        ([0, 1, 2, 3, 9], 1),
        ([9, 0, 1, 2, 3], 5),  # each a place down, the last out
        ([5, 6, 7, 8, 9], 15),
        ([4, 3, 2, 1, 0], 12),
    ],
)
def test_top_five_distance(ranking: list[int], distance: int) -> None:
    frames = np.array([[[0, 1, 2, 3, 4], ranking]])
    assert top_distance(frames, PREVIOUS) == distance
    assert top_distance(frames, FIRST) == distance


class Brightest(Network):
    """Says which channel is the strongest."""

    def __init__(self) -> None:
        super().__init__("brightest", Signature(3, 3, (32, 32)))

    @property
    def head(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_what_a_student_says_of_every_frame_is_kept_whole() -> None:
    batch = pictures(10)

    def look(images: np.ndarray, numbers: list[int]) -> np.ndarray:
        return ranked(
            Brightest(), images, "gaussian_noise", numbers=numbers, seed=0, preprocessing=plain(), standardise="none",
            device=torch.device("cpu"),
        ).numpy()  # fmt: skip

    found = look(batch, list(range(10)))
    assert found.shape == (10, 31, 3)  # three classes, so three and not five
    means = perturb(batch, "gaussian_noise").astype(np.float64).mean(axis=(2, 3))
    np.testing.assert_array_equal(found[..., 0], means.argmax(-1))
    np.testing.assert_array_equal(look(batch[[7]], [7])[0], found[7])
    labels = np.array([0, 1] * 5)
    (told,) = stability(Sequences(("gaussian_noise",)), {"gaussian_noise": [torch.from_numpy(found)]}, labels)
    assert isinstance(told, Stability)
    assert (told.frames, told.sequences, told.flips.n, told.note) == (31, 10, 1, "")
    assert told.flips.mean == flip_probability(found[..., 0], SEQUENCES["gaussian_noise"])
    assert told.accuracy.mean == pytest.approx(100 * np.mean(found[..., 0] == labels[:, None]))


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(UnknownNameError, match="tlit"):
        perturb(pictures(1), "tlit")
    with pytest.raises(UsageError, match="--sequence-limit"):
        Sequences(("tilt",), limit=0)
    with pytest.raises(UsageError, match="too small"):
        perturb(np.zeros((1, 4, 4, 3), np.uint8), "tilt")
