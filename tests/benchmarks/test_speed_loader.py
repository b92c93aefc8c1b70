"""The loader's part of the speed suite, in small: it runs end to end, and its numbers mean what they say."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from asd.errors import UserError
from benchmarks.speed import loader
from benchmarks.speed.loader import floors, launch, ours, peers
from benchmarks.speed.loader.contender import BATCH, WARM_UP, Contender, check_equal, time_once
from benchmarks.speed.loader.sets import Sets, make_sets

pytestmark = pytest.mark.filterwarnings(r"ignore:unclosed file.*\.tar:ResourceWarning")  # webdataset leaves its last
CLIPS = BATCH * (WARM_UP + 2)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return make_sets(tmp_path_factory.mktemp("loader") / "sets", CLIPS, 0.25)


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()  # while what webdataset left open is still forgiven


def batches_of(*rows: torch.Tensor) -> Contender:
    return Contender("these", lambda passes: iter([torch.stack(rows)]))


def test_all_readers_of_a_codec_deliver_the_same_clips(sets: Sets) -> None:
    own = Contender("ours", partial(ours.planned, sets.pcm, 8))
    check_equal([own, Contender("ours, FLAC", partial(ours.planned, sets.flac, 8))], CLIPS)
    check_equal([own, Contender("files", partial(peers.from_files, sets.wav_files))], CLIPS)
    for workers in (0, 2):
        reader = partial(peers.from_webdataset, sets.tars("pcm"), peers.wav_samples, workers)
        check_equal([own, Contender("webdataset", reader)], CLIPS)


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


def test_floors_read_what_they_are_counted_for(sets: Sets) -> None:
    def clips(batches: Iterator) -> int:
        return sum(len(batch) for batch in batches)

    tars = sets.tars("pcm")
    assert clips(floors.memcpy(CLIPS, sets.samples, 2)) == 2 * CLIPS
    tar_bytes = sum(Path(tar).stat().st_size for tar in tars)
    assert clips(floors.read_blocks(tars, sets.samples, 1)) * 2 * sets.samples == pytest.approx(tar_bytes, rel=0.2)
    assert 0 < clips(floors.bare_threads(tars, sets.samples, 1)) * 2 * sets.samples <= tar_bytes
    assert len(sets.flac_files) == CLIPS


def test_the_launch_rate_is_taken_while_clips_are_given(sets: Sets) -> None:
    launched, given = launch.launch_rates(sets.pcm, 2_000, 0.3)
    assert launched > 0
    assert 1_000 < given < 2_200
    assert launch.launch_rates(sets.pcm, 0, 0.05)[1] == 0


def test_the_part_says_what_was_measured(monkeypatch: pytest.MonkeyPatch, sets: Sets, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "_is_installed", lambda module: False)
    found = loader.measured(tmp_path, 1, CLIPS, 0.25, 0.05)
    _, flac, launches = (table.rows for table in found.tables)
    assert [row[0] for row in launches] == ["idle loader", "4,000", "8,000", "16,000", "another process takes 16,000"]
    assert {row[0].partition(",")[0] for row in flac} >= {"ours", "webdataset"}
    assert [goal.goal for goal in found.goals] == [1.2, 10.0, 0.9, 0.97]
    assert [f"{name} is not installed" in "\n".join(found.remarks) for name in peers.OPTIONAL] == [True] * 3
    assert not list(tmp_path.iterdir())
