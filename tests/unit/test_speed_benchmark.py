"""`python -m benchmarks`: ratios and noise, goals, the gate and its bounds, the form of result files; a tiny run."""

from __future__ import annotations

import copy
import dataclasses
import json
import mmap
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT

from fredbench.foundation.config import from_mapping
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.parameterizations.budget import Budget

sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as benchmark
from benchmarks import growth, judging, kept, profiling
from benchmarks.measuring import in_turns, most_held
from benchmarks.subjects import GIB, SUBJECTS, TINY, make, tiny


def rounds(*ratios: float) -> list[dict[str, float]]:
    return [{"ours": 0.5, "plain": 0.5 * ratio} for ratio in ratios]


def subject(*ratios: float, gib: float = 0.9, **changed: Any) -> dict[str, Any]:
    found = {
        "what": "a DM iteration",
        "note": "",
        "unit": "iteration",
        "load": 0.1,
        "setting": {"ipc": 2},
        "whole": {"ipc": 2},
        "resolved": {},
        "rounds": rounds(*ratios),
        "default_allocator": [],
        "parts": [],
        "memory": {"peak_bytes": int(gib * GIB), "floor_bytes": int(0.5 * GIB)},
        "goal": {"ratio": 2.8, "gib": 1.2, "part": None},
    }
    return {**found, **changed}


def document(**subjects: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "fredbench-speed",
        "format_version": 1,
        "setting": {"threads": 2, "rounds": 3, "tiny": False, "short": True},
        "load": [0.1, 0.2, 0.3],
        "environment": {
            "versions": {"torch": "2.6.0"},
            "commit": None,
            "device": "cpu",
            "device_name": "a processor",
            "instruction_sets": {"numpy": []},
            "cores": 2,
            "threads": 2,
        },
        "subjects": subjects,
    }


def test_a_ratio_is_the_median_of_rounds_and_its_noise_the_distance_of_quartiles() -> None:
    found = judging.ratio_of(rounds(1.0, 2.0, 3.0, 4.0, 100.0))
    assert (found.median, found.lowest, found.highest, found.noise) == (3.0, 1.0, 100.0, 2.0)
    assert judging.ratio_of(rounds(2.0, 3.0, 5.0)).noise == pytest.approx(1.5)
    assert not judging.ratio_of(rounds(2.0)).noise >= 0


def test_goals_are_of_ratio_memory_and_the_slowest_part() -> None:
    def reached(found: dict[str, Any]) -> dict[str, bool]:
        return {goal: reached for goal, (reached, _) in judging.verdicts(found).items()}

    assert reached(subject(2.7, 2.9, 3.0)) == {"ratio": True, "gib": True}
    assert reached(subject(2.7, 2.7, 3.0, gib=1.21)) == {"ratio": False, "gib": False}
    parts = [{"snow": [1.0, 30.0], "fog": [1.0, 1.9]}, {"snow": [1.0, 31.0], "fog": [1.0, 1.8]}]
    goal = {"ratio": None, "gib": None, "part": 2.0}
    assert judging.verdicts(subject(30.0, parts=parts, goal=goal)) == {"part": (False, "least 1.9 (fog) of 2")}
    assert judging.verdicts(subject(30.0, goal={"ratio": None, "gib": None, "part": None})) == {}


def test_the_table_has_a_line_for_each_subject_and_allocator() -> None:
    lines = judging.table({"dm-32": subject(2.7, 2.9, 3.0, default_allocator=rounds(4.0, 4.0, 4.0))})
    (line,) = [line for line in lines if line.startswith("dm-32")]
    assert "2.90 (2.70..3.00)" in line and "0.90 (+0.40)" in line and "reached: 2.90 of 2.8" in line
    assert any("default malloc" in line and "4.00 (4.00..4.00)" in line for line in lines)


def test_every_missed_goal_has_its_own_reason_below_it() -> None:
    def said(name: str, found: dict[str, Any]) -> list[str]:
        return [line.strip() for line in judging.table({name: found}) if "because" in line]

    why = SUBJECTS["dm-32"].why
    assert said("dm-32", subject(2.0, 2.0, 2.0)) == [f"2.00 of 2.8 because: {why['ratio']}"]
    assert said("dm-32", subject(3.0, 3.0, 3.0, gib=1.3)) == [f"1.30 GiB of 1.2 because: {why['gib']}"]
    assert said("dm-32", subject(3.0, 3.0, 3.0)) == []
    assert said("of-before", subject(2.0, 2.0, 2.0)) == ["2.00 of 2.8 because: not looked into"]


def test_reasons_are_of_goals_that_there_are() -> None:
    for name, each in SUBJECTS.items():
        goals = {goal for goal, value in vars(each.goal).items() if value is not None}
        assert each.why.keys() <= goals, name


def bound(ratio: float, threads: int = 2) -> dict[str, Any]:
    return {"ratio": ratio, "threads": threads}


def test_the_gate_names_what_fell_by_more_than_the_noise() -> None:
    subjects = {"dm-32": subject(2.0, 2.1, 2.2), "kip-32": subject(1.0, 1.0, 1.0), "idc-32": subject(1.5)}
    below, without = judging.fallen(subjects, {"dm-32": bound(2.3), "kip-32": bound(0.9)}, 2)
    assert len(below) == 1 and below[0].startswith("dm-32: 2.10") and "2.30" in below[0] and without == ["idc-32"]
    # Within this run's noise (.1) nothing has fallen; a bound of other threads is none; no noise shown holds nothing.
    assert judging.fallen({"dm-32": subjects["dm-32"]}, {"dm-32": bound(2.19)}, 2) == ([], [])
    assert judging.fallen({"dm-32": subjects["dm-32"]}, {"dm-32": bound(9.0, 1)}, 2)[1]
    assert judging.fallen({"idc-32": subject(1.5)}, {"idc-32": bound(1.0)}, 2)[0]


def test_bounds_are_ratios_less_noise_and_keep_those_of_others(tmp_path: Path) -> None:
    file = tmp_path / "bounds.json"
    judging.write_bounds(file, {"dm-32": subject(2.0, 2.1, 2.2)}, 2)
    judging.write_bounds(file, {"kip-32": subject(1.0, 1.0, 1.0)}, 1)
    assert judging.read_bounds(file) == {"dm-32": bound(2.0), "kip-32": bound(1.0, 1)}
    with pytest.raises(UsageError, match="one round"):
        judging.write_bounds(file, {"dm-32": subject(2.0)}, 2)
    for text in ("no JSON", "[]", "{}", json.dumps({"format": judging.BOUNDS_FORMAT, "bounds": {"dm-32": 2.0}})):
        file.write_text(text)
        with pytest.raises(UsageError):
            judging.read_bounds(file)


def test_the_stored_bounds_are_of_subjects() -> None:
    assert judging.read_bounds(benchmark.BOUNDS).keys() <= SUBJECTS.keys()


def test_a_file_of_speeds_is_what_it_says_or_refused(tmp_path: Path) -> None:
    good = document(**{"dm-32": subject(2.0, 2.1, 2.2, memory=None)})
    kept.write(tmp_path / "good.json", good)
    assert kept.read(tmp_path / "good.json") == good
    changes = (
        lambda d: d.update(format="another"),
        lambda d: d.pop("load"),
        lambda d: d["load"].append("much"),
        lambda d: d["setting"].update(threads=True),
        lambda d: d["setting"].update(rounds=5),
        lambda d: d["environment"].update(platform="named"),
        lambda d: d["subjects"]["dm-32"]["rounds"][0].update(ours=0.0),
        lambda d: d["subjects"]["dm-32"]["rounds"][0].pop("plain"),
        lambda d: d["subjects"]["dm-32"].update(memory={"peak_bytes": 1.5, "floor_bytes": 1}),
        lambda d: d["subjects"]["dm-32"]["goal"].update(part=2.0),
        lambda d: d["subjects"].update({"dm-32": None}),
    )
    for change in changes:
        bad = copy.deepcopy(good)
        change(bad)
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        with pytest.raises(ArtefactError):
            kept.read(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ArtefactError):
        kept.read(tmp_path / "bad.json")


def test_every_kept_file_of_speeds_can_be_read() -> None:
    for file in sorted(kept.RESULTS.glob("*.json")):
        found = kept.read(file)
        assert found["subjects"].keys() <= SUBJECTS.keys(), file.name
        assert not found["setting"]["tiny"] and found["setting"]["rounds"] >= 3, file.name
        assert found["environment"]["commit"] and not found["environment"]["commit"].endswith("+"), file.name


def test_every_subject_has_sizes_of_moments() -> None:
    assert {found.kind for found in SUBJECTS.values()} == TINY.keys()
    assert all(tiny(kind).side <= 64 for kind in TINY)


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name != "corruptions-224"])
def test_a_subject_is_what_was_published(name: str) -> None:
    subject = SUBJECTS[name]
    pair = make(subject.kind, dataclasses.replace(subject.whole, held=2), 1)
    spec, side = pair.spec, int(name.removesuffix("-bf16").rpartition("-")[2])
    assert pair.data.size == (side, side) and len(pair.data.classes) == 10
    wanted = "frepo-d3-w128-bn" if name == "frepo-32" else f"convnet-d{3 if side == 32 else 5}-w128-in"
    assert (spec.student_network if subject.kind in {"students", "scoring"} else spec.network) == wanted
    assert spec.arithmetic == spec.student.arithmetic == ("fused-bf16" if name.endswith("-bf16") else "fused")
    objective, pictures = spec.objective_settings, PARAMETERIZATIONS.get(spec.parameterization)
    if subject.kind in {"dm", "dc", "dc-pixels"}:
        assert objective["batch_real"] == 256 and subject.setting.real in {0, 32}
    if subject.kind == "tm":
        stored = pictures(from_mapping(pictures.Config, spec.parameterization_settings, where="parameterization"))
        decoded = 10 * stored.instances(Budget(spec.budget, 10, (3, side, side)))
        assert f"of {decoded} pictures" in subject.what and objective["steps"] == (50 if side == 32 else 4)


def test_turns_are_of_both_and_say_what_they_ran_with() -> None:
    before = most_held()
    found = in_turns("kip", tiny("kip"), 1, 2)
    assert len(found["rounds"]) == 2 and all(turn["ours"] > 0 < turn["plain"] for turn in found["rounds"])
    assert found["resolved"]["objective"]["kernel"] == "fc1" and found["unit"] == "iteration"
    assert 0 < before <= most_held()


def test_a_tiny_run_ends_in_a_table_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speeds.json"
    words = ["--tiny", "--subjects", "kip-32", "--rounds", "2", "--threads", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    assert benchmark.main() == 0
    assert "kip-32" in capsys.readouterr().out
    found = kept.read(out)
    assert list(found["subjects"]) == ["kip-32"] and found["setting"]["tiny"]
    assert found["subjects"]["kip-32"]["memory"]["peak_bytes"] > 0
    assert str(ROOT) not in out.read_text()
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words, "--gate"])
    assert benchmark.main() == 2
    assert "--tiny" in capsys.readouterr().err


def test_a_gate_without_any_bound_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    class Options:
        threads = 2

    assert benchmark.gate({"dm-32": subject(2.0, 2.1, 2.2)}, {}, Options()) == 1
    assert benchmark.gate({"dm-32": subject(2.0, 2.1, 2.2)}, {"dm-32": bound(2.0)}, Options()) == 0
    assert benchmark.gate({"dm-32": subject(2.0, 2.1, 2.2)}, {"dm-32": bound(3.0)}, Options()) == 1
    assert "FALLEN: dm-32" in capsys.readouterr().out


def test_an_exponent_is_that_of_the_power_that_made_the_points() -> None:
    power = growth.fitted({x: 3.0 * x**1.5 for x in (1, 2, 4, 8)})
    assert (power.factor, power.exponent, power.apart) == pytest.approx((3.0, 1.5, 1.0))
    assert growth.fitted({1: 1.0, 2: 2.0, 4: 1.0}).apart > 1.3
    found = {at: {"seconds": 0.1 * at, "bytes": size} for at, size in ((1, -5.0), (2, 10.0))}
    lines = growth.told("steps", found)
    assert any("seconds ~ steps^1.00" in line for line in lines) and any("no exponent" in line for line in lines)


@pytest.mark.parametrize("name", growth.AXES)
def test_an_axis_changes_what_it_says(name: str) -> None:
    axis = growth.AXES[name]
    settings = [growth.Setting(**{**axis.base, **changed}) for changed in axis.points.values()]
    assert len(settings) > 2 and len(set(settings)) == len(settings)
    assert list(axis.points) == sorted(axis.points)


def test_a_point_of_growth_is_measured() -> None:
    found = growth.point("kip", tiny("kip"), 1)
    assert found["seconds"] > 0 and found["peak_bytes"] > 0


class Named:
    """An event of torch's profiler, as far as groups look at it."""

    def __init__(self, name: str, parent: Named | None = None) -> None:
        self.name, self.cpu_parent = name, parent


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("aten::mkldnn_convolution", "convolutions"),
        ("mkldnn::_linear_pointwise", "convolutions"),
        ("aten::addmm", "matrix products"),
        ("aten::copy_", "copies"),
        ("aten::native_group_norm", "norms, elementwise"),
        ("NativeGroupNormBackward0", "norms, elementwise"),
        ("_HalveBackward", "own functions"),
        ("_Halve", "own functions"),
        ("Optimizer.step#SGD.step", "optimiser"),
    ],
)
def test_an_operator_is_of_one_group(name: str, group: str) -> None:
    assert profiling.group_of(Named(name)) == group
    assert profiling.group_of(Named(name, Named("Optimizer.step#SGD.step"))) == "optimiser"


def test_shares_add_up_and_operations_are_those_of_the_convolutions() -> None:
    layer, images = torch.nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 8, 8)

    def work() -> None:
        layer(images).square().sum().backward()

    wall, seconds = profiling.shares(work)
    assert seconds["convolutions"] > 0 and sum(seconds.values()) == pytest.approx(wall, rel=0.05)
    # Forward, and of the backward pass the weights' gradient alone: the pictures have none.
    assert profiling.convolution_operations(work) == 2 * (2 * 2 * 5 * 64 * 27)
    assert profiling.peak_operations(0.01) > 1e8
    with mmap.mmap(-1, 1 << 24) as fresh:
        spent = profiling.bare(lambda: fresh.write(bytes(1 << 24)))
    assert spent.wall > 0 and spent.faults > 0
