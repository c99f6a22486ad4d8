"""One registry for all plug-ins: lazy, loud on collisions, helpful on misses."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import ROOT, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.registry import Registry

words = st.text("abcdefgh-", min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(words, st.integers(), max_size=8))
def test_what_is_registered_is_found_in_order(things: dict[str, int]) -> None:
    registry: Registry[int] = Registry("thing")
    for name, value in things.items():
        registry.register(name, value, summary=f"is {value}")
    assert list(registry) == list(things) and len(registry) == len(things)
    assert {name: registry.get(name) for name in registry} == things
    assert all(name in registry and registry.summary(name) == f"is {value}" for name, value in things.items())


@settings(deadline=None, max_examples=50)
@given(st.sets(words, min_size=1, max_size=8), words)
def test_a_miss_names_what_there_is_and_the_nearest(names: set[str], wanted: str) -> None:
    registry: Registry[int] = Registry("thing")
    for name in names:
        registry.register(name, 0)
    if wanted in names:
        return
    for ask in (registry.get, registry.summary):
        with pytest.raises(UnknownNameError) as caught:
            ask(wanted)
        assert caught.value.message == f"unknown thing {wanted!r}"
        assert ", ".join(sorted(names)) in caught.value.hint


def test_the_nearest_name_comes_first() -> None:
    registry: Registry[int] = Registry("method")
    for name in ("fred", "random", "herding"):
        registry.register(name, 0)
    with pytest.raises(UnknownNameError) as caught:
        registry.get("freed")
    assert caught.value.hint.startswith("did you mean 'fred'?")
    empty: Registry[int] = Registry("method")
    with pytest.raises(UnknownNameError, match="known: none"):
        empty.get("fred")


def test_a_second_target_for_a_name_is_refused_and_the_first_stays() -> None:
    registry: Registry[object] = Registry("method")
    first, second = object(), object()
    registry.register("mine", first)
    registry.register("mine", first)
    with pytest.raises(UsageError, match="already registered"):
        registry.register("mine", second)
    assert registry.get("mine") is first and len(registry) == 1


def test_lazy_targets_are_imported_on_first_use_and_once() -> None:
    registry: Registry[object] = Registry("codec")
    registry.register("encode", "json:JSONEncoder.default")
    import json

    assert registry.get("encode") is json.JSONEncoder.default
    assert registry.get("encode") is registry.get("encode")


def test_the_decorator_registers_and_gives_back() -> None:
    registry: Registry[type] = Registry("kind")

    @registry.decorator("mine", summary="a class")
    class Mine:
        pass

    assert registry.get("mine") is Mine and registry.summary("mine") == "a class"


def test_listing_a_registry_imports_nothing_that_it_names() -> None:
    code = (
        "import sys; from fredbench.datasets import DATASETS\n"
        "assert 'digits' in list(DATASETS) and DATASETS.summary('cifar10')\n"
        "print([m for m in ('torch', 'sklearn', 'fredbench.datasets.known.cifar') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"
