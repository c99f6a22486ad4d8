"""Named streams: a path of names below a seed, and nothing else, determines the draws."""

from __future__ import annotations

import hashlib

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fredbench.foundation.rng import Stream

names = st.one_of(st.text(max_size=6), st.integers(-5, 10**6))
paths = st.lists(names, max_size=4).map(tuple)


def as_text(path: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(str(name) for name in path)


@settings(deadline=None, max_examples=50)
@given(st.integers(), paths)
def test_the_seed_is_a_hash_of_root_and_path(seed: int, path: tuple[str | int, ...]) -> None:
    text = ":".join([str(seed), *(f"{len(name)}.{name}" for name in as_text(path))])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert Stream(seed).child(*path).integer() == int.from_bytes(digest, "little") >> 1
    assert 0 <= Stream(seed).child(*path).integer() < 2**63


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 9), paths, st.integers(0, 9), paths)
def test_two_paths_share_a_stream_only_if_they_are_one(a: int, p: tuple, b: int, q: tuple) -> None:
    same = (a, as_text(p)) == (b, as_text(q))
    assert (Stream(a).child(*p).integer() == Stream(b).child(*q).integer()) == same


@settings(deadline=None, max_examples=50)
@given(paths, paths)
def test_a_child_of_a_child_is_a_child(p: tuple, q: tuple) -> None:
    assert Stream(3).child(*p).child(*q) == Stream(3).child(*p, *q)


def test_names_cannot_run_into_each_other() -> None:
    for one, other in ((("ab", "c"), ("a", "bc")), (("a", "b"), ("a:1.b",)), ((1, 2), (12,)), (("",), ())):
        assert Stream(0).child(*one).integer() != Stream(0).child(*other).integer()


def test_a_generator_starts_anew_each_time_and_siblings_do_not_matter() -> None:
    stream = Stream(7).child("student", 3)
    first = stream.numpy().integers(0, 2**62, 8).tolist()
    Stream(7).child("student", 2).numpy().random(1000)
    assert stream.numpy().integers(0, 2**62, 8).tolist() == first
    drawn = torch.randn(8, generator=stream.torch())
    assert torch.equal(torch.randn(8, generator=stream.torch()), drawn)
    assert stream.torch().device.type == "cpu"


def test_streams_of_neighbours_look_independent() -> None:
    """Uniforms of 200 neighbouring children: no two alike, and a mean within four standard errors of a half."""
    drawn = torch.stack([torch.rand(50, generator=Stream(0).child("iteration", i).torch()) for i in range(200)])
    assert len(drawn.unique()) > 0.999 * drawn.numel()
    assert abs(float(drawn.mean()) - 0.5) < 4 * (1 / 12 / drawn.numel()) ** 0.5
    assert float(torch.corrcoef(drawn).fill_diagonal_(0).abs().max()) < 0.75


def test_drawing_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    torch.randn(3, generator=Stream(0).child("x").torch())
    assert torch.equal(torch.get_rng_state(), before)
