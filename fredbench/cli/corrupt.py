"""`fredbench corrupt`: write a corrupted test set, or draw the grid of one picture."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples, made_options
from fredbench.cli.pictures import check_place, chosen, described, one_picture
from fredbench.corruptions import CBAR, CBAR_IMAGENET, NAMES, PROFILES
from fredbench.corruptions.published import EQUAL
from fredbench.corruptions.severities import EngineName
from fredbench.corruptions.textures import FrostSource
from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say

__all__ = ["command"]

# Between the 32 pixels that one table of constants was made for and the 224 of the other.
_SMALL = 64


def _frost_source(text: str) -> FrostSource:
    if text in ("files", "procedural"):
        return "files" if text == "files" else "procedural"
    folder = Path(text)
    if not folder.is_dir():
        raise UsageError(
            f"--frost {text} is no folder", hint="use files, procedural, or a folder of the five photographs"
        )
    return folder


def _write(
    dataset: Dataset, part: str, out: Path, limit: int | None, engine: EngineName, profile: str, names: tuple[str, ...],
    severities: tuple[int, ...], seed: int, workers: int | None, frost: FrostSource, archive_jpeg: bool,
) -> None:  # fmt: skip
    from fredbench.corruptions import write_set
    from fredbench.corruptions.reference import limitations

    if engine == "imagecorruptions":
        for sentence in limitations(names):
            say(f"note: {sentence}")
    split: Split = getattr(dataset, part)
    indices = chosen(dataset, part, limit)
    manifest = write_set(
        split.images[indices], split.labels[indices], out, profile=profile, seed=seed,
        corruptions=names, severities=severities, workers=workers, indices=indices, frost=frost,
        archive_jpeg=archive_jpeg, engine=engine, source=described(dataset, part),
        total=len(split),
    )  # fmt: skip
    for file, entry in manifest["files"].items():
        if "published" in entry:
            say(f"{file} {EQUAL} {entry['published']}")


@click.command(
    "corrupt",
    epilog=examples(
        "fredbench corrupt digits --preview grid.png",
        "fredbench corrupt cifar10 --out cifar10c --corruption fog --corruption snow --limit 1000",
    ),
)
@click.argument("dataset")
@made_options("a corrupted test set", "under every corruption and severity")
@click.option(
    "--profile", type=click.Choice(PROFILES),
    help="Whose constants: CIFAR-10-C's, or ImageNet-C's (made for 224 pixels).  [default: cifar up to 64 pixels]",
)  # fmt: skip
@click.option(
    "--corruption", "names", multiple=True, metavar="NAME",
    help="Only this one (repeatable; see `fredbench list corruptions`).  [default: all 15]",
)  # fmt: skip
@click.option("--cbar", is_flag=True, help="The ten of C-bar, which are unlike the 15, in their place.")
@click.option("--severity", "severities", type=int, multiple=True, help="Only this one (repeatable).  [default: 1-5]")
@click.option(
    "--split", "part", type=click.Choice(("test", "train")), default="test", show_default=True,
    help="Which pictures; a corrupted training split says so in its notes.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one a processor]")
@click.option(
    "--engine", type=click.Choice(("fredbench", "imagecorruptions")), default="fredbench", show_default=True,
    help="The latter runs that package itself, for cross-checks.",
)  # fmt: skip
@click.option(
    "--frost", default="files", show_default=True, metavar="files|procedural|DIR",
    help="Frost photographs: the installed ones, or a folder of them; procedural ones are not the reference.",
)  # fmt: skip
@click.option("--archive-jpeg", is_flag=True, help="Add the JPEG quality 85 at which ImageNet-C is stored.")
@data_options
def command(
    dataset: str, part: str, out: Path | None, sheet: Path | None, profile: str | None, names: tuple[str, ...],
    cbar: bool, severities: tuple[int, ...], limit: int | None, workers: int | None, engine: EngineName, seed: int,
    frost: str, archive_jpeg: bool, picture: int, data: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Write DATASET's test split under 15 corruptions and 5 severities, in the layout of CIFAR-10-C.

    A set of fewer pictures or severities, of another split or below 32 pixels says so in NOTE.md and manifest.json.
    Prints the folder (or the drawn file). A rerun keeps finished files and goes on where it was; the bytes depend on
    the seed and the pictures only, not on workers or processor; a file with the bytes of a published one is named.
    """
    check_place(out, sheet)
    if cbar and names:
        raise UsageError("--cbar names its corruptions itself", hint="leave --corruption out, or --cbar")
    severities, source = severities or (1, 2, 3, 4, 5), _frost_source(frost)
    pictures = load_dataset(dataset, root=data, offline=offline)
    profile = profile or ("cifar" if max(pictures.size) <= _SMALL else "imagenet")
    names = names or ((CBAR if profile == "cifar" else CBAR_IMAGENET) if cbar else NAMES)
    if out is not None:
        _write(pictures, part, out, limit, engine, profile, names, severities, seed, workers, source, archive_jpeg)
        click.echo(out)
        return
    if engine != "fredbench":
        raise UsageError("--preview draws with the fredbench engine only", hint="leave --engine out")
    from fredbench.corruptions import preview

    click.echo(
        preview(
            one_picture(pictures, part, picture), Path(str(sheet)), profile=profile, seed=seed, number=picture,
            corruptions=names, severities=severities, frost=source,
        )
    )  # fmt: skip
