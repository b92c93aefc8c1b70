"""eval.py watch: the scores of a run whose ranks only save, whatever befalls the watcher or the checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eval as evaluation
import train_ddp
from asd.commands import ensemble, open_run
from asd.commands.open_run import CheckpointEmbedder, load_run
from asd.commands.watch import Watcher
from asd.config.load import load_config
from asd.errors import UserError
from asd.evaluate.history import Selection, best_step
from asd.process.stop import AskedToStop
from asd.report import read_report
from asd.report.model import json_text
from asd.run_folder import checkpoint
from asd.run_folder.lock import WatchLock
from asd.run_folder.paths import RunFolder
from asd.sweep import sweep
from tests.support.hooks import no_scoring
from tests.support.inline import score_inline
from tests.support.launch import TINY, Done, Job, run, succeed, train_words, without_heads
from tests.support.patience import wait_for
from tests.support.site import Site, serve

DUE = [5, 10]
WORDS = ["evaluate.every_epochs=1", "evaluate.scorers=[{name: centroid}, {name: untrained_knn}]"]
BY_WATCHER = [*WORDS, "evaluate.by_watcher=true", "checkpoint.keep_last=1"]


def watch_words(folder: Path, *more: str) -> list[str]:
    return ["watch", "--run", str(folder), "--poll", "0.05", *more]


def watcher(log: Path, folder: Path, *more: str, prepare: Callable[[], object] | None = None) -> Job:
    """A watcher under way, in a process of its own."""
    return Job(log, watch_words(folder, *more), script="eval", prepare=prepare)


def watch_inline(folder: Path, *more: str) -> None:
    """The same in this very process; scoring leaves the figures out."""
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert evaluation.main(watch_words(folder, *more)) == 0


def said(log: Path) -> str:
    path = log / "rank_0.out"
    return path.read_text() if path.exists() else ""


def kept(folder: Path) -> list[int]:
    return checkpoint.complete_steps(folder / "checkpoints")


def scored(folder: Path) -> list[int]:
    steps = [int(path.parent.name.removeprefix("step_")) for path in folder.glob("evaluations/*/report.json")]
    return sorted(steps)


def numbers(folder: Path, step: int) -> tuple[dict[str, Any], str]:
    """Report and scores of a step, without the seconds that it took and the place that it lies at."""
    place = RunFolder(folder).evaluation(step)
    report = read_report(place)
    assert report is not None
    anywhere = json.loads(json_text(report).replace(str(folder), "RUN"))
    return {name: value for name, value in anywhere.items() if name != "embed_s"}, (place / "scores.csv").read_text()


@pytest.fixture(scope="module")
def by_itself(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that scores steps 5 and 10 itself, and keeps 3, 6 and 9 as well; not to be written to."""
    folder = tmp_path_factory.mktemp("by_itself") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        more = ["checkpoint={every_steps: 3, keep_last: 100}"]
        assert train_ddp.main(train_words(small_set, folder, *WORDS, *more)) == 0
    return folder


@pytest.fixture(scope="module")
def unwatched(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run that waits for a watcher, and what its training said; not to be written to."""
    place = tmp_path_factory.mktemp("unwatched")
    done = succeed(place / "log", train_words(small_set, place / "run", *BY_WATCHER))
    return place / "run", done


@pytest.fixture
def left(unwatched: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(unwatched[0], tmp_path / "run")


# ---- beside a training


@pytest.fixture(scope="module")
def watched(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run with a watcher beside it, which was there first and was killed over its first checkpoint; and what the
    second one said."""
    place = tmp_path_factory.mktemp("watched")
    folder = place / "run"
    first = watcher(place / "first", folder)
    wait_for(lambda: f"waiting for {folder}, which does not exist yet" in said(place / "first"))
    assert not folder.exists()
    succeed(place / "training", train_words(small_set, folder, *BY_WATCHER))
    wait_for(lambda: list(folder.glob("evaluations/*/scoring.log")))
    first.kill()
    torn = RunFolder(folder).evaluation(10)
    torn.mkdir(parents=True, exist_ok=True)
    if not (torn / "evaluation.json").exists():  # as a kill within the embedding may leave it
        (torn / "embeddings.safetensors").write_bytes(b"torn")
    return folder, watcher(place / "second", folder).wait()


def test_a_killed_watchers_work_is_done_by_the_next_one(watched: tuple[Path, Done], by_itself: Path) -> None:
    """The same scores as those of a run that evaluates itself."""
    folder, done = watched
    assert done.codes == [0], done
    assert scored(folder) == DUE
    for step in DUE:
        assert numbers(folder, step) == numbers(by_itself, step)
    assert not list(folder.glob("evaluations/*/embeddings.safetensors"))
    assert kept(folder) == sorted({10, open_run.choose_step(load_run(folder), "best")})


def test_the_watcher_tells_what_training_would_have_told(watched: tuple[Path, Done]) -> None:
    folder, done = watched
    best = best_step(RunFolder(folder), "clean")
    assert best is not None
    text = done.out[0]
    assert re.search(r"^step 10 scored in \d+ s: mean AUC centroid \d", text, re.MULTILINE)
    assert re.search(r"^mean +\d+\.\d\d/\d+\.\d\d ", text, re.MULTILINE), "AUC/pAUC"
    where = RunFolder(folder).evaluation(best) / "report.md"
    assert f"best checkpoint by the clean rule: {where}" in text
    assert "the oracle rule would choose" in text
    assert re.search(r"^finished at step 10: [12] scored here, 0 to be scored$", text, re.MULTILINE)
    assert not done.err[0]


def test_its_scores_serve_as_those_of_training(watched: tuple[Path, Done], by_itself: Path) -> None:
    folder, _ = watched
    rules: tuple[Selection, ...] = ("clean", "oracle", "last")
    for rule in rules:
        assert best_step(RunFolder(folder), rule) == best_step(RunFolder(by_itself), rule)
    assert (folder / "tensorboard" / "eval").is_dir()
    assert ensemble.evaluation_of(folder) == RunFolder(folder).evaluation(
        open_run.choose_step(load_run(folder), "best")
    )


def test_training_keeps_what_is_not_scored_and_says_so(unwatched: tuple[Path, Done]) -> None:
    folder, done = unwatched
    assert kept(folder) == DUE, "keep_last=1 alone would keep the last one"
    assert f"scores are left to a watcher (evaluate.by_watcher): python eval.py watch --run {folder}" in done.out[0]
    assert f"to be scored: steps 5, 10; python eval.py watch --run {folder}" in done.out[0]
    assert not (folder / "evaluations").exists()


def test_training_lets_go_of_what_is_scored(small_set: Path, left: Path) -> None:
    watch_inline(left)
    best = open_run.choose_step(load_run(left), "best")
    done = run(left.with_name("log"), train_words(small_set, left, *BY_WATCHER, "train.epochs=3"))
    assert done.codes == [0], done
    assert kept(left) == sorted({best, 15})
    assert f"to be scored: step 15; python eval.py watch --run {left}" in done.out[0]


def test_a_run_that_is_scored_already_is_told_by_its_training(small_set: Path, left: Path) -> None:
    watch_inline(left)
    done = succeed(left.with_name("log"), train_words(small_set, left, *BY_WATCHER))
    assert "to be scored" not in done.out[0]
    assert "best checkpoint by the clean rule" in done.out[0]


def test_a_run_that_goes_on_is_watched_on(small_set: Path, left: Path, tmp_path: Path) -> None:
    """With --forever: the table once more when the run is finished anew, with the scorers that it has then."""
    job = watcher(tmp_path / "log", left, "--forever", prepare=no_scoring)
    wait_for(lambda: "finished at step 10" in said(tmp_path / "log"))
    more = ["train.epochs=3", "evaluate.scorers=[{name: centroid}]"]
    succeed(tmp_path / "training", train_words(small_set, left, *BY_WATCHER, *more))
    wait_for(lambda: "finished at step 15" in said(tmp_path / "log"))
    job.signal(signal.SIGTERM)
    assert job.wait().codes == [0]
    embedded = json.loads((RunFolder(left).evaluation(15) / "evaluation.json").read_text())
    assert [scorer["name"] for scorer in embedded["scorers"]] == ["centroid"]


def test_a_last_checkpoint_that_is_being_copied_is_waited_for(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To where the watcher is."""
    complete, arriving = checkpoint.step_path(left / "checkpoints", 10) / checkpoint.COMPLETE, tmp_path / "arriving"
    complete.rename(arriving)
    monkeypatch.setattr(Watcher, "_wait", lambda self: arriving.rename(complete))
    watch_inline(left)
    assert scored(left) == DUE
    assert f"warning: {complete.parent} is not complete: skipped" in capsys.readouterr().err


# ---- what is its own


def test_a_run_that_scores_itself_is_left_alone_but_for_other_checkpoints(by_itself: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(by_itself, tmp_path / "run")
    assert kept(folder) == [3, 5, 6, 9, 10]
    shutil.rmtree(RunFolder(folder).evaluation(5))
    watch_inline(folder)
    assert scored(folder) == [3, 6, 9, 10]


def test_what_training_keeps_for_it_comes_first(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, other = (checkpoint.step_path(left / "checkpoints", step) for step in (5, 4))
    shutil.copytree(source, other)
    watch_inline(left, "checkpoint.keep_last=9")
    assert scored(left) == DUE, "a checkpoint for a resume alone"
    watch_inline(left, "checkpoint={every_steps: 4, keep_last: 9}", "--once")
    assert scored(left) == [4, *DUE]
    assert "finished at step 10: 1 scored here, 0 to be scored" in capsys.readouterr().out


def test_from_another_machine_with_shards_from_elsewhere(
    small_set: Path, left: Path, by_itself: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """evaluation.json names the address, not the cache, and no password."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site(small_set)
    with serve(site):
        address = site.url.replace("://", "://user:secret@")
        watch_inline(left, f"data.shards={address}", f"data.cache_dir={tmp_path / 'cache'}")
    for step in DUE:
        (report, scores), (former, former_scores) = (numbers(folder, step) for folder in (left, by_itself))
        assert scores == former_scores
        assert report == former | {"shards": site.url}


def test_who_needs_the_scores_at_once_does_without(small_set: Path, tmp_path: Path) -> None:
    words = ["--config", str(TINY), "--out", str(tmp_path / "sweep"), f"data.shards={small_set}"]
    with pytest.raises(UserError, match="a sweep waits for the scores of its runs"):
        sweep.main([*words, "evaluate.by_watcher=true"])
    assert not load_config(TINY, ["evaluate.by_watcher=true", "debug=true"]).evaluate.by_watcher
    assert list(tmp_path.iterdir()) == []


# ---- faults


def test_a_second_watcher_stops_with_one_line(left: Path, tmp_path: Path) -> None:
    with WatchLock(left) as lock:
        lock.take()
        done = watcher(tmp_path / "log", left).wait()
    assert done.codes == [2]
    (told,) = done.err
    assert told.startswith(f"error: another watcher is scoring {left} (process {os.getpid()} on ")
    assert told.endswith("): one is enough\n")
    assert scored(left) == []


def test_damaged_checkpoints_are_passed_over(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that cannot be read, one that is not whole, and a copy of another run's; until they are saved anew."""
    damaged, torn, foreign = (checkpoint.step_path(left / "checkpoints", step) for step in (5, 7, 8))
    for copy in (torn, foreign):
        shutil.copytree(damaged, copy)
    sound = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(bytes(len(sound)))
    os.truncate(torn / "optimizer.pt", 10)
    meta, sums = (foreign / "meta.json").read_text(), (foreign / checkpoint.SUMS).read_text()
    (foreign / "meta.json").write_text(other := re.sub(r'"fingerprint": ".', '"fingerprint": "-', meta))
    former, now = (hashlib.sha256(text.encode()).hexdigest() for text in (meta, other))
    (foreign / checkpoint.SUMS).write_text(sums.replace(former, now))
    watch_inline(left, "evaluate.every_epochs=1", "checkpoint.every_steps=1")
    told = capsys.readouterr()
    lines = [line for line in without_heads(told.err).splitlines() if line.startswith("warning: ")]
    assert len(lines) == 3, told.err
    for path, why in ((damaged, "cannot be read"), (torn, "is not complete"), (foreign, "another fingerprint")):
        assert [line for line in lines if f"{path} " in line and why in line and line.endswith("skipped")]
    assert scored(left) == [10]
    assert "finished at step 10: 1 scored here, 2 to be scored (steps 5, 8)" in told.out
    (damaged / "model.safetensors").write_bytes(sound)
    watch_inline(left)
    assert scored(left) == DUE


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_checkpoint_that_is_pruned_meanwhile_is_passed_over(
    left: Path, moment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It leaves no evaluation that might become the best one."""
    load = checkpoint.load_network

    def prune(folder: Path) -> Any:
        if folder.name == "step_00000005" and moment == "before":
            shutil.rmtree(folder)
        found = load(folder)
        if folder.name == "step_00000005":
            shutil.rmtree(folder)
        return found

    monkeypatch.setattr(checkpoint, "load_network", prune)
    watch_inline(left)
    told, path = capsys.readouterr(), checkpoint.step_path(left / "checkpoints", 5)
    warning = f"warning: {path} was removed before it was scored (checkpoint.keep_last): skipped\n"
    assert without_heads(told.err) == warning
    assert scored(left) == [10]
    assert [p.name for p in (left / "evaluations").iterdir()] == ["step_00000010"]
    assert "finished at step 10: 1 scored here, 0 to be scored" in told.out


def hang_after_the_first() -> None:
    """The second checkpoint is embedded for ever."""
    embed, calls = CheckpointEmbedder.embed, []

    def hang(self: CheckpointEmbedder, *arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        while len(calls) > 1:
            time.sleep(1)
        embed(self, *arguments, **options)

    CheckpointEmbedder.embed = hang  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(left: Path, tmp_path: Path, number: signal.Signals) -> None:
    """One checkpoint is embedded, another one scored."""
    job = watcher(tmp_path / "log", left, prepare=hang_after_the_first)
    wait_for(lambda: list(left.glob("evaluations/*/scoring.log")))
    job.signal(number)
    done = job.wait()
    assert done.codes == [0], done
    assert re.search(rf"^stopped by {number.name}, [12] to be scored \(.*10\)\n\Z", done.out[0], re.MULTILINE)
    assert not done.err[0]


def swallow_the_signal() -> None:
    """It arrives while the first checkpoint is embedded, in code that lets nothing out."""
    embed = CheckpointEmbedder.embed

    def deaf(self: CheckpointEmbedder, *arguments: Any, **options: Any) -> None:
        with contextlib.suppress(AskedToStop):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        embed(self, *arguments, **options)

    CheckpointEmbedder.embed = deaf  # type: ignore[method-assign]


def test_a_signal_that_was_swallowed_counts(left: Path, tmp_path: Path) -> None:
    done = watcher(tmp_path / "log", left, prepare=swallow_the_signal).wait()
    assert done.codes == [0], done
    assert "stopped by SIGTERM, 2 to be scored (steps 5, 10)" in done.out[0]


def test_stopped_while_there_is_no_run(tmp_path: Path) -> None:
    job = watcher(tmp_path / "log", tmp_path / "run")
    wait_for(lambda: "waiting for" in said(tmp_path / "log"))
    job.signal(signal.SIGTERM)
    done = job.wait()
    assert done.codes == [0]
    assert done.out[0].endswith("stopped by SIGTERM\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.shards=/nowhere"], "no shards at /nowhere"),
        (["backbone.width=0.5"], "another backbone.width (0.25, now 0.5), which no word of eval.py changes"),
    ],
)
def test_a_mistake_ends_it(left: Path, tmp_path: Path, words: list[str], line: str) -> None:
    done = watcher(tmp_path / "log", left, *words).wait()
    assert done.codes == [2]
    assert done.err[0].startswith("error: ")
    assert line in done.err[0]
    assert done.err[0].count("\n") == 1


def test_a_run_whose_config_is_lost_is_scored_by_that_of_its_checkpoints(left: Path, tmp_path: Path) -> None:
    (left / "config.yaml").unlink()
    assert watcher(tmp_path / "log", left).wait().codes == [0]
    assert scored(left) == DUE


def test_once_needs_a_run(tmp_path: Path) -> None:
    done = watcher(tmp_path / "log", tmp_path / "run", "--once").wait()
    assert done.codes == [2]
    assert done.err == [f"error: {tmp_path / 'run'} is not a run folder: it has no config.yaml\n"]
