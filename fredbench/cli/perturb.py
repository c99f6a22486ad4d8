"""`fredbench perturb`: write perturbation sequences, or draw those of one picture."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples
from fredbench.corruptions.sequences import sequences_named
from fredbench.datasets import load_dataset
from fredbench.foundation.errors import UsageError

__all__ = ["command"]


@click.command(
    "perturb",
    epilog=examples(
        "fredbench perturb digits --preview sequences.png",
        "fredbench perturb cifar10 --sequence tilt --limit 1000 --out CIFAR-10-P",
    ),
)
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write the sequences to.")
@click.option(
    "--preview", "sheet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Draw one picture along every perturbation instead.",
)  # fmt: skip
@click.option(
    "--sequence", "names", multiple=True, metavar="NAME|all",
    help="Only this one (repeatable; see `fredbench list sequences`).  [default: all]",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pictures, evenly spaced.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--picture", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the one to draw.")
@data_options
def command(
    dataset: str, out: Path | None, sheet: Path | None, names: tuple[str, ...], limit: int | None, seed: int,
    picture: int, data: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Write sequences of DATASET's test pictures that change a little from frame to frame, as CIFAR-10-P has them.

    NAME.npy holds uint8 of shape (pictures, frames, height, width, channels). Prints the folder (or the drawn file); a
    rerun keeps finished files. `--sequence` of `evaluate` and `corrupt-eval` scores students on them, unwritten.
    """
    if (out is None) == (sheet is None):
        raise UsageError(
            "sequences of what kind?",
            hint="give --out DIR to write them, or --preview FILE.png to look at one picture's",
        )
    chosen = sequences_named(names or ["all"])
    loaded = load_dataset(dataset, root=data, offline=offline)
    test = loaded.test
    if sheet is not None:
        if picture >= len(test):
            raise UsageError(f"{dataset} has no test picture {picture}", hint=f"choose --picture 0 to {len(test) - 1}")
        from fredbench.corruptions.preview import preview_sequences

        click.echo(preview_sequences(test.images[picture], sheet, names=chosen, seed=seed, number=picture))
        return
    from fredbench.corruptions import evenly_spaced
    from fredbench.corruptions.sequence_writer import write_sequences

    indices = evenly_spaced(len(test), min(limit or len(test), len(test)))
    source = {
        "dataset": loaded.title, "split": "test", "fingerprint": test.fingerprint,
        "partial": {key: value for key, value in loaded.partial.items() if key == "test"},
    }  # fmt: skip
    write_sequences(
        test.images[indices], test.labels[indices], Path(str(out)), names=chosen, seed=seed, indices=indices,
        source=source, total=len(test),
    )  # fmt: skip
    click.echo(out)
