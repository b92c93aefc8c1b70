"""A user's mistake is one line from rank 0 and exit code 2 on every rank, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shards import pack
from tests.end_to_end.conftest import FinishedRun
from tests.support.launch import Done, run, train_words
from tests.support.sets import CLASSES, make_set

MIMII = Path(__file__).resolve().parents[3] / "shared" / "data" / "mimii_8ch"


def refused(done: Done) -> str:
    """The one line, beside alerts, that a refused command printed; everything else about it is checked here."""
    assert all(code == 2 for code in done.codes), done
    lines = [
        line
        for line in done.err[0].splitlines()
        if "UserWarning" not in line and not line.startswith("warning: alert ")
    ]
    assert len(lines) == 1, done.err[0]
    assert lines[0].startswith("error: ")
    assert not any(done.err[1:]), "only rank 0 speaks"
    return lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.global_bach=16"], ["unknown key train.global_bach", "did you mean train.global_batch?"]),
        (["train.epochs=many"], ["train.epochs=many"]),
        (["train.epochs"], ["'train.epochs' is not of the form key=value"]),
        (["train.steps=5", "train.epochs=2"], ["train.epochs or train.steps"]),
        (["train.global_batch=15"], ["train.global_batch=15 cannot be divided by 2 ranks"]),
        (["train.global_batch=12"], ["6 clips", "mixup.group_size=4"]),
        (["train.accumulate=3"], ["train.global_batch=16", "3 accumulated parts"]),
        (["train.global_batch=512"], ["cannot fill a global batch of 512"]),
        (["distributed.precision=fp16"], ["fp16 needs a GPU"]),
        (["backbone.name=resnet"], ["resnet", "resnet50_ir"]),
        (["init_from=/nowhere"], ["init_from=/nowhere"]),
        (["--config", "/nowhere/a.yaml"], ["/nowhere/a.yaml does not exist"]),
    ],
    ids=lambda value: value[0] if "=" in value[0] or "." in value[0] else "",
)
def test_bad_config(small_set: Path, tmp_path: Path, words: list[str], said: list[str]) -> None:
    folder = tmp_path / "run"
    line = refused(run(tmp_path / "log", train_words(small_set, folder, *words), ranks=2))
    assert all(part in line for part in said), line
    assert not folder.exists()


def test_missing_shards_are_told_with_the_commands_that_make_them(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    line = refused(run(tmp_path / "log", train_words(tmp_path / "none", folder), ranks=2))
    assert f"no shards at {tmp_path / 'none'}" in line
    assert "python -m shards.pack" in line
    assert "python -m shards.synth" in line
    assert not folder.exists()


def _remove_tar(shards: Path) -> None:
    (shards / "train-000001.tar").unlink()


def _cut_tar(shards: Path) -> None:
    path = shards / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:-5000])


def _blank_tar(shards: Path) -> None:
    path = shards / "train-000001.tar"
    path.write_bytes(bytes(path.stat().st_size))


def _exchange_tars(shards: Path) -> None:
    first, second = shards / "train-000000.tar", shards / "train-000001.tar"
    first.rename(shards / "between")
    second.rename(first)
    (shards / "between").rename(second)


def _change_table(shards: Path) -> None:
    path = shards / "clips.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def _cut_manifest(shards: Path) -> None:
    path = shards / "manifest.json"
    path.write_text(path.read_text()[:200])


def _remove_manifest(shards: Path) -> None:
    (shards / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_remove_tar, "train-000001.tar is missing"),
        (_cut_tar, "train-000001.tar has"),
        (_blank_tar, "train-000001.tar does not hold clip"),
        (_exchange_tars, ".tar"),
        (_change_table, "clips.parquet does not match manifest.json"),
        (_cut_manifest, "manifest.json is not a manifest of format 2"),
        (_remove_manifest, "holds no manifest.json"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_damaged_set(small_set: Path, tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    shards, folder = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(small_set, shards)
    damage(shards)
    line = refused(run(tmp_path / "log", train_words(shards, folder), ranks=2))
    assert said in line
    assert not folder.exists()


def test_one_class_alone(tmp_path: Path) -> None:
    shards, folder = make_set(tmp_path / "set", classes=CLASSES[:1]), tmp_path / "run"
    line = refused(run(tmp_path / "log", train_words(shards, folder), ranks=2))
    assert "the set has a single class, and a classifier needs two or more" in line
    assert not folder.exists()


def test_run_folder_of_another_set(finished_run: FinishedRun, uneven_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(finished_run.folder / "run.json", folder)
    line = refused(run(tmp_path / "log", train_words(uneven_set, folder), ranks=2))
    assert f"{folder} belongs to a run with another fingerprint" in line
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_run_folder_that_must_be_new(finished_run: FinishedRun, small_set: Path, tmp_path: Path) -> None:
    words = train_words(small_set, finished_run.folder, "backbone.norm=batch", "resume=never")
    assert "holds checkpoints and resume=never" in refused(run(tmp_path / "log", words))


def test_run_folder_that_is_a_file(small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    assert str(tmp_path / "run") in refused(run(tmp_path / "log", train_words(small_set, tmp_path / "run"), ranks=2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "999"], "checkpoint 999 (step 999) does not exist; kept steps: "),
        (["--checkpoint", "newest"], "name best, last or a step"),
        (["evaluate.selekt=oracle"], "did you mean evaluate.select?"),
        (["data.shards=/nowhere"], "no shards at /nowhere"),
    ],
)
def test_evaluation(finished_run: FinishedRun, tmp_path: Path, words: list[str], said: str) -> None:
    out = tmp_path / "out"
    arguments = ["score", "--run", str(finished_run.folder), "--out", str(out), *words]
    assert said in refused(run(tmp_path / "log", arguments, script="eval", ranks=2))
    assert not out.exists()


def test_evaluation_on_another_set(finished_run: FinishedRun, uneven_set: Path, tmp_path: Path) -> None:
    arguments = [
        "score",
        "--run",
        str(finished_run.folder),
        "--out",
        str(tmp_path / "out"),
        f"data.shards={uneven_set}",
    ]
    assert "another fingerprint" in refused(run(tmp_path / "log", arguments, script="eval", ranks=2))


def test_evaluation_without_a_run(tmp_path: Path) -> None:
    done = run(tmp_path / "log", ["score", "--run", str(tmp_path / "none")], script="eval", ranks=2)
    assert f"{tmp_path / 'none'} is not a run folder" in refused(done)
    assert not (tmp_path / "none").exists()


def test_evaluation_writes_over_nothing_foreign(finished_run: FinishedRun, tmp_path: Path) -> None:
    foreign = tmp_path / "mine" / "scores.csv"
    foreign.parent.mkdir()
    foreign.write_text("precious")
    for out, said in ((foreign.parent, "holds other files"), (foreign, "is a file")):
        arguments = ["score", "--run", str(finished_run.folder), "--out", str(out)]
        assert said in refused(run(tmp_path / "log", arguments, script="eval", ranks=2))
    assert foreign.read_text() == "precious"
    assert [path.name for path in foreign.parent.iterdir()] == ["scores.csv"]


@pytest.mark.skipif(not MIMII.is_dir(), reason="the folder shared/data/mimii_8ch is not beside the checkout")
def test_four_real_clips_of_one_machine_are_refused_for_the_true_reason(tmp_path: Path) -> None:
    """Too few for a batch, too; but what helps is another machine."""
    shards = tmp_path / "shards"
    assert pack.main(["--layout", "mimii", "--source", str(MIMII), "--channel", "average", "--out", str(shards)]) == 0
    line = refused(run(tmp_path / "log", train_words(shards, tmp_path / "run"), ranks=2))
    assert "the set has a single class" in line
    assert not (tmp_path / "run").exists()
