"""What Slurm is asked for, read from the file that sbatch is given. Slurm itself is played by three scripts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from asd.errors import UserError
from asd.sweep.engines import Slurm, parameters_of
from asd.sweep.sweep import parse_args, plan_jobs
from tests.support.launch import TINY

SBATCH = """#!/bin/sh
env >{folder}/environment
cp "$1" {folder}/sbatch
echo Submitted batch job 7
"""
SCANCEL = """#!/bin/sh
echo "$@" >>{folder}/scancel
"""
SQUEUE = """#!/bin/sh
echo 6_0
echo 7_1
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which sbatch, environment and scancel say what Slurm was asked for."""
    for name, text in {"srun": "#!/bin/sh\n", "sbatch": SBATCH, "scancel": SCANCEL, "squeue": SQUEUE}.items():
        (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path / "asked")))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "asked").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "asked"


def lines_for(cluster: Path, seeds: str, *options: str) -> list[str]:
    """Of the file of a sweep in two slots, without the folder of the sweep."""
    out = cluster.parent / "out"
    args = parse_args(["--config", str(TINY), "--seeds", *seeds.split(), "--out", str(out), "data.shards=set"])
    Slurm(2, 2, options).submit(plan_jobs(args))
    (logs,) = (out / "jobs").iterdir()
    return (cluster / "sbatch").read_text().replace(str(logs), "LOGS").splitlines()


def test_a_sweep_is_an_array(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # the sweep was started by a job, whose share is not its jobs'
    monkeypatch.setenv("SLURM_CONF", "/etc/of_this_cluster")
    options = "time=240 partition=gpu gpus-per-node=2 cpus_per_task=16 --mem=64G exclusive"
    lines = lines_for(cluster, "0 1 2", *options.split())
    assert {
        "#SBATCH --array=0-2%2",
        "#SBATCH --time=240",
        "#SBATCH --partition=gpu",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --cpus-per-task=16",
        "#SBATCH --mem=64G",
        "#SBATCH --exclusive",
        "#SBATCH --nodes=1",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=LOGS/%A_%a_0_log.out",
    } <= set(lines)
    (srun,) = (line for line in lines if line.startswith("srun"))
    assert "--cpus-per-task=16" in srun
    environment = (cluster / "environment").read_text()
    assert "SLURM_JOB_ID" not in environment and "SLURM_CONF=/etc/of_this_cluster\n" in environment


def test_a_single_run_is_no_array(cluster: Path) -> None:
    assert not [line for line in lines_for(cluster, "0", "time=5") if "--array" in line]


def test_each_job_of_the_array_has_its_own_training(cluster: Path) -> None:
    lines_for(cluster, "0 1 2", "time=5")
    (logs,) = (cluster.parent / "out" / "jobs").iterdir()
    trainings = [DelayedSubmission.load(logs / f"7_{seed}_submitted.pkl").function for seed in range(3)]
    for seed, training in enumerate(trainings):
        assert {f"train.seed={seed}", "--nproc_per_node=2", "torch.distributed.run"} <= set(training.command)
        assert "CUDA_VISIBLE_DEVICES" not in training.environment  # Slurm's
        assert not training.cores


def test_jobs_are_asked_to_save_and_those_that_wait_are_cancelled(cluster: Path) -> None:
    args = ["--config", str(TINY), "--seeds", "0", "1", "2", "--out", str(cluster.parent / "out"), "data.shards=set"]
    slurm = Slurm(1, 2, ["time=5"])
    handles = slurm.submit(plan_jobs(parse_args(args)))
    slurm.stop(handles[:2])
    asked = (cluster / "scancel").read_text().splitlines()
    assert asked == ["--quiet --state=PENDING 7_0 7_1", "--quiet --signal=TERM 7_0 7_1"]


def test_a_job_has_ended_that_left_the_queue_or_a_result(cluster: Path) -> None:
    args = ["--config", str(TINY), "--seeds", "0", "1", "2", "--out", str(cluster.parent / "out"), "data.shards=set"]
    slurm = Slurm(1, 3, ["time=5"])
    handles = slurm.submit(plan_jobs(parse_args(args)))
    assert slurm.going(handles) == [handles[1]]
    (cluster.parent / "squeue").write_text("#!/bin/sh\nexit 1\n")  # Slurm does not answer
    assert slurm.going(handles) == handles
    handles[1].paths.result_pickle.touch()
    assert slurm.going(handles) == [handles[0], handles[2]]


def test_what_sbatch_refuses_is_one_line(cluster: Path) -> None:
    (cluster.parent / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition: x >&2\nexit 1\n")
    with pytest.raises(UserError, match="--slurm: sbatch: error: invalid partition: x"):
        lines_for(cluster, "0", "time=5", "partition=x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("partition=gpu", "--slurm needs time=MINUTES"),
        ("time=4:00:00", "--slurm needs time=MINUTES"),
        ("time=2", "--slurm needs time=MINUTES, 3 or more"),
        ("time=5 nodes=2", "a run of a sweep has one node; docker/slurm.sbatch"),
        ("time=5 array=0-3", "the sweep sets array itself"),
        ("time=5 optim.lr=1e-3", "takes options of sbatch, optim.lr is none"),
    ],
)
def test_options_that_cannot_be(options: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parameters_of(options.split(), slots=1)


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no srun on this machine"):
        Slurm(1, 1, ["time=5"])
