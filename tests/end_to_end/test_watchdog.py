"""Real runs, watched: a rank that hangs is named, with its stage and stacks; a run that ends says how."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asd.monitor import health
from tests.end_to_end.conftest import FinishedRun
from tests.support.hooks import GO, hang_in_the_loader, impatient, nan_from_then_on
from tests.support.launch import Job, records, run, train_words
from tests.support.patience import wait_for

IMPATIENT = ["monitor.stall_s=3", "evaluate.every_epochs=100"]


def status(folder: Path) -> dict[str, Any]:
    path = folder / "status.json"
    return json.loads(path.read_text()) if path.exists() else {}


def stalled(folder: Path) -> str:
    """What the alert says, if there is one."""
    return next((alert["text"] for alert in status(folder).get("alerts", []) if alert["name"] == "stalled"), "")


def told(folder: Path) -> list[float]:
    """Beginnings (1) and ends (0) of the alert in metrics.jsonl."""
    return [record["alert/stalled"] for record in records(folder) if "alert/stalled" in record]


def test_a_rank_that_hangs_in_its_loader(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, go = tmp_path / "run", tmp_path / "go"
    words = train_words(small_set, folder, *IMPATIENT)
    job = Job(tmp_path / "log", words, ranks=2, prepare=hang_in_the_loader, env={GO: str(go)})
    said = wait_for(lambda: stalled(folder))
    assert "rank 1 on " in said and "is stalled (waiting for data, step " in said
    assert "; rank 0 waits (syncing ranks, step " in said
    assert health.main([str(folder)]) == 1
    assert "alert stalled: rank 1 on " in capsys.readouterr().out
    stacks = (folder / "stalls" / "rank_1.txt").read_text()
    assert "in hanging_read" in stacks and "asd/data/loader.py" in stacks
    go.touch()
    done = job.wait()
    assert done.codes == [0, 0], done
    for rank in range(2):
        assert "warning: no progress on " in done.err[rank] and "progress again on " in done.out[rank]
    assert "in stage waiting for data (step " in done.err[1]
    assert "in hanging_read" in done.err[1]
    assert "warning: alert stalled at step " in done.err[0] and "alert stalled is over at step " in done.out[0]
    assert told(folder)[:2] == [1.0, 0.0]
    assert (status(folder)["state"], status(folder)["alerts"]) == ("finished", [])
    assert health.main([str(folder)]) == 0
    events = EventAccumulator(str(folder / "tensorboard" / "train")).Reload()
    assert len(events.Tensors("alerts/text_summary")) >= 2, "begun, and over"
    assert {event.value for event in events.Scalars("alert/stalled")} == {0.0, 1.0}


def test_a_rank_that_is_frozen(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = train_words(small_set, folder, *IMPATIENT, "train.epochs=400")
    job = Job(tmp_path / "log", words, ranks=2, prepare=impatient)
    wait_for(lambda: len(records(folder)) > 3)
    os.kill(job.pids[1], signal.SIGSTOP)
    said = wait_for(lambda: stalled(folder))
    assert said.startswith(
        "no stall report from rank 1: process dead or frozen, or it cannot see the run folder; rank 0 on "
    )
    os.kill(job.pids[1], signal.SIGCONT)
    wait_for(lambda: told(folder)[-2:] == [1.0, 0.0])
    job.signal(signal.SIGTERM)
    assert job.wait().codes == [0, 0]
    assert status(folder)["state"] == "stopped"
    assert status(folder)["checkpoint_step"] == status(folder)["step"]


def test_a_run_that_fails_says_why(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = run(
        tmp_path / "log", train_words(small_set, folder, "train.max_nonfinite=3"), ranks=2, prepare=nan_from_then_on
    )
    assert done.codes == [2, 2]
    assert status(folder)["state"] == "failed"
    assert status(folder)["why"].startswith("loss or gradient was not finite for 3 steps in a row")
    assert [alert["name"] for alert in status(folder)["alerts"]] == ["nonfinite"]
    assert done.err[0].count("alert nonfinite at step ") == 1
    assert health.main([str(folder)]) == 1


def test_a_run_that_ends_well(finished_run: FinishedRun) -> None:
    found = status(finished_run.folder)
    report = json.loads(next(finished_run.folder.glob("evaluations/*/report.json")).read_text())
    scores = report["scorers"][report["primary"]]["mean"]
    assert (found["state"], found["why"], found["step"], found["total_steps"]) == ("finished", None, 10, 10)
    assert (found["checkpoint_step"], found["scored_step"], found["best_step"]) == (10, 10, 10)
    assert (found["auc"], found["pauc"]) == (scores["auc"], scores["pauc"])
    last = [record for record in records(finished_run.folder) if "loss" in record][-1]
    assert all(found[name] == last[name] for name in ("epoch", "loss", "clips_per_s", "bad_clips", "nonfinite_steps"))
    families = text_string_to_metric_families((finished_run.folder / "status.prom").read_text())
    samples = {(sample.name, sample.labels.get("state")): sample for family in families for sample in family.samples}
    assert samples["asd_state", "finished"].value == 1
    assert samples["asd_auc_ratio", None].value == scores["auc"]
    assert samples["asd_step", None].labels == {"run": "run"}
    assert not (finished_run.folder / "stalls").exists()
