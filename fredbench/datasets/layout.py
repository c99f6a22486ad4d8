"""Which folders of a tree are its splits: by their names where those are sure, else by being asked; never guessed.

PATH holds `train/<class>/...` with a test split beside it under any name that `split_names` knows, one of them inside
another of the same name (`seg_train/seg_train`) included, or the class folders themselves. What looks like splits but
is not known for sure ends in a `UsageError` whose hint holds the exact name to type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from fredbench.datasets.split_names import SplitName, is_filler, named_split, sure
from fredbench.datasets.truth import Truth, flat_truth
from fredbench.datasets.walking import Node, printable
from fredbench.foundation.errors import DataError, UsageError

__all__ = ["Layout", "Written", "find_layout", "refuse_splits_inside"]

_LAID_OUT = "lay them out as PATH/train/<class>/picture.png, or PATH/<class>/picture.png"


Written = Callable[[Mapping[str, str], str], str]
"""How a folder is written in a command, quoted for a shell: by changes of its options, and a folder in it."""


@dataclass(frozen=True)
class Layout:
    """The folders of the splits; `test` is None where there is none to use, `truth` tells its classes if it is flat.

    notes: what a reader of the numbers must know. unused: why the pictures of other folders are not read, by folder.
    asked: whether the user named the folders. typed: else the name to type so that they are, where the training
    split is not plainly `train/`.
    """

    train: Node
    test: Node | None = None
    truth: Truth | None = None
    notes: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    asked: bool = False
    typed: str = ""


@dataclass(frozen=True)
class _Tree:
    """A walked folder, and how it is written in a command."""

    root: Node
    written: Written

    @property
    def name(self) -> str:
        return printable(self.root.path)

    def typed(self, train: str, test: str = "") -> str:
        """The name to type so that these folders are the splits."""
        asked = {"train": train, "test": test} if test else {"train": train}
        return self.written({key: _escaped(value) for key, value in asked.items()}, "")

    def ask(self, what: str, train: str, test: str = "", *, classes: bool = True) -> UsageError:
        """The refusal that asks: `what` is seen, and what to type if it is meant as splits, or as classes."""
        meant = f"; if these folders are the classes: {self.typed('.')}" if classes else ""
        return UsageError(f"{self.name} {what}", hint=f"name the splits: {self.typed(train, test)}{meant}")


def _escaped(value: str) -> str:
    """A folder's name as the value of an option: what would end it is written as %26 and the like."""
    return re.sub("[%&=?]", lambda match: f"%{ord(match[0]):02X}", value)


def find_layout(root: Node, options: Mapping[str, str], written: Written) -> Layout:
    """The splits of the tree at `root`: those that `train` and `test` in `options` name, else those that names tell.

    `written` gives the dataset's name with further options, for hints. Raises `UsageError` where folders look like
    splits and are not known, and `DataError` where there are no pictures in class folders.
    """
    tree = _Tree(root, written)
    if "train" in options or "test" in options:
        return _named(tree, options)
    if not root.holders:
        raise DataError(f"{tree.name} holds no pictures in class folders{_skipped(root)}", hint=_LAID_OUT)
    structured = {name: node for name, node in root.holders.items() if _inner(node).holders}
    train = _training(tree, structured)
    if train is None:
        _refuse_lookalikes(tree, structured)
        return Layout(root)
    return _beside(tree, structured, train)


def _skipped(root: Node) -> str:
    """Why the files below were skipped, in brackets, commonest first."""
    reasons: dict[str, int] = {}
    for file in root.below():
        why = file.why or "not in a class folder"
        reasons[why] = reasons.get(why, 0) + 1
    told = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:3]
    return f" ({'; '.join(f'{count:,} skipped: {why}' for why, count in told)})" if told else ""


def _named(tree: _Tree, options: Mapping[str, str]) -> Layout:
    if "train" not in options:
        raise UsageError(f"{tree.name}: test= without train=", hint=f"name both: {tree.typed('A', 'B')}")
    nodes = [_found(tree, key, unquote(options[key])) for key in ("train", "test") if key in options]
    if len(nodes) == 2 and nodes[0] is nodes[1]:
        raise UsageError(f"{tree.name}: train and test are the same folder", hint="name two, or leave out test=")
    train, test = nodes[0], nodes[1] if len(nodes) == 2 else None
    truth = _truth(tree.root.path, test, set(train.holders)) if test is not None else None
    if test is not None and truth is not None and truth.fault:
        raise DataError(f"{printable(test.path)} is flat, and {printable(truth.file)} does not help: {truth.fault}",
                        hint="bring the development kit's meta.mat, or class folders")  # fmt: skip
    return Layout(train, test, truth, tuple(_said(tree, train, test, truth)), asked=True)


def _found(tree: _Tree, key: str, where: str) -> Node:
    """The folder that `?train=` or `?test=` names, relative to PATH."""
    node = tree.root
    for part in Path(where).parts:
        if part not in node.folders:
            names = ", ".join(f"{printable(name)}/" for name in sorted(node.folders)[:20]) or "none"
            raise UsageError(f"{printable(node.path)} has no folder {printable(part)}, which {key}= names",
                             hint=f"folders there: {names}")  # fmt: skip
        node = node.folders[part]
    return node


def _inner(node: Node) -> Node:
    """The folder itself, or the one of the same name in it where that is all that it holds."""
    inside = node.holders
    if node.direct == 0 and len(inside) == 1:
        ((name, inner),) = inside.items()
        if inner.holders and _same_split(node.path.name, name):
            return inner
    return node


def _same_split(outer: str, inner: str) -> bool:
    told, within = named_split(outer), named_split(inner)
    return outer.casefold() == inner.casefold() or (
        told is not None and within is not None and told.rank == within.rank and within.rest in {(), told.rest}
    )


def _training(tree: _Tree, structured: Mapping[str, Node]) -> SplitName | None:
    """The training split by its name; None where no folder of class folders is called so. `UsageError` for several."""
    plain = [each for each in sure(structured) if each.training]
    if len(plain) > 1 and plain[0].extra == plain[1].extra:
        several = " and ".join(f"{printable(each.name)}/" for each in plain)
        tests = [each.name for each in sure(structured) if not each.training]
        raise tree.ask(f"holds several training splits: {several}", plain[0].name, *tests[:1], classes=False)
    if plain:
        return plain[0]
    told = [each for each in map(named_split, structured) if each is not None]
    pairs = [one for one in told if one.training and any(not two.training and two.rest == one.rest for two in told)]
    if len(pairs) == 1:
        return pairs[0]
    if told:
        _ask_which(tree, structured, told)
    return None


def _ask_which(tree: _Tree, structured: Mapping[str, Node], told: Sequence[SplitName]) -> None:
    trains = [each.name for each in told if each.training]
    tests = [each.name for each in told if not each.training]
    others = sorted(set(structured) - set(tests) - set(trains), key=lambda name: -structured[name].holds)
    names = ", ".join(f"{printable(each.name)}/" for each in told)
    train = (trains + others + ["A"])[0]
    raise tree.ask(f"holds {names}, which may be splits or classes", train, *tests[:1])


def _refuse_lookalikes(tree: _Tree, structured: Mapping[str, Node]) -> None:
    """`UsageError` where what would be taken for classes looks like splits."""
    if len(tree.root.holders) == 1 and structured:
        ((only, node),) = structured.items()
        what = "the splits" if sure(node.holders) else "the class folders"
        raise UsageError(
            f"{what} of {tree.name} lie in its only folder with pictures, {printable(only)}/",
            hint=f"name that folder: {tree.written({}, only)}",
        )
    refuse_splits_inside(structured.values())
    flat = sure(name for name in tree.root.holders if name not in structured)
    if any(not each.training for each in flat) or len(flat) == len(tree.root.holders):
        names = ", ".join(f"{printable(each.name)}/" for each in flat)
        if flat:
            raise UsageError(
                f"{tree.name} holds {names} with pictures and no class folders, which are splits by their names",
                hint=f"put the pictures into class folders there; if these are classes: {tree.typed('.')}",
            )
    _refuse_equal(tree, structured)


def refuse_splits_inside(classes: Iterable[Node]) -> None:
    """`DataError` for a class folder that holds nothing but splits, or that is one by name and class folders."""
    for node in classes:
        inside = node.holders
        if inside and node.direct == 0 and len(sure(inside)) == len(inside):
            raise DataError(
                f"{printable(node.path)} holds splits ({', '.join(map(printable, inside))}): classes with their splits "
                "inside are not read",
                hint="lay the pictures out as PATH/train/<class>/ and PATH/test/<class>/",
            )
        if inside and sure([node.path.name]):
            raise DataError(
                f"{printable(node.path)} is a split by its name and its folders, and stands among classes",
                hint="name the folders of the splits: folder:PATH?train=A&test=B",
            )


def _refuse_equal(tree: _Tree, structured: Mapping[str, Node]) -> None:
    """Folders that hold the same class folders, two at least, are splits under names that nobody knows."""
    inside = {name: set(_inner(node).holders) for name, node in structured.items()}
    often = Counter(name for names in inside.values() for name in names)
    # Names that stand in one folder only, and folders with fewer than two others, cannot be shared twice.
    inside = {name: {each for each in names if often[each] > 1} for name, names in inside.items()}
    by_size = sorted((n for n in inside if len(inside[n]) > 1), key=lambda name: (-structured[name].holds, name))
    for place, one in enumerate(by_size):
        for two in by_size[place + 1 :]:
            shared = inside[one] & inside[two]
            if len(shared) > 1:
                same = ", ".join(map(printable, sorted(shared)[:3]))
                raise tree.ask(f"holds {printable(one)}/ and {printable(two)}/ with the same folders in them ({same}), "
                               "which look like splits", one, two)  # fmt: skip


def _beside(tree: _Tree, structured: Mapping[str, Node], train: SplitName) -> Layout:
    """The test split that belongs to `train`, and what is said of the other folders."""
    holders, node = tree.root.holders, _inner(structured[train.name])
    classes = set(node.holders)
    told = [each for each in map(named_split, holders) if each is not None and each.rest == train.rest]
    tests = sorted((each for each in told if not each.training), key=lambda each: (each.rank or 0, each.extra))
    usable: list[tuple[SplitName, Truth | None]] = []
    unused: dict[str, str] = {}
    for each in tests:
        if _is_flat(_inner(holders[each.name]), classes):
            truth = _truth(tree.root.path, holders[each.name], classes)
            if truth is None or truth.fault:
                unused[each.name] = _without_truth(holders[each.name], truth)
                continue
            usable.append((each, truth))
        else:
            usable.append((each, None))
    if len(usable) > 1 and (usable[0][0].rank, usable[0][0].extra) == (usable[1][0].rank, usable[1][0].extra):
        several = " and ".join(f"{printable(each.name)}/" for each, _ in usable[:2])
        raise tree.ask(f"holds several test splits: {several}", train.name, usable[0][0].name, classes=False)
    others = [name for name in holders if name != train.name and name not in {each.name for each in tests}]
    if not usable:
        _refuse_unknown_test(tree, train, classes, others)
    unused |= dict.fromkeys([each.name for each, _ in usable[1:]] + others, "not used")
    notes = [
        f"the folder {printable(name)}/ is not used" + ("" if why == "not used" else f": {why}")
        for name, why in unused.items()
    ]
    test, truth = usable[0] if usable else (None, None)
    found = None if test is None else _inner(holders[test.name])
    folders = ["/".join(each.parts) for each in (node, found) if each is not None]
    typed = "" if node.parts == ("train",) else tree.typed(*folders)
    return Layout(node, found, truth, (*_said(tree, node, found, truth), *notes), unused, typed=typed)


def _refuse_unknown_test(tree: _Tree, train: SplitName, classes: set[str], others: Sequence[str]) -> None:
    """`UsageError` where a folder beside `train` may be its test split, or both may be classes."""
    holders = tree.root.holders
    alike = [name for name in others if classes & set(_inner(holders[name]).holders)]
    if alike:
        raise tree.ask(f"holds {printable(alike[0])}/ beside {printable(train.name)}/ with the same folders in it, "
                       "which may be its test split", train.name, alike[0], classes=False)  # fmt: skip
    told = [name for name in others if (each := named_split(name)) is not None and not each.training]
    classlike = [name for name in others if holders[name].direct]
    if told or len(classlike) > 1:
        shown = ", ".join(f"{printable(name)}/" for name in (told or classlike)[:3])
        raise tree.ask(f"holds {printable(train.name)}/ with folders of pictures in it beside {shown}: "
                       "splits or classes?", train.name, *told[:1])  # fmt: skip


def _is_flat(node: Node, classes: set[str]) -> bool:
    """Whether pictures lie in a split without class folders, directly or in one called `images`."""
    inside = set(node.holders)
    return not inside & classes and all(map(is_filler, inside))


def _truth(base: Path, node: Node, classes: set[str]) -> Truth | None:
    return flat_truth(base, node.path) if _is_flat(node, classes) else None


def _without_truth(node: Node, truth: Truth | None) -> str:
    why = "no file tells their classes" if truth is None else f"{printable(truth.file)} does not tell: {truth.fault}"
    return f"its {node.holds:,} pictures lie without class folders, and {why}"


def _said(tree: _Tree, train: Node, test: Node | None, truth: Truth | None) -> list[str]:
    """Which folders the splits are, where that is not `train/` and `test/`."""
    notes = []
    if train.parts not in {(), ("train",)}:
        notes.append(f"the folder {printable('/'.join(train.parts))}/ is the training split")
    if test is not None and test.parts != ("test",):
        notes.append(f"the folder {printable('/'.join(test.parts))}/ is the test split")
    if truth is not None:
        notes.append(f"the classes of its pictures are told by {printable(truth.file.name)}")
    return notes
