"""Limits on one piece of work: time and memory, met for real."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest
import torch

from fredbench.foundation import limits
from fredbench.foundation.errors import ResourceError
from fredbench.foundation.limits import held_bytes, limited

MB = 10**6
needs_proc = pytest.mark.skipif(not held_bytes(), reason="the system does not tell what a process holds")


def busy() -> None:
    """Python that ends by itself after a minute only."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sum(range(100))
    raise AssertionError("nothing ended it")


def test_what_takes_too_long_is_ended_where_it_is() -> None:
    began = time.monotonic()
    with (
        pytest.raises(ResourceError, match=r"took more than the 0\.3 s that are allowed") as caught,
        limited(0.3, None),
    ):
        busy()
    assert "[resources]" in caught.value.hint and 0.3 <= time.monotonic() - began < 30


def test_a_wait_is_ended_too() -> None:
    with pytest.raises(ResourceError, match="took more"), limited(0.3, None):
        time.sleep(60)


@needs_proc
def test_what_holds_too_much_is_ended_where_it_is() -> None:
    allowed = (held_bytes() + 200 * MB) / 1e9
    kept = []
    with pytest.raises(ResourceError, match=r"held more than the [\d.]+ GB that are allowed"), limited(None, allowed):
        for _ in range(600):  # 6 GB, were it not ended
            kept.append(np.ones(10 * MB, np.uint8))
            time.sleep(0.02)
    assert 20 <= len(kept) < 200


@needs_proc
def test_what_keeps_to_both_is_left_alone_and_leaves_no_trace() -> None:
    before, threads = signal.getsignal(signal.SIGALRM), threading.active_count()
    with limited(60.0, held_bytes() / 1e9 + 4):
        assert threading.active_count() == threads + 1
        time.sleep(0.5)
    assert signal.getsignal(signal.SIGALRM) is before and threading.active_count() == threads


def test_the_next_one_begins_anew() -> None:
    for _ in range(2):
        with pytest.raises(ResourceError), limited(0.1, None):
            time.sleep(60)
    with limited(30.0, None):
        time.sleep(0.3)


class Slow:
    """Takes a second to be entered and to be left, in Python; knows where it is."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def _take(self, step: str) -> None:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            sum(range(100))
        self.steps.append(step)

    def __enter__(self) -> None:
        self._take("entered")

    def __exit__(self, *_: object) -> None:
        self._take("left")


def test_what_is_entered_when_time_is_up_is_entered_and_left_whole() -> None:
    """Otherwise the gradients that `torch.no_grad` switched off stayed off for the cells that follow."""
    slow = Slow()
    with pytest.raises(ResourceError, match="took more"), limited(0.3, None), slow:
        busy()
    assert slow.steps == ["entered", "left"]


def test_what_is_left_when_time_is_up_is_left_whole() -> None:
    slow = Slow()
    with pytest.raises(ResourceError, match="took more"), limited(1.3, None):
        with slow:
            pass
        busy()
    assert slow.steps == ["entered", "left"]


def test_gradients_are_on_after_a_limit_whenever_it_was_raised() -> None:
    for _ in range(5):
        with pytest.raises(ResourceError), limited(0.05, None):
            while True:
                with torch.no_grad():
                    pass
        assert torch.is_grad_enabled()


def test_who_waits_in_there_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_PATIENCE_SECONDS", 0.3)
    slow, began = Slow(), time.monotonic()
    with pytest.raises(ResourceError, match="took more"), limited(0.1, None), slow:
        busy()
    assert slow.steps == [] and time.monotonic() - began < 1


def test_elsewhere_than_in_the_main_thread_a_limit_is_refused_rather_than_forgotten() -> None:
    told: list[ResourceError] = []

    def within() -> None:
        try:
            with limited(1.0, None):
                raise AssertionError("begun without its limit")
        except ResourceError as problem:
            told.append(problem)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert len(told) == 1 and "main thread" in told[0].message
    with limited(None, None):  # nothing is asked for
        pass
