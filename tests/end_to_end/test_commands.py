"""The published commands, as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.end_to_end.conftest import FinishedRun
from tests.support.hooks import no_scoring
from tests.support.launch import ROOT, losses, succeed, train_words, without_heads
from tests.support.resumable import words

TWO_GPUS = {"CUDA_VISIBLE_DEVICES": "6,7"}
without_gpus = pytest.mark.skipif(torch.cuda.is_available(), reason="the devices that it names may exist")


def test_torchrun_finishes_and_says_where_everything_is(finished_run: FinishedRun) -> None:
    said, folder = finished_run.output, finished_run.folder
    assert "4 classes: fan/00 fan/02 pump/00 valve/04" in said
    assert "2 ranks on cpu in fp32, global batch 16, 5 steps an epoch, 10 steps" in said
    assert f"tensorboard --logdir {folder / 'tensorboard'}" in said
    assert str(folder / "evaluations" / "step_00000010" / "report.md") in said
    assert re.search(r"^mean +\d+\.\d\d/\d+\.\d\d ", said, re.MULTILINE), "AUC/pAUC"
    assert "Traceback" not in said
    assert "Warning" not in said
    assert len(losses(folder)) == 10


@without_gpus
def test_the_published_line_without_shards(tmp_path: Path) -> None:
    """`CUDA_VISIBLE_DEVICES=6,7 torchrun … train_ddp.py` in a fresh checkout."""
    shutil.copy(ROOT / "train_ddp.py", tmp_path)
    for part in ("asd", "configs"):
        (tmp_path / part).symlink_to(ROOT / part)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, "train_ddp.py"],
        cwd=tmp_path,
        env=os.environ | TWO_GPUS,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    lines = without_heads(done.stderr).splitlines()
    ours = [line for line in lines if line.startswith(("error: ", "warning: "))]
    assert ours[0] == "warning: CUDA_VISIBLE_DEVICES=6,7, but no GPU is here: using the CPU"
    assert ours[1].startswith("error: no shards at data/dcase2020: make them with `python -m shards.pack")
    assert "`python -m shards.synth" in ours[1]
    assert len(ours) == 2
    assert 'train_ddp.py", line' not in done.stderr, "no traceback of ours"
    assert not (tmp_path / "runs").exists()


@without_gpus
def test_devices_that_are_not_there_are_said_once_and_the_cpu_trains(small_set: Path, tmp_path: Path) -> None:
    words = train_words(small_set, tmp_path / "run", "train.epochs=1")
    done = succeed(tmp_path / "log", words, ranks=2, env=TWO_GPUS, prepare=no_scoring)
    assert done.err == ["warning: CUDA_VISIBLE_DEVICES=6,7, but no GPU is here: using the CPU\n", ""]
    assert len(losses(tmp_path / "run")) == 5


def test_plain_python_trains_on_one_device(small_set: Path, tmp_path: Path) -> None:
    words = train_words(small_set, tmp_path / "run", "train.steps=2", "train.epochs=null")
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "LOCAL_WORLD_SIZE": "2"}
    words += ["evaluate.scorers=[{name: centroid}]"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train_ddp.py"), *words],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "1 rank on cpu" in done.stdout
    assert not done.stderr
    assert sorted(losses(tmp_path / "run")) == [1, 2]


@pytest.mark.parametrize("ranks", [1, 2])
def test_check_starts_nothing(small_set: Path, tmp_path: Path, ranks: int) -> None:
    done = succeed(tmp_path / "log", ["--check", *train_words(small_set, tmp_path / "run")], ranks=ranks)
    assert done.out == ["ok: 4 classes, 92 training clips, cpu, fp32\n", ""][:ranks]
    assert not (tmp_path / "run").exists()


def test_check_of_a_run_that_goes_on(small_set: Path, unbroken: Path, tmp_path: Path) -> None:
    assert succeed(tmp_path / "log", ["--check", *words(small_set, unbroken)]).out[0].startswith("ok: ")
