"""Settings from text: every field back as it was, everything else refused by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fredbench.foundation.config import from_mapping, parse_value, replace_known, to_mapping
from fredbench.foundation.errors import UsageError


@dataclass(frozen=True)
class Settings:
    count: int = 3
    rate: float = 0.5
    name: str = "plain"
    loud: bool = False
    sizes: tuple[int, ...] = (1, 2)
    mode: Literal["real", "noise"] = "real"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UsageError("count is negative")


configs = st.builds(
    Settings,
    count=st.integers(0, 10**12),
    rate=st.floats(allow_nan=False),
    name=st.text(max_size=8),
    loud=st.booleans(),
    sizes=st.lists(st.integers(-9, 9), min_size=1, max_size=4).map(tuple),
    mode=st.sampled_from(["real", "noise"]),
    limit=st.none() | st.integers(-9, 9),
)


@settings(deadline=None, max_examples=50)
@given(configs)
def test_a_mapping_and_back(config: Settings) -> None:
    assert from_mapping(Settings, to_mapping(config), where="here") == config


@settings(deadline=None, max_examples=50)
@given(configs)
def test_text_and_back(config: Settings) -> None:
    texts = {
        field.name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value).replace("None", "none")
        for field in fields(config)
        if not isinstance(value := getattr(config, field.name), str)
    }
    texts |= {"name": config.name, "mode": config.mode}
    assert replace_known(Settings(), texts, where="here") == config


@settings(deadline=None, max_examples=50)
@given(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8))
def test_an_unknown_key_is_refused_with_the_known_ones(key: str) -> None:
    if key in {field.name for field in fields(Settings)}:
        return
    with pytest.raises(UsageError) as caught:
        from_mapping(Settings, {key: 1}, where="the test")
    assert key in caught.value.message and "the test" in caught.value.message
    assert "count, rate, name, loud, sizes, mode, limit" in caught.value.hint


def test_the_nearest_key_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(Settings, {"cuont": 1}, where="x")
    assert caught.value.hint.startswith("did you mean 'count'?")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", "many"), ("count", "1.5"), ("count", 1.5), ("count", "1.5e0"), ("count", True), ("count", ""),
        ("count", "1e999"), ("count", "nan"), ("count", "inf"), ("count", None), ("count", [1]),
        ("rate", "fast"), ("rate", True), ("rate", None), ("rate", ""),
        ("loud", "perhaps"), ("loud", 2), ("loud", ""), ("name", 3), ("name", None),
        ("sizes", "1,x"), ("sizes", 5), ("sizes", ""), ("sizes", None), ("sizes", "1,,2"),
        ("mode", "Real"), ("mode", ""), ("mode", 1), ("limit", "few"), ("limit", 0.5),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(Settings, {key: value}, where="here")
    assert f"here.{key} = {value!r}" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(("text", "number"), [("2e4", 20_000), ("1_000", 1000), ("-7", -7), (" 5 ", 5), (3.0, 3)])
def test_whole_numbers_may_be_written_in_other_ways(text: object, number: int) -> None:
    assert parse_value(text, int, where="k") == number


@settings(deadline=None, max_examples=50)
@given(st.integers())
def test_whole_numbers_are_exact_however_large(number: int) -> None:
    assert parse_value(str(number), int, where="k") == number


def test_a_refusal_of_the_settings_themselves_comes_through() -> None:
    with pytest.raises(UsageError, match="count is negative"):
        from_mapping(Settings, {"count": "-1"}, where="here")


def test_options_are_named_in_the_refusal() -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(Settings, {"mode": "x"}, where="here")
    assert "real" in str(caught.value) and "noise" in str(caught.value)


def test_infinity_is_a_number_where_a_field_allows_it() -> None:
    assert math.isinf(parse_value("inf", float, where="rate"))
