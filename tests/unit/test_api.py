"""The library's door: typed, documented, and as wide as what the command line can ask."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

import fredbench
from fredbench.execution import api
from fredbench.recipes.resolution import Request


def test_distill_takes_all_that_a_request_has_with_the_same_defaults() -> None:
    parameters = inspect.signature(api.distill).parameters
    for field in dataclasses.fields(Request):
        assert parameters[field.name].default == field.default, field.name


@pytest.mark.parametrize("function", [api.distill, api.evaluate])
def test_every_parameter_has_a_type_and_is_described(function) -> None:
    signature, said = inspect.signature(function), inspect.getdoc(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for name, parameter in signature.parameters.items():
        assert parameter.kind is not parameter.VAR_KEYWORD and parameter.annotation is not parameter.empty
        assert re.search(rf"(^|[\s`]){name}[`:,]", said, re.MULTILINE), name


def test_what_callers_catch_has_a_short_name() -> None:
    from fredbench.errors import FredbenchError

    assert FredbenchError is fredbench.errors.FredbenchError
    with pytest.raises(FredbenchError, match="give the budget once"):
        fredbench.distill("digits")


def test_the_six_public_names_are_there() -> None:
    assert set(fredbench.__all__) == {"Synset", "__version__", "corrupt", "distill", "evaluate", "load"}
    assert all(getattr(fredbench, name) for name in fredbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        fredbench.distil  # noqa: B018
    with pytest.raises(TypeError, match="ipcs"):
        fredbench.distill("digits", ipcs=1)
