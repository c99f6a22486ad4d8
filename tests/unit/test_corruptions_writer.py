"""Sets on disk: the archive's layout, the same bytes whatever the workers or interruptions, honest records."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fredbench.corruptions import NAMES, corrupt, preview, write_set
from fredbench.corruptions.reference import limitations
from fredbench.foundation.errors import CompatibilityError, FredbenchError, StorageError, UsageError

ROOT = Path(__file__).resolve().parent.parent.parent
FEW = ("gaussian_noise", "fog", "pixelate")


def make_pictures(count: int) -> np.ndarray:
    y, x = np.mgrid[0:32, 0:32]
    waves = [128 + 90 * np.sin(x * (1 + i % 5) / 6 + i) * np.cos(y * (1 + i % 3) / 5) for i in range(count)]
    return np.stack([np.stack([wave, 255 - wave, wave[::-1]], axis=-1) for wave in waves]).astype(np.uint8)


PICTURES = make_pictures(60)
LABELS = np.arange(60) % 10


def read_archive(folder: Path, name: str, severity: int, pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """An independent loader of the CIFAR-10-C layout: a block of rows a severity, labels of the first block."""
    rows = np.load(folder / f"{name}.npy")
    labels = np.load(folder / "labels.npy")
    assert rows.dtype == np.uint8 and rows.ndim == 4 and len(rows) == len(labels)
    return rows[(severity - 1) * pictures : severity * pictures], labels[:pictures]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.npy"))}


def test_layout_is_the_archives(tmp_path):
    manifest = write_set(PICTURES, LABELS, tmp_path / "set", seed=5, workers=1)
    for name in NAMES:
        for severity in (1, 3, 5):
            rows, labels = read_archive(tmp_path / "set", name, severity, 60)
            assert np.array_equal(labels, LABELS)
            assert np.array_equal(rows, corrupt(PICTURES, name, severity, seed=5))
    labels = np.load(tmp_path / "set" / "labels.npy")
    assert labels.dtype == np.uint8 and np.array_equal(labels, np.tile(LABELS, 5))
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == sorted(
        ["labels.npy", "manifest.json", *(f"{name}.npy" for name in NAMES)]
    )
    on_disk = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert on_disk == json.loads(json.dumps(manifest))
    assert on_disk["profile"] == "cifar" and on_disk["seed"] == 5 and on_disk["severities"] == [1, 2, 3, 4, 5]
    assert on_disk["pictures"] == 60 and on_disk["rows"] == 300 and on_disk["numbers"] is None
    assert on_disk["frost"].startswith("imagecorruptions sha256:")
    assert {name: entry["sha256"] for name, entry in on_disk["files"].items()} == digests(tmp_path / "set")


def test_subset_has_the_same_rows_as_the_whole(tmp_path):
    chosen = np.array([3, 17, 58])
    write_set(PICTURES[chosen], LABELS[chosen], tmp_path, corruptions=FEW, severities=[4, 2], indices=chosen)
    rows = np.load(tmp_path / "fog.npy")
    assert np.array_equal(rows[:3], corrupt(PICTURES, "fog", 2)[chosen])
    assert np.array_equal(rows[3:], corrupt(PICTURES, "fog", 4)[chosen])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["numbers"] == chosen.tolist() and manifest["severities"] == [2, 4]


def test_workers_give_the_same_bytes(tmp_path):
    # Enough pictures for processes to be worth their start.
    many = np.tile(make_pictures(50), (52, 1, 1, 1))
    labels = np.zeros(len(many), int)
    for workers in (1, 2, 3):
        write_set(
            many, labels, tmp_path / str(workers), corruptions=(*FEW, "frost"), severities=[2, 4], workers=workers
        )
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "3")


def test_finished_files_are_kept_and_damaged_ones_made_again(tmp_path):
    write_set(PICTURES, LABELS, tmp_path, corruptions=FEW, severities=[1])
    before = digests(tmp_path)
    stamps = {name: (tmp_path / f"{name}.npy").stat().st_mtime_ns for name in FEW}
    with open(tmp_path / "fog.npy", "r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01\x02")
    (tmp_path / "pixelate.npy").unlink()
    write_set(PICTURES, LABELS, tmp_path, corruptions=FEW, severities=[1])
    assert digests(tmp_path) == before
    assert (tmp_path / "gaussian_noise.npy").stat().st_mtime_ns == stamps["gaussian_noise"]
    assert (tmp_path / "fog.npy").stat().st_mtime_ns != stamps["fog"]


def test_corruptions_can_be_added_but_sets_do_not_mix(tmp_path):
    write_set(PICTURES, LABELS, tmp_path, corruptions=["fog"], severities=[1])
    manifest = write_set(PICTURES, LABELS, tmp_path, corruptions=["snow"], severities=[1])
    assert manifest["corruptions"] == ["snow", "fog"]
    with pytest.raises(UsageError, match="another set"):
        write_set(PICTURES, LABELS, tmp_path, corruptions=["snow"], severities=[1], seed=1)
    manifest = write_set(PICTURES, LABELS, tmp_path, corruptions=["snow", "fog"], severities=[1], seed=1)
    assert np.array_equal(np.load(tmp_path / "fog.npy"), corrupt(PICTURES, "fog", 1, seed=1))


def test_a_strangers_archive_is_not_overwritten(tmp_path):
    (tmp_path / "fog.npy").write_bytes(b"precious")
    with pytest.raises(UsageError, match="did not write"):
        write_set(PICTURES, LABELS, tmp_path, corruptions=["fog"])
    assert (tmp_path / "fog.npy").read_bytes() == b"precious"


def test_two_writers_do_not_meet(tmp_path, monkeypatch):
    """The second waits for the first, as whoever wants a run's folder does, and not for ever."""
    from filelock import FileLock

    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", "0.2")
    with FileLock(tmp_path / ".lock"), pytest.raises(StorageError, match="another process"):
        write_set(PICTURES, LABELS, tmp_path, corruptions=["fog"])


KILLED = """
import sys
import numpy as np
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_corruptions_writer import make_pictures
from fredbench.corruptions import write_set
write_set(make_pictures(1000), np.arange(1000) % 10, Path({out!r}), workers=2, seed=3, severities=[2, 5])
"""


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def start(out: Path) -> subprocess.Popen:
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand pictures under all 15, made by one worker in one go."""
    out = tmp_path_factory.mktemp("thousand")
    labels = np.arange(1000) % 10
    write_set(make_pictures(1000), labels, out, workers=1, seed=3, severities=[2, 5])
    return out


@pytest.mark.parametrize("order", ["first hundred", "shuffled"])
def test_pictures_alone_or_shuffled_have_the_bytes_of_the_whole(tmp_path, thousand, order):
    numbers = np.arange(100) if order == "first hundred" else np.random.default_rng(0).permutation(1000)
    pictures, labels = make_pictures(1000)[numbers], numbers % 10
    write_set(pictures, labels, tmp_path, workers=2, seed=3, severities=[2, 5], indices=numbers)
    for name in NAMES:
        whole, part = np.load(thousand / f"{name}.npy"), np.load(tmp_path / f"{name}.npy")
        assert np.array_equal(part, np.concatenate([whole[numbers], whole[1000 + numbers]])), name


def test_a_killed_run_of_two_workers_goes_on_to_the_same_bytes(tmp_path, thousand):
    broken = tmp_path / "broken"
    process = start(broken)
    deadline = time.monotonic() + 120
    while not list(broken.glob("*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path.name for path in broken.glob("*.npy")}
    assert finished and not (broken / "manifest.json").exists(), "the run was not killed in its middle"
    for name in finished:
        # What has its final name is whole.
        assert np.load(broken / name, mmap_mode="r").shape == (2000, 32, 32, 3)
    again = start(broken)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert digests(broken) == digests(thousand)
    assert not parts(broken) and not (broken / ".records").exists()


def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch):
    from fredbench.corruptions import jobs

    def fail(self, job):
        raise StorageError("no space left", hint="free some")

    monkeypatch.setattr(jobs.Bench, "do", fail)
    with pytest.raises(StorageError):
        write_set(PICTURES, LABELS, tmp_path, corruptions=["fog"])
    assert not parts(tmp_path) and not list(tmp_path.glob("*.npy"))


def test_workers_hand_errors_back(tmp_path):
    from fredbench.corruptions.jobs import Job, Setup
    from fredbench.corruptions.workers import run_jobs

    np.save(tmp_path / "pictures.npy", PICTURES)
    np.save(tmp_path / "numbers.npy", np.arange(60))
    places = str(tmp_path / "pictures.npy"), str(tmp_path / "numbers.npy")
    (tmp_path / "out").write_bytes(bytes(10))
    setup = Setup(*places, "cifar", 0, f"folder:{tmp_path}", False, "fredbench")
    work = [Job("frost", 1, 0, 60, str(tmp_path / "out"), 0)] * 2
    with pytest.raises(FredbenchError, match="frost texture") as caught:
        list(run_jobs(setup, work, 2))
    assert caught.value.hint and type(caught.value).__name__ == "DataError"


def test_workers_import_no_torch(tmp_path):
    np.save(tmp_path / "pictures.npy", PICTURES)
    np.save(tmp_path / "numbers.npy", np.arange(60))
    (tmp_path / "out").write_bytes(bytes(10))
    setup = {
        "pictures": str(tmp_path / "pictures.npy"), "numbers": str(tmp_path / "numbers.npy"), "profile": "cifar",
        "seed": 0, "frost": "files", "archive_jpeg": False, "engine": "fredbench",
    }  # fmt: skip
    lines = [json.dumps(setup)]
    for name in NAMES:
        job = {"name": name, "severity": 3, "start": 0, "stop": 4, "path": str(tmp_path / "out"), "offset": 0}
        lines.append(json.dumps(job))
    code = "import sys; from fredbench.corruptions.worker import main; main(); sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(lines), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"done": 4}] * 15


@pytest.mark.parametrize(
    "change",
    [
        {"labels": LABELS[:5]}, {"labels": LABELS.astype(float)}, {"images": PICTURES[:0], "labels": LABELS[:0]},
        {"severities": [0]}, {"corruptions": ["fogg"]}, {"corruptions": []}, {"profile": "cifer"}, {"workers": 0},
        {"indices": [1, 2]}, {"engine": "imagecorruptions"},
    ],
)  # fmt: skip
def test_bad_requests_write_nothing(tmp_path, change):
    arguments = {"images": PICTURES, "labels": LABELS, "corruptions": ["fog"], **change}
    with pytest.raises(UsageError) as caught:
        write_set(arguments.pop("images"), arguments.pop("labels"), tmp_path / "set", **arguments)
    assert caught.value.hint
    assert not (tmp_path / "set").exists()


def test_the_package_runs_as_an_engine(tmp_path):
    arguments = {"profile": "imagenet", "engine": "imagecorruptions", "workers": 1}
    write_set(PICTURES[:4], LABELS[:4], tmp_path / "package", severities=[3], **arguments)
    ours = corrupt(PICTURES[:4], "defocus_blur", 3, profile="imagenet")
    assert np.array_equal(np.load(tmp_path / "package" / "defocus_blur.npy"), ours)
    state = np.random.get_state()[1].copy()
    write_set(PICTURES[:4], LABELS[:4], tmp_path / "again", severities=[3], **arguments)
    assert digests(tmp_path / "package") == digests(tmp_path / "again")
    assert np.array_equal(np.random.get_state()[1], state)
    assert any("six textures" in sentence for sentence in limitations(["frost"]))


def test_the_engine_says_what_an_old_package_cannot_do(tmp_path, monkeypatch):
    import imagecorruptions

    def broken(picture, severity=1):
        raise AttributeError("`np.float_` was removed")

    monkeypatch.setitem(imagecorruptions.corruption_dict, "fog", broken)
    monkeypatch.setitem(imagecorruptions.corruption_dict, "glass_blur", lambda picture, severity=1: picture)
    with pytest.raises(CompatibilityError, match="cannot do fog"):
        write_set(
            PICTURES[:1], LABELS[:1], tmp_path, corruptions=["fog"], profile="imagenet", engine="imagecorruptions",
            workers=1,
        )  # fmt: skip
    assert any("no seed controls" in sentence for sentence in limitations(["glass_blur"]))


def test_preview_draws_what_the_set_holds(tmp_path):
    path = preview(PICTURES[7], tmp_path / "grid.png", number=7, seed=2)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[2] == 3 and pixels.shape[0] > 15 * 96 and pixels.shape[1] > 6 * 96
    # The last row is JPEG, the last column severity 5, each picture enlarged three times.
    cell = pixels[-100:-4, -100:-4][1::3, 1::3]
    assert np.array_equal(cell, corrupt(PICTURES[7:8], "jpeg_compression", 5, indices=[7])[0])
    with pytest.raises(UsageError):
        preview(PICTURES[7], tmp_path / "grid.nothing")


def test_command_line_writes_digits_and_prints_the_folder(tmp_path):
    from fredbench.cli.corrupt import command

    arguments = ["digits", "--limit", "20", "--corruption", "fog", "--severity", "2", "--out", str(tmp_path / "set")]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "set")
    assert np.load(tmp_path / "set" / "fog.npy").shape == (20, 32, 32, 3)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["source"]["dataset"] == "digits" and manifest["numbers"][-1] == 499
    done = CliRunner().invoke(command, ["digits", "--preview", str(tmp_path / "g.png"), "--severity", "1"])
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "g.png")
    for wrong in (["digits"], ["digits", "--preview", "x.png", "--picture", "500"], [*arguments, "--frost", "nowhere"]):
        assert isinstance(CliRunner().invoke(command, wrong).exception, UsageError)


def test_the_constants_follow_the_size_unless_they_are_named(tmp_path):
    from fredbench.cli.corrupt import command

    for side in (64, 96):
        for number in range(4):
            for label in ("ant", "bee"):
                file = tmp_path / str(side) / label / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((side, side, 3), 40 * number, np.uint8)).save(file)
    for side, asked, expected in ((64, [], "cifar"), (96, [], "imagenet"), (96, ["--profile", "cifar"], "cifar")):
        out = tmp_path / f"set {side} {expected}"
        arguments = [f"folder:{tmp_path / str(side)}", "--corruption", "contrast", "--out", str(out), *asked]
        assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
        assert json.loads((out / "manifest.json").read_text())["profile"] == expected


def test_help_ends_with_two_examples():
    from fredbench.cli.corrupt import command

    lines = CliRunner().invoke(command, ["--help"]).stdout.rstrip().splitlines()
    assert all(line.strip().startswith("fredbench corrupt ") for line in lines[-2:])


@pytest.mark.slow
def test_whole_suite_has_the_archives_shape(tmp_path, real_data):
    environment = {**os.environ, "FREDBENCH_DATA": str(real_data)}
    out = tmp_path / "CIFAR-10-C"
    command = [sys.executable, "-m", "fredbench", "corrupt", "cifar10", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    labels = np.load(real_data / "cifar10" / "test_labels.npy")
    for name in NAMES:
        rows, found = read_archive(out, name, 5, 10000)
        assert rows.shape == (10000, 32, 32, 3) and np.array_equal(found, labels)


def noted(folder: Path, **asked: object) -> tuple[dict, str]:
    """The manifest of a set of fog, and what lies in its NOTE.md."""
    manifest = write_set(PICTURES[:20], LABELS[:20], folder, corruptions=["fog"], workers=1, **asked)
    note = folder / "NOTE.md"
    return manifest, note.read_text() if note.is_file() else ""


@pytest.mark.parametrize(
    "asked,words",
    [
        ({"severities": (2, 4)}, "severity 2, 4 only"),
        ({"indices": np.arange(20) * 3, "total": 60}, "20 of 60 pictures"),
    ],
)
def test_a_part_of_a_set_says_that_it_is_none_to_be_cut_at_ten_thousands(tmp_path, capsys, asked, words):
    manifest, note = noted(tmp_path / "set", **asked)
    assert manifest["whole"] is False and any(words in line for line in manifest["notes"])
    assert words in note and "multiples of 20" in note and words in capsys.readouterr().err


def test_a_part_that_is_completed_loses_its_note(tmp_path):
    folder = tmp_path / "set"
    assert noted(folder, severities=(1,))[1]
    manifest, note = noted(folder)
    assert manifest["whole"] is True and manifest["notes"] == [] and note == ""


def test_grey_pictures_are_written_with_their_one_channel(tmp_path):
    grey = PICTURES[:20, ..., :1]
    for engine, profile in (("fredbench", "cifar"), ("imagecorruptions", "imagenet")):
        folder = tmp_path / engine
        write_set(grey, LABELS[:20], folder, corruptions=["contrast"], engine=engine, profile=profile, workers=1)
        rows = np.load(folder / "contrast.npy")
        assert rows.shape == (100, 32, 32, 1)
        wide = tmp_path / f"{engine}-wide"
        write_set(
            np.repeat(grey, 3, axis=3), LABELS[:20], wide, corruptions=["contrast"], engine=engine, profile=profile,
            workers=1,
        )  # fmt: skip
        assert np.array_equal(rows, np.load(wide / "contrast.npy")[..., :1])


def test_a_set_below_32_pixels_says_whose_constants_it_has(tmp_path):
    small = PICTURES[:20, :28, :28]
    manifest = write_set(small, LABELS[:20], tmp_path / "set", corruptions=["fog"], workers=1)
    assert manifest["whole"] is True and "a set of fredbench's own" in manifest["notes"][0]
    assert "28×28" in (tmp_path / "set" / "NOTE.md").read_text()


def test_the_training_split_is_corrupted_on_request_and_says_so(tmp_path):
    from fredbench.cli.corrupt import command
    from fredbench.datasets import load_dataset

    asked = ["digits", "--split", "train", "--out", str(tmp_path / "set"), "--corruption", "contrast", "--workers", "1"]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, done.output
    train = load_dataset("digits").train
    assert np.array_equal(
        np.load(tmp_path / "set" / "contrast.npy")[: len(train)], corrupt(train.images, "contrast", 1)
    )
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["source"]["split"] == "train" and manifest["source"]["fingerprint"] == train.fingerprint
    assert "train split" in (tmp_path / "set" / "NOTE.md").read_text()
