"""The board: from result files of both forms to a site that keeps apart what is not comparable and fetches nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chromium import browser
from commands import ROOT, interpret, invoke
from made_results import PICTURES, made_document, written

from fredbench.evaluation.comparison import Comparison
from fredbench.evaluation.results.claims import own_claims
from fredbench.evaluation.results.entries import collected
from fredbench.evaluation.rows import Compared
from fredbench.report.board import write_board

HOSTILE = '<img src=x onerror="alert(1)">\'"`{{ 7 * 7 }}</script><script>alert(2)</script>'
OUTSIDE = re.compile(r"https?://|(?:src|href|action)\s*=\s*[\"']?\s*//|url\(|@import|<link|<iframe", re.IGNORECASE)


class Tags(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def site_of(folder: Path, *documents: dict[str, Any]) -> Tags:
    """The front page of a board of `documents`, written below `folder`."""
    places = [written(document, folder / f"in-{number}.json") for number, document in enumerate(documents)]
    entries, broken = collected(places)
    assert broken == []
    write_board(folder / "site", entries, title="A board")
    return Tags((folder / "site" / "index.html").read_text())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board of the repository's own results and of two sets that were made elsewhere."""
    folder = tmp_path_factory.mktemp("board")
    told = {"file": "images_best.pt", "sha256": "1" * 64, "assumed": ["space: own, 98 %"]}
    for number in (1, 2):
        entry = {
            "method": f"imported:set-{number}",
            "objective": "imported",
            "iterations": 0,
            "assumed": tuple(told["assumed"]),
        }
        written(made_document(number, name=f"set {number}", entry=entry, imported=told), folder / f"{number}.json")
    # In an interpreter of its own, as users run it: without the checks of every call's types, in seconds.
    done = interpret("board", ROOT / "results", folder / "1.json", folder / "2.json", "--out", folder / "site")
    assert done.code == 0, done.err
    assert done.out.strip() == str(folder / "site" / "index.html")
    return folder / "site"


def test_every_row_has_a_page_and_every_link_leads_to_one(kept: Path) -> None:
    front = Tags((kept / "index.html").read_text())
    links = [str(a["href"]) for a in front.all("a")]
    assert sorted(links) == sorted(f"rows/{file.name}" for file in (kept / "rows").iterdir()) and len(links) > 100
    for file in (kept / "rows").iterdir():
        for a in Tags(file.read_text()).all("a"):
            assert (kept / "rows" / str(a["href"])).is_file(), (file, a)


def test_no_page_names_an_address_outside(kept: Path) -> None:
    for file in [kept / "index.html", *(kept / "rows").iterdir()]:
        text = file.read_text()
        assert OUTSIDE.search(text) is None, file
        assert "default-src 'none'" in text


def test_every_number_of_the_kept_files_is_on_the_board(kept: Path) -> None:
    front = (kept / "index.html").read_text()
    rows = 0
    for file in (ROOT / "results").glob("*.json"):
        for row in json.loads(file.read_text()).get("rows", ()):
            rows += 1
            assert f'data-value="{row["clean"]["mean"]}"' in front
    assert rows > 100


def test_a_row_stands_with_its_control_start_and_what_was_assumed(kept: Path) -> None:
    pages = [file.read_text() for file in (kept / "rows").iterdir()]
    (ours,) = [text for text in pages if "<h1>set 1</h1>" in text]
    assert "space: own, 98 %" in ours and "random control, IPC 1" in ours and "student 3" in ours
    front = Tags((kept / "index.html").read_text())
    assert front.text.count("made elsewhere") == 2
    grids = [text for text in pages if "<h1>dm (dm × pixels), IPC 10</h1>" in text]
    assert grids and all("against random control" in text and "dm (dm × pixels) start" in text for text in grids)


def test_stars_are_of_the_test_that_the_file_holds(tmp_path: Path) -> None:
    welch = site_of(tmp_path / "welch", made_document(1))
    document = made_document(1)
    rows = document["scores"][0]["rows"]
    gap = rows["entry"]["clean"]["mean"] - rows["control"]["clean"]["mean"]
    found = Comparison(gap, "paired", (3, 3), PICTURES, abs(gap) / 9, 40.0, 1e-9, 3.0)
    rows["entry"]["compared"] = [Compared("run-1001", rows["entry"]["network"], "clean", found).to_mapping()]
    paired = site_of(tmp_path / "paired", document)
    titles = [
        [str(a["title"]) for a in page.all("th") if "above its control" in str(a.get("title"))]
        for page in (welch, paired)
    ]
    assert ["Welch" in title for (title,) in titles] == [True, False] and "paired over" in titles[1][0]
    assert f"{gap:+.1f}*" in paired.text and f"{gap:+.1f}*" not in welch.text
    rows["entry"]["compared"][0]["difference"] += 1
    assert any("compared[0].difference" in check.what for check in own_claims(document))


OTHER_SETTINGS: tuple[dict[str, Any], ...] = (
    {"data": {"fingerprint": "cd" * 32}}, {"data": {"test_fingerprint": "cd" * 32}}, {"protocol": "fred-literal"},
    {"limit": None}, {"limit": 100}, {"scale": "paper"}, {"suite": {"pixels": "3"}}, {"corrupted_limit": 50},
    {"suite": {"constants": {"dataset": "cifar10", "corruptions": ["brightness", "contrast"], "seed": 1}}},
    {"source": "official"}, {"data": {"partial": {"train": "half of it"}}}, {"data": {"dataset": "svhn"}},
)  # fmt: skip


def test_what_is_of_another_setting_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    others = [made_document(3 + number, **change) for number, change in enumerate(OTHER_SETTINGS)]
    front = site_of(tmp_path, made_document(1), made_document(2), *others)
    assert len(front.all("table")) == 1 + len(OTHER_SETTINGS)
    rows = sorted(len(Tags(part).all("tr")) - 1 for part in _sections(tmp_path / "site"))
    assert rows == [2] * len(OTHER_SETTINGS) + [4]


LABELLED = {"train_labels": "relabelled"}
TEACHER = {"network": "mlp", "recipe": "2 epochs", "seed": 0, "split": "train", "digest": "ab" * 8, "clean": 50.0}


def told(number: int, roles: tuple[str, ...] = ("entry", "control"), **changes: Any) -> dict[str, Any]:
    """A result whose rows, of these roles, are of another protocol of labels."""
    document = made_document(number)
    for role in roles:
        document["scores"][0]["rows"][role] |= changes
    return document


def test_what_students_were_told_is_part_of_the_setting(tmp_path: Path) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"train_labels": "hard"}, {"augmentation": "none"}, {"train_labels": "relabelled", "teacher": TEACHER},
        {"train_labels": "relabelled", "teacher": {**TEACHER, "digest": "cd" * 8}},
    )  # fmt: skip
    front = site_of(tmp_path, made_document(1), *(told(2 + n, **change) for n, change in enumerate(changes)))
    assert len(front.all("table")) == 1 + len(changes)
    assert "relabelled labels by mlp (abababab)" in front.text and "own, augmentation none" in front.text
    # A control that was told something else, and a teacher that nobody names.
    for place, document in (("train_labels", told(9, ("entry",), **changes[0])), ("teacher", told(9, **LABELLED))):
        assert [len(each) for each in collected([written(document, tmp_path / "broken.json")])] == [0, 1]
        assert any(check.what.endswith(place) and check.holds is False for check in own_claims(document))


def _sections(site: Path) -> list[str]:
    return re.findall(r"<section.*?</section>", (site / "index.html").read_text(), re.DOTALL)


def test_stores_merge_and_what_is_the_same_is_shown_once(tmp_path: Path) -> None:
    for folder, numbers in (("one", (1, 2)), ("two/deep", (2, 3))):
        for number in numbers:
            written(made_document(number, name=f"set {number}"), tmp_path / folder / f"{number}.json")
    entries, broken = collected([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "1.json"])
    assert broken == [] and sorted(e.name for e in entries if e.role == "entry") == ["set 1", "set 2", "set 3"]
    assert len(entries) == 6


def test_files_that_contradict_each_other_are_both_shown_and_marked(tmp_path: Path) -> None:
    other = made_document(2, entry={"run": "run-1"})
    front = site_of(tmp_path, made_document(1), other)
    assert front.text.count("files differ") == 2 and len(front.all("tr")) == 5


def test_a_board_that_is_written_again_holds_no_old_page(tmp_path: Path) -> None:
    site_of(tmp_path, made_document(1), made_document(2))
    (tmp_path / "site" / "rows" / "mine.txt").write_text("kept")
    before = (tmp_path / "site" / "index.html").read_text()
    site_of(tmp_path, made_document(1))
    assert len(list((tmp_path / "site" / "rows").glob("*.html"))) == 2
    assert (tmp_path / "site" / "rows" / "mine.txt").is_file()
    site_of(tmp_path, made_document(1), made_document(2))
    assert (tmp_path / "site" / "index.html").read_text() == before


def hostile_document() -> dict[str, Any]:
    told = {"file": HOSTILE, "sha256": HOSTILE, "assumed": [HOSTILE]}
    entry = {"method": HOSTILE, "recipe": HOSTILE, "assumed": (HOSTILE,), "run": HOSTILE}
    data = {"dataset": HOSTILE, "partial": {HOSTILE: HOSTILE}}
    found = made_document(
        1, name=HOSTILE[:200], entry=entry, imported=told, data=data, protocol=HOSTILE, scale=HOSTILE, network=HOSTILE,
        suite={"name": HOSTILE, "asked": HOSTILE, "title": HOSTILE}, bytes={'x" onclick="alert(3)': 7},
    )  # fmt: skip
    found["sets"]["entry"]["made_by"] = found["sets"]["entry"]["made_in"]["device"] = HOSTILE
    found["sets"]["entry"]["spec"]["objective"] = {HOSTILE: HOSTILE}
    return found


def test_hostile_names_are_text_everywhere(tmp_path: Path) -> None:
    front = site_of(tmp_path, hostile_document())
    assert HOSTILE[:200] in front.text
    for file in (tmp_path / "site").rglob("*"):
        assert re.fullmatch(r"rows|index\.html|[0-9a-f]{16}\.html", file.name)
        if file.is_file():
            page = Tags(file.read_text())
            assert page.all("img") == [] and len(page.all("script")) == 1
            assert [a for _, each in page.tags for a in each if a.startswith("on")] == []


BROKEN = {
    "cut": lambda d: json.dumps(d)[:-40],
    "no number": lambda d: json.dumps(d).replace('"seed": 0', '"seed": NaN'),
    "endless": lambda d: json.dumps(d).replace('"n": 3', '"n": 1e999', 1),
    "twice": lambda d: json.dumps(d)[:-1] + ', "name": "other"}',
    "deep": lambda d: '{"schema": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "later": lambda d: json.dumps({**d, "schema": "fredbench-result/2"}),
    "lacking": lambda d: json.dumps({key: d[key] for key in d if key != "sets"}),
    "above 100": lambda d: json.dumps(d).replace('"mean": ', '"mean": 1', 1),
    "moved": lambda d: json.dumps({**d, "scores": [_moved(d["scores"][0])]}),
    "bytes of text": lambda d: _with(d, storage="x"),
    "hostile bytes": lambda d: _with(d, storage={"bytes": 1, "bytes_coded": "<img>"}),
    "a teacher of numbers": lambda d: _with(d, train_labels="relabelled", teacher={"network": 1}),
    "labels in a list": lambda d: _with(d, train_labels=[1]),
    "more bytes than there are": lambda d: json.dumps(d).replace('"stored": ', '"stored": ' + "9" * 400),
    "published without end": lambda d: _with(d, published={**_PUBLISHED, "clean": {"mean": 10**400, "std": None}}),
    "calibrated without end": lambda d: _with(d, calibration={"clean": {"nll": _summary(10**400), "ece": _summary(1)}}),
    "spread without end": lambda d: _with(d, calibration={"clean": {"nll": _summary(1), "ece": _summary(1e200)}}),
    "a comparison with a list": lambda d: _with(d, compared=[{"to": ["run"]}]),
    "no network": lambda d: _with(d, by_network=[]),
    "a mean of nothing": lambda d: _with(d, over_networks=3),
}
_PUBLISHED = {"average": None, "corruptions": {}, "source": "a paper", "inferred": []}


def _summary(mean: float) -> dict[str, Any]:
    return {"mean": mean, "std": mean, "n": 3}


def _with(document: dict[str, Any], **changes: Any) -> str:
    """The document as JSON, its entry's row saying something more."""
    document["scores"][0]["rows"]["entry"] |= changes
    return json.dumps(document)


def _moved(score: dict[str, Any]) -> dict[str, Any]:
    score["rows"]["entry"]["average"]["mean"] += 0.01
    return score


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_named_and_left_out_with_code_1(tmp_path: Path, how: str) -> None:
    written(made_document(1), tmp_path / "files" / "whole.json")
    (tmp_path / "files" / "broken.json").write_text(BROKEN[how](made_document(2)))
    written({"other": "thing"}, tmp_path / "files" / "package.json")
    done = invoke("board", tmp_path / "files", "--out", tmp_path / "site")
    assert done.code == 1 and "Traceback" not in done.err
    assert "left out: " in done.err and "broken.json" in done.err and "package.json" not in done.err
    assert len(Tags((tmp_path / "site" / "index.html").read_text()).all("tr")) == 3


OLDER = {
    "a ledger of words": {"result": {"ledger": {"params": "many"}}},
    "a list for a companion": {"beside": {"control": ["run"]}, "command": 3},
    "no environment": {"made_in": "here"},
}


@pytest.mark.parametrize("how", OLDER)
def test_a_broken_file_of_an_older_form_is_left_out_too(tmp_path: Path, how: str) -> None:
    row = {**made_document(2)["scores"][0]["rows"]["entry"], **OLDER[how]}
    row["spec"] = {"run": {"fingerprint": "ab"}, "student": {}}
    written({"format": "fredbench-grid", "fingerprint": "ab", "rows": [row]}, tmp_path / "files" / "broken.json")
    written(made_document(1), tmp_path / "files" / "whole.json")
    done = invoke("board", tmp_path / "files", "--out", tmp_path / "site")
    assert done.code == 1 and "Traceback" not in done.err and "broken.json" in done.err


def test_nothing_to_show_and_a_place_that_is_anothers_are_refused(tmp_path: Path) -> None:
    invoke("board", tmp_path / "none", "--out", tmp_path / "site").problem()
    (tmp_path / "empty").mkdir()
    invoke("board", tmp_path / "empty", "--out", tmp_path / "site").problem()
    assert not (tmp_path / "site").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "index.html").write_text("<p>mine")
    file = written(made_document(1), tmp_path / "one.json")
    invoke("board", file, "--out", tmp_path / "home").problem()
    assert (tmp_path / "home" / "index.html").read_text() == "<p>mine"
    written([1], tmp_path / "list.json")
    assert invoke("board", tmp_path / "list.json", file, "--out", tmp_path / "site").code == 1


def test_it_works_in_a_browser_from_disk_and_on_a_phone(kept: Path, tmp_path: Path) -> None:
    """Sorting by keyboard, filters, dark and narrow: no error, nothing asked for but the pages themselves."""
    site_of(tmp_path, hostile_document(), made_document(2))
    count = 'document.querySelectorAll("section:not([hidden]) tbody tr:not([hidden])").length'
    with browser() as page:
        page.open(kept / "index.html", width=1280)
        whole = page.asked(count)
        page.asked('document.querySelector("section thead th:nth-child(4) button").focus()')
        page.press("Enter", 13)
        head = 'document.querySelector("section thead th:nth-child(4)").getAttribute("aria-sort")'
        shown = '[...document.querySelector("tbody").rows].map((row) => Number(row.cells[3].dataset.value))'
        assert page.asked(head) == "descending" and page.asked(shown) == sorted(page.asked(shown), reverse=True)
        page.press("Enter", 13)
        assert page.asked(head) == "ascending" and page.asked(shown) == sorted(page.asked(shown))
        for name, value in (("[data-filter=dataset]", "digits"), ("#kind", "1"), ("#most", "100000")):
            page.asked(
                f"(() => {{ const field = document.querySelector({name!r}); field.value = {value!r};"
                " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
            )
        assert 0 < page.asked(count) < whole
        kinds = "section:not([hidden]) th[data-kind]:not([hidden])"
        assert set(page.asked(f"[...document.querySelectorAll('{kinds}')].map((t) => t.textContent)")) == {"strict"}
        page.asked('document.querySelector("#companions").click()')
        assert page.asked('document.querySelectorAll("section:not([hidden]) tr.companion:not([hidden])").length') == 0
        rows = sorted((kept / "rows").iterdir())
        for file in (kept / "index.html", rows[0], rows[-1], *(tmp_path / "site").rglob("*.html")):
            for dark in (False, True):
                page.open(file, width=390, dark=dark)
                assert page.asked("document.documentElement.scrollWidth") <= 390, file
                page.picture(tmp_path / "seen.png")
        assert page.asked("document.images.length") == 0
        assert page.errors == [] and page.requests
        assert [address for address in page.requests if not address.startswith("file://")] == []


def test_budgets_and_limits_are_said(tmp_path: Path) -> None:
    front = site_of(tmp_path, made_document(1), made_document(2, bytes={"packed": 5_000}))
    assert "bytes stored" in front.text and "bytes packed" in front.text and f"{PICTURES:,} evenly spaced" in front.text
