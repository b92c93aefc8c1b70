"""MLflow for real: a database beside the runs, one MLflow run of training, scoring and resumed training."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from asd.errors import UserError
from asd.loggers.base import Loggers, Outcome, Source
from asd.loggers.mlflow import ID_FILE, MlflowConfig, MlflowLogger

SETTINGS = {"train": {"seed": 0, "epochs": None}, "logging": {"trackers": [{"name": "mlflow"}]}}


def client(runs: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")


def write(source: Source, *steps: int, outcome: Outcome = "finished") -> None:
    with Loggers() as loggers:
        loggers.add(MlflowConfig().build(source))
        for step in steps:
            loggers.log(step, {"loss": step / 4, "auc/knn/fan #1": math.nan})
        loggers.close(outcome)


def steps(runs: Path, run_id: str, name: str) -> list[int]:
    return [point.step for point in client(runs).get_metric_history(run_id, name)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one database, which takes seconds to make."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def folder(runs: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (runs / request.node.name).mkdir()
    return runs / request.node.name


def test_one_run_from_start_to_end(runs: Path, folder: Path) -> None:
    write(Source(folder, settings=SETTINGS), 1, 2, 3, outcome="stopped")
    run_id = (folder / ID_FILE).read_text()
    found = client(runs).get_run(run_id)
    assert (found.info.run_name, found.info.status) == (folder.name, "KILLED")
    assert found.data.params["train.seed"] == "0" and found.data.params["train.epochs"] == "None"
    assert found.data.metrics["train/loss"] == 0.75
    assert math.isnan(found.data.metrics["auc/knn/fan _1"])
    logger = MlflowConfig().build(Source(folder, first_step=2, settings=SETTINGS | {"train": {"epochs": 9}}))
    assert client(runs).get_run(run_id).info.status == "RUNNING"
    logger.close("failed")
    write(Source(folder, first_step=2), 3, 4)
    assert steps(runs, run_id, "train/loss") == [1, 2, 3, 4], "what was done again stands there once"
    assert client(runs).get_run(run_id).info.status == "FINISHED"
    own = client(runs).search_runs([found.info.experiment_id], f"attributes.run_name = '{folder.name}'")
    assert [run.info.run_id for run in own] == [run_id]


def test_scoring_writes_into_the_run_of_training(runs: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = MlflowConfig().build(Source(folder))
    scoring = MlflowConfig().build(Source(folder, "eval"))
    training.log(2, {"validation/loss": 0.5})
    training.flush()
    scoring.log(2, {"validation/loss": 0.5})  # which both of them tell
    scoring.log(2, {"auc/knn/fan": 0.75})
    scoring.text(2, "report", "# scores")
    capsys.readouterr()
    figure = Figure()
    figure.subplots().plot([1, 2])
    scoring.figure(2, "figures/roc", figure)
    scoring.close()
    assert not capsys.readouterr().err
    run_id = (folder / ID_FILE).read_text()
    found = client(runs).get_run(run_id)
    assert (found.info.status, found.data.metrics) == ("RUNNING", {"auc/knn/fan": 0.75, "validation/loss": 0.5}), (
        "training goes on"
    )
    training.close()
    kept = Path(found.info.artifact_uri.removeprefix("file://"))
    assert kept.is_relative_to(runs), "nothing in the folder that a command was started in"
    assert (kept / "report" / "step_00000002.md").read_text() == "# scores"
    assert (kept / "figures" / "roc" / "step_00000002.png").read_bytes()[:4] == b"\x89PNG"


def test_a_server_that_goes_away_ends_no_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = MlflowConfig().build(Source(folder))
    assert isinstance(logger, MlflowLogger)

    def gone(*_: object, **__: object) -> None:
        raise MlflowException("no answer\nat all")

    monkeypatch.setattr(logger._client, "log_batch", gone)
    capsys.readouterr()
    for step in (1, 2):
        logger.log(step, {"loss": 1.0})
    logger.close()
    assert capsys.readouterr().err == "warning: MLflow logging failed and is off from now on: no answer\n"


BEGIN = """
import pathlib, sys
from asd.loggers.base import Source
from asd.loggers.mlflow import MlflowConfig
import mlflow.tracking
print("ready", flush=True)
input()
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
MlflowConfig().build(Source(folder, settings={"seed": 0})).close("finished")
"""


def test_runs_that_begin_at_once_share_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a sweep; the first of them makes its tables."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    both = [subprocess.Popen([sys.executable, "-c", BEGIN, tmp_path / n], stdin=-1, stdout=-1, text=True) for n in "ab"]
    for run in both:
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
    for run in both:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    for run in both:
        run.communicate()
    assert [run.returncode for run in both] == [0, 0]
    (experiment,) = (found for found in client(tmp_path).search_experiments() if found.name == "asd")
    assert {run.info.run_name for run in client(tmp_path).search_runs([experiment.experiment_id])} == {"a", "b"}


def test_mistakes_are_told_before_the_run_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"MLflow at nowhere://at\.all cannot be written to .*: check tracking_uri"):
        MlflowConfig(tracking_uri="nowhere://at.all").build(Source(folder))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-mlflow\.txt"):
        MlflowConfig().build(Source(folder))


def test_where_it_is_written_and_seen(runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = f"sqlite:///{runs}/mlflow.db"
    assert MlflowConfig().uri(folder) == local
    assert MlflowConfig().viewer(folder) == f"mlflow ui --backend-store-uri {local}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://theirs")
    assert MlflowConfig().uri(folder) == "https://theirs"
    assert MlflowConfig().viewer(folder) is None
    assert MlflowConfig(tracking_uri="sqlite:///x.db").uri(folder) == "sqlite:///x.db"
