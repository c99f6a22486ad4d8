"""`fredbench perturb`: write perturbation sequences, or draw those of one picture."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples, made_options
from fredbench.cli.pictures import check_place, chosen, described, one_picture
from fredbench.corruptions.sequences import sequences_named
from fredbench.datasets import load_dataset

__all__ = ["command"]


@click.command(
    "perturb",
    epilog=examples(
        "fredbench perturb digits --preview sequences.png",
        "fredbench perturb cifar10 --sequence tilt --limit 1000 --out CIFAR-10-P",
    ),
)
@click.argument("dataset")
@made_options("the sequences", "along every perturbation")
@click.option(
    "--sequence", "names", multiple=True, metavar="NAME|all",
    help="Only this one (repeatable; see `fredbench list sequences`).  [default: all]",
)  # fmt: skip
@data_options
def command(
    dataset: str, out: Path | None, sheet: Path | None, names: tuple[str, ...], limit: int | None, seed: int,
    picture: int, data: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Write sequences of DATASET's test pictures that change a little from frame to frame, as CIFAR-10-P has them.

    NAME.npy holds uint8 of shape (pictures, frames, height, width, channels). Prints the folder (or the drawn file); a
    rerun keeps finished files. `--sequence` of `evaluate` and `corrupt-eval` scores students on them, unwritten.
    """
    check_place(out, sheet)
    kinds = sequences_named(names or ["all"])
    pictures = load_dataset(dataset, root=data, offline=offline)
    if sheet is not None:
        from fredbench.corruptions.preview import preview_sequences

        drawn = one_picture(pictures, "test", picture)
        click.echo(preview_sequences(drawn, sheet, names=kinds, seed=seed, number=picture))
        return
    from fredbench.corruptions.sequence_writer import write_sequences

    test, indices = pictures.test, chosen(pictures, "test", limit)
    write_sequences(
        test.images[indices], test.labels[indices], Path(str(out)), names=kinds, seed=seed, indices=indices,
        source=described(pictures, "test"), total=len(test),
    )  # fmt: skip
    click.echo(out)
