"""What the clock of training adds up."""

from __future__ import annotations

import time

import pytest
import torch

from asd.train.clock import PARTS, Clock


class Time:
    """Stands still between calls of `sleep`."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Time:
    watch = Time()
    monkeypatch.setattr(time, "perf_counter", lambda: watch.now)
    return watch


def test_seconds_by_step_of_each_part_beside_the_whole(watch: Time) -> None:
    clock = Clock(torch.device("cpu"))
    for _ in range(2):
        for seconds, part in zip((1.0, 2.0, 0.5), PARTS, strict=True):
            with clock.time(part):
                watch.sleep(seconds)
        watch.sleep(0.5)
        clock.add(clips=8, wait_s=0.25)
    found = clock.read()
    assert [found[f"{part}_s"] for part in ("forward", "backward", "update")] == [1.0, 2.0, 0.5]
    assert (found["step_s"], found["clips_per_s_per_rank"]) == (4.0, 2.0)
    assert (found["data_wait_s"], found["data_wait_percent"]) == (0.25, 6.25)


def test_a_reading_begins_anew_and_what_is_paused_does_not_count(watch: Time) -> None:
    clock = Clock(torch.device("cpu"))
    with clock.time("forward"):
        watch.sleep(1.0)
    clock.read()
    with clock.paused():
        watch.sleep(7.0)
    watch.sleep(2.0)
    clock.add(clips=1, wait_s=0.0)
    found = clock.read()
    assert (found["step_s"], found["forward_s"], found["data_wait_s"]) == (2.0, 0.0, 0.0)
