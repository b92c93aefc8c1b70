"""The loader's part of the speed suite, in small: it runs end to end, and its numbers mean what they say."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asd.errors import UserError
from benchmarks.speed import loader
from benchmarks.speed.loader import peers
from benchmarks.speed.loader.contender import BATCH, WARM_UP, Contender, check_equal, time_once
from benchmarks.speed.loader.sets import make_sets

pytestmark = pytest.mark.filterwarnings(r"ignore:unclosed file.*\.tar:ResourceWarning")  # webdataset leaves its last
CLIPS = BATCH * (WARM_UP + 2)


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()  # while what webdataset left open is still forgiven


def batches_of(*rows: torch.Tensor) -> Contender:
    return Contender("these", lambda passes: iter([torch.stack(rows)]))


def test_a_reader_that_repeats_or_alters_a_clip_is_refused() -> None:
    first, second = torch.zeros(4, dtype=torch.int16), torch.ones(4, dtype=torch.int16)
    check_equal([batches_of(first, second), batches_of(second, first)], 2)
    with pytest.raises(UserError, match="these: 2 clips, 1 different ones, of 2"):
        check_equal([batches_of(first, first)], 2)
    with pytest.raises(UserError, match="other samples"):
        check_equal([batches_of(first, second), batches_of(first, second + 1)], 2)


def test_the_clock_starts_behind_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 14.0])  # begin, and behind each batch
    monkeypatch.setattr("benchmarks.speed.loader.contender.time.perf_counter", lambda: next(clock))
    contender = Contender("steady", lambda passes: iter([range(BATCH)] * (WARM_UP + 2)))
    time_once(contender)
    assert contender.clips_per_s == [2 * BATCH / 4.0]


def test_the_read_floor_reads_what_it_is_counted_for_and_flac_files_are_the_tars(tmp_path: Path) -> None:
    sets = make_sets(tmp_path / "sets", BATCH, 0.25)
    tars = sets.tars("pcm")
    read = sum(map(len, peers.read_blocks(tars, sets.samples, 8))) * 2 * sets.samples
    assert read == pytest.approx(8 * sum(Path(tar).stat().st_size for tar in tars), rel=0.2)
    assert len(list((sets.root / "flac_files").glob("*.flac"))) == BATCH


def test_the_part_says_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "SPDL", False)
    found = loader.measured(tmp_path, 1, CLIPS, 0.25, 0.05)
    speeds, flac, launches = (table.rows for table in found.tables)
    assert [row[0] for row in launches] == ["idle loader", "16,000"]
    assert {row[0].partition(",")[0] for row in flac} >= {"ours", "webdataset"}
    assert {loader.OURS, "webdataset, 2 workers"} <= {row[0] for row in speeds}
    assert [goal.goal for goal in found.goals] == [1.2, 8.0, 0.9, 0.97]
    assert not list(tmp_path.iterdir())
