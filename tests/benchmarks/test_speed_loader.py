"""The loader's part of the speed suite, in small: it runs end to end, and its numbers mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import loader
from benchmarks.speed.loader import BATCH, WARM_UP, Contender

CLIPS = BATCH * (WARM_UP + 2)


def test_the_clock_starts_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 14.0])  # begin, and after each batch
    monkeypatch.setattr("benchmarks.speed.loader.time.perf_counter", lambda: next(clock))
    contender = Contender("steady", lambda passes: iter([range(BATCH)] * (WARM_UP + passes)), passes=2)
    contender.time_once()
    assert contender.clips_per_s == [2 * BATCH / 4.0]


def test_the_readers_deliver_the_whole_set(tmp_path: Path) -> None:
    pcm, flac = loader.make_sets(tmp_path, BATCH, 0.25)
    tars = sum(path.stat().st_size for path in pcm.glob("*.tar"))
    read = sum(map(len, loader.read_blocks(pcm, 8))) * 2 * 4000  # bytes of the samples it is counted for
    assert read == pytest.approx(8 * tars, rel=0.2)
    for contender in (*loader.pcm_contenders(pcm)[1:], *loader.flac_contenders(flac)):
        assert sum(map(len, contender.batches(2))) == 2 * BATCH, contender.name


def test_the_part_says_what_was_measured(tmp_path: Path) -> None:
    found = loader.measured(tmp_path, 1, CLIPS, 0.25, 0.05)
    names = [[row[0] for row in table.rows] for table in found.tables]
    assert [len(rows) for rows in names] == [4, 2, 4]
    idle, *busy = names[2]
    assert idle == "none, idle loader"
    assert busy == [
        "16,000 clips/s from tars", "16,000 clips/s from memory", "none; another process copies 16,000 clips/s"
    ]  # fmt: skip
    assert [goal.goal for goal in found.goals] == [0.9, 0.97]
    assert not list(tmp_path.iterdir())
