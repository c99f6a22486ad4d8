from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from made_rows import made_calibration, made_row, made_synset, made_trio
from PIL import Image

from fredbench.evaluation.attacked import Attacked, AttackScore
from fredbench.evaluation.spectra import spectrum_of_pixels
from fredbench.evaluation.statistics import summarise
from fredbench.foundation.errors import StorageError
from fredbench.report.html import Section, render, write_page, write_sections
from fredbench.suites.corruption import suite_named

ENVIRONMENT = {"versions": {"torch": "2.0", "numpy": "2.1"}, "commit": "a" * 40 + "+", "device": "cpu", "threads": 1}
SEVERITIES = (1, 2, 3, 4, 5)


class Reader(HTMLParser):
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

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.tags if attribute in attributes]


def page(rows: Any = None, *, synsets: Any = None, suite: Any = None, **changes: Any) -> str:
    rows = made_trio() if rows is None else rows
    if synsets is None:
        kinds = ("fred", "fred", "pixels")
        synsets = {row.label: made_synset(kind) for row, kind in zip(rows, kinds, strict=False)}
    section = Section("a title", rows, SEVERITIES, suite, synsets)
    given = {"title": "a page", "environment": ENVIRONMENT, "commands": ["fredbench distill digits --ipc 1"]}
    return render(sections=[section], **{**given, **changes})


@pytest.fixture(scope="module")
def whole() -> str:
    return page(suite=suite_named("cifar10c"))


def test_nothing_is_loaded_from_elsewhere(whole: str) -> None:
    read = Reader(whole)
    sources = read.values("src") + read.values("srcset")
    assert sources and all(source.startswith("data:") for source in sources)
    assert read.values("href") == [] and "@import" not in whole and "url(" not in whole
    assert {tag for tag, _ in read.tags} & {"link", "iframe", "object", "embed"} == set()
    scripts = [attributes for tag, attributes in read.tags if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json"]


def test_every_picture_decodes(whole: str) -> None:
    kinds = set()
    for source in Reader(whole).values("src") + Reader(whole).values("srcset"):
        head, _, body = source.partition(",")
        data = base64.b64decode(body, validate=True)
        kinds.add(head)
        if "svg" in head:
            ElementTree.fromstring(data.decode())
        else:
            Image.open(io.BytesIO(data)).load()
    assert kinds == {"data:image/png;base64", "data:image/svg+xml;base64"}


def test_the_page_holds_what_it_must(whole: str) -> None:
    text = Reader(whole).text
    for needle in (
        "fred (dm × fred)", "fred (dm × fred) start", "random control", "against random control",
        "CIFAR-10-C", "30,720", "31,040", "mask bits", "torch 2.0", "threads", "fredbench distill digits --ipc 1",
        "ant", "bee", "8 bits", "zero iterations", "its own, so that the spread includes the draw",
    ):  # fmt: skip
        assert needle in text, needle
    assert "prefers-color-scheme: dark" in whole


def test_each_class_has_its_pictures_and_only_fred_has_masks(whole: str) -> None:
    alts = Reader(whole).values("alt")
    assert [sum(alt == f"pictures of class {name}" for alt in alts) for name in ("ant", "bee")] == [3, 3]
    assert [sum(alt == f"frequencies kept for class {name}" for alt in alts) for name in ("ant", "bee")] == [2, 2]


def test_the_numbers_are_inside_as_json_without_the_senders_folders(whole: str) -> None:
    match = re.search(r'<script type="application/json" id="fredbench-rows">(.*?)</script>', whole, re.S)
    assert match is not None
    (section,) = json.loads(match.group(1))
    rows = made_trio()
    assert section["suite"] == "cifar10c" and section["severities"] == list(SEVERITIES)
    assert [row["clean"] for row in section["rows"]] == [row.clean.to_mapping() for row in rows]
    assert [row["run"] for row in section["rows"]] == ["run-1", "run-2", "run-3"]


def test_the_same_input_gives_the_same_page(whole: str) -> None:
    assert page(suite=suite_named("cifar10c")) == whole


def test_hostile_names_stay_text() -> None:
    hostile = '<script>alert("x")</script>'
    row = made_row(run=hostile, method=hostile, recipe=hostile, partial={"train": hostile}, corruptions=())
    text = page(
        [row],
        synsets={row.label: made_synset(classes=(hostile, "bee"))},
        title=hostile,
        commands=[f"echo {hostile}"],
        environment={**ENVIRONMENT, "device_name": hostile},
    )
    scripts = [attributes for tag, attributes in Reader(text).tags if tag == "script"]
    assert len(scripts) == 1 and hostile not in text and hostile in Reader(text).text


def test_what_is_left_out_of_the_pictures_is_said() -> None:
    rows = [made_row(1)]
    many = made_synset("pixels", ipc=18)
    text = Reader(page(rows, synsets={rows[0].label: many})).text
    assert "36 pictures, 18 a class, of which the first 16 are shown" in text


def test_a_clean_only_page_has_no_charts() -> None:
    rows = made_trio(corruptions=())
    text = page(rows)
    assert "data:image/svg+xml" not in text and "Accuracy against severity" not in text
    assert f"{rows[0].clean.mean:.1f}" in Reader(text).text


def test_confidences_and_spectra_stand_where_they_were_measured() -> None:
    rows = [replace(row, calibration=made_calibration(n, brier=n != 1)) for n, row in enumerate(made_trio())]
    synsets = {row.label: made_synset() for row in rows}
    real = spectrum_of_pixels(np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8))
    given = {"title": "t", "environment": ENVIRONMENT, "commands": []}
    text = render(sections=[Section("t", rows, SEVERITIES, None, synsets, real)], **given)
    read = Reader(text)
    for needle in ("Profile", "How far confidences can be trusted", "Brier avg.", "power spectra", "of real ones 9"):
        assert needle in read.text, needle
    assert read.text.count("No Brier score where") == 1 and "white noise" in read.text
    assert text == render(sections=[Section("t", rows, SEVERITIES, None, synsets, real)], **given)
    # One table has these columns, and it is not that of accuracies.
    assert [read.text.count(head) for head in ("NLL clean", "AURC avg.")] == [1, 1]
    alone = page(made_trio(corruptions=()), synsets={})
    for needle in ("Profile", "How far confidences", "power spectra", "Under attack"):
        assert needle not in Reader(alone).text, needle


def test_attacks_have_a_table_and_their_notes() -> None:
    score = AttackScore("pgd20", "linf", 8 / 255, summarise([12.5, 20.25]), summarise([70.0, 80.0]))
    row = made_row(attacked=Attacked(40, summarise([60.0, 62.0]), (score,)))
    text = Reader(page([row], synsets={})).text
    for needle in ("Under attack", "set · L∞ attack", "pgd20", "8/255", "16.4", "(75 %)", "upper bound"):
        assert needle in text, needle


def test_tables_of_one_run_share_a_profile() -> None:
    row = made_row(1)
    cbar = replace(made_row(1, corruptions=("blue_noise_sample", "ripple")), clean=row.clean)
    parts = [Section(name, [each], SEVERITIES, None, {}) for name, each in (("C", row), ("C-bar", cbar))]
    text = Reader(render(title="t", sections=parts, environment=ENVIRONMENT, commands=[])).text
    assert "adversarial (takes" in text and "C-bar (takes" not in text and "was not measured of" not in text


def test_one_severity_needs_no_panels() -> None:
    rows = made_trio(severities=1)
    section = Section("t", rows, (3,), None, {})
    text = render(title="t", sections=[section], environment=ENVIRONMENT, commands=[])
    assert text.count("<picture>") == 3 and "No commands were recorded" in text


def test_a_row_without_its_set_keeps_its_budget() -> None:
    text = page(synsets={})
    assert "What the sets look like" not in text and "31,040" in Reader(text).text


def test_published_rows_are_shown_as_such() -> None:
    published = {
        "clean": {"mean": 60.6, "std": 0.8}, "average": 55.5, "corruptions": {"snow": 57.3},
        "source": "FreD, NeurIPS 2023", "inferred": ["ipc", "severity"],
    }  # fmt: skip
    text = page([made_row(published=published)], synsets={})
    assert 'class="published"' in text and "fred, published in FreD, NeurIPS 2023" in text and "57.3" in text


def test_sections_follow_each_other(tmp_path: Path) -> None:
    parts = [Section(f"part {n}", made_trio(corruptions=()), (), None, {}) for n in (1, 2)]
    write_sections(tmp_path / "p.html", title="both", sections=parts, environment=ENVIRONMENT, commands=[])
    text = (tmp_path / "p.html").read_text()
    assert text.index("part 1") < text.index("part 2")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"
    given: dict[str, Any] = {
        "title": "t", "rows": made_trio(corruptions=()), "severities": (), "suite": None, "synsets": {},
        "environment": ENVIRONMENT, "commands": [],
    }  # fmt: skip
    write_page(target, **given)
    before = target.read_text()
    assert before.startswith("<!doctype html>") and before.rstrip().endswith("</html>")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        write_page(target, **{**given, "title": "another"})
    assert target.read_text() == before and [file.name for file in tmp_path.iterdir()] == ["page.html"]
