"""SIGTERM while a server is silent: all ranks leave with 0 at the last finished step, and the same command goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asd.config.build import open_data
from asd.config.load import load_config
from asd.data.plan import rank_slice
from asd.files import download, remote
from asd.process.stop import STOP_MARKER_ENV, StopSignal
from asd.run_folder import checkpoint
from tests.support.hooks import GO, no_scoring
from tests.support.launch import TINY, Job, losses, succeed, train_words
from tests.support.patience import wait_for
from tests.support.site import Site, serve

LOCAL = {"NO_PROXY": "127.0.0.1"}
STEPS = 14
WORDS = ["data.window=60", "data.run_length=16", f"train.steps={STEPS}", "data.prefetch=1", "data.threads=1"]


def patient() -> None:
    """No scoring, nobody gives a silent server up, and a file of each rank says that it hears signals."""
    no_scoring()
    remote.TIMEOUT_S = download.SLOW_S = 1e6
    hears = StopSignal.__enter__

    def entered(self: StopSignal) -> StopSignal:
        found = hears(self)
        Path(f"{os.environ[GO]}_{os.environ['RANK']}").touch()
        return found

    StopSignal.__enter__ = entered  # type: ignore[method-assign]


@pytest.fixture
def site(many_shards: Path) -> Iterator[Site]:
    found = Site(many_shards)
    with serve(found):
        yield found


@pytest.fixture(scope="module")
def local_losses(many_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Of a run that is never stopped."""
    place = tmp_path_factory.mktemp("local")
    succeed(place / "log", train_words(many_shards, place / "run", *WORDS), ranks=2, prepare=no_scoring)
    return losses(place / "run")


def words(site: Site, tmp_path: Path, *more: str) -> list[str]:
    remote = [f"data.shards={site.url}", f"data.cache_dir={tmp_path / 'cache'}"]
    return [*train_words(Path("none"), tmp_path / "run", *WORDS), *remote, *more]


def steps_and_tars(shards: Path) -> Iterator[tuple[int, str, list[bool]]]:
    """(step, tar, whether each of two ranks needs it there) of every first use of a tar by training, by time."""
    data = open_data(load_config(TINY, [f"data.shards={shards}", *WORDS]))
    shard_of, seen = data.manifest.column("shard"), set()
    for step, rows in enumerate(data.plan.epoch(0)["all"][:STEPS]):
        for shard in np.unique(shard_of[rows]).tolist():
            if shard not in seen:
                needed = [bool((shard_of[rank_slice(rows, rank, 2)] == shard).any()) for rank in (0, 1)]
                yield step, data.manifest.file.shards[shard].file, needed
            seen.add(shard)


def stopped_while_it_waits(site: Site, tmp_path: Path, name: str, saved: int, *more: str) -> list[str]:
    """A run of two ranks, asked to stop once it has done `saved` steps and waits for a tar; what the ranks said."""
    site.files[name].stall_after = 1000
    env = LOCAL | {STOP_MARKER_ENV: str(tmp_path / "word"), GO: str(tmp_path / "hears")}
    job = Job(tmp_path / "log", words(site, tmp_path, *more), ranks=2, prepare=patient, env=env)
    wait_for(lambda: len(list(tmp_path.glob("hears_*"))) == 2)  # no signal is lost
    wait_for(lambda: max(losses(tmp_path / "run"), default=0) >= saved and site.times(name))
    time.sleep(0.5)  # for the rank that has its clips to go as far as it can
    assert not job.ended
    job.signal(signal.SIGTERM)
    done = job.wait()
    assert done.codes == [0, 0], done
    assert f"stopped by SIGTERM at step {saved}, checkpoint saved" in done.out[0]
    assert (tmp_path / "word").exists()  # so that docker/entrypoint.sh does not take the run for finished
    assert max(losses(tmp_path / "run"), default=0) == saved
    assert checkpoint.complete_steps(tmp_path / "run" / "checkpoints")[-1] == saved
    site.files[name].stall_after = None
    return done.out


def goes_on(site: Site, tmp_path: Path, local_losses: dict[int, float], saved: int) -> None:
    """Resumed where it stopped, it learns what a run that was never stopped learns."""
    done = succeed(tmp_path / "log", words(site, tmp_path), ranks=2, prepare=no_scoring, env=LOCAL)
    assert f"resuming from step {saved}\n" in done.out[0]
    assert losses(tmp_path / "run") == local_losses
    assert len(local_losses) == STEPS


def test_a_step_whose_clips_one_rank_cannot_have_is_taken_back(
    site: Site, tmp_path: Path, many_shards: Path, local_losses: dict[int, float]
) -> None:
    """The other rank is in the middle of it."""
    step, name, _ = next(found for found in steps_and_tars(many_shards) if found[0] and not all(found[2]))
    more = ["checkpoint.every_steps=1"]
    stopped_while_it_waits(site, tmp_path, name, step, *more)
    goes_on(site, tmp_path, local_losses, step)


def test_before_the_first_step(site: Site, tmp_path: Path, many_shards: Path, local_losses: dict[int, float]) -> None:
    _, name, _ = next(steps_and_tars(many_shards))
    stopped_while_it_waits(site, tmp_path, name, 0)
    goes_on(site, tmp_path, local_losses, 0)


def test_an_evaluation_is_left_and_done_again(site: Site, tmp_path: Path, local_losses: dict[int, float]) -> None:
    (name,) = [tar for tar in site.tars if tar.startswith("test")][:1]
    stopped_while_it_waits(site, tmp_path, name, STEPS)
    evaluation = tmp_path / "run" / "evaluations" / f"step_{STEPS:08d}" / "evaluation.json"
    assert not evaluation.exists()
    goes_on(site, tmp_path, local_losses, STEPS)
    assert evaluation.exists()
