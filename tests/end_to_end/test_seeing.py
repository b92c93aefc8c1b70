"""What TensorBoard shows of a run, read from its files and asked of a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.end_to_end.conftest import FinishedRun
from tests.support.launch import free_port, records
from tests.support.patience import PATIENCE_S, wait_for


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_training_curves(finished_run: FinishedRun) -> None:
    found = events(finished_run.folder / "tensorboard" / "train")
    scalars = set(found.Tags()["scalars"])
    named = ("loss", "loss_max", "lr", "grad_norm", "epoch", "clips_per_s", "data_wait_s", "data_wait_percent")
    assert {f"train/{name}" for name in (*named, "peak_mem_gib", "step_s", "bad_clips", "nonfinite_steps")} <= scalars
    assert {"validation/loss", "validation/accuracy"} <= scalars
    logged = [(record["step"], record["loss"]) for record in records(finished_run.folder) if "loss" in record]
    shown = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert shown == [(step, pytest.approx(loss)) for step, loss in logged]


def test_resolved_config(finished_run: FinishedRun) -> None:
    found = events(finished_run.folder / "tensorboard" / "train")
    (event,) = found.Tensors("config/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert (finished_run.folder / "config.yaml").read_text() in text
    assert "margin: 0.05" in text, "a default that the config file does not name"


def test_scores_by_type_and_id(finished_run: FinishedRun) -> None:
    found = events(finished_run.folder / "tensorboard" / "eval")
    scalars = set(found.Tags()["scalars"])
    report = json.loads(next(finished_run.folder.glob("evaluations/*/report.json")).read_text())
    for scorer in ("softmax", "centroid", "knn", "untrained_knn"):
        for machine_type in ("fan", "pump", "valve"):
            tag = f"auc/{scorer}/{machine_type}"
            assert tag in scalars
            (event,) = found.Scalars(tag)
            assert event.value == pytest.approx(report["scorers"][scorer]["types"][machine_type]["auc_mean"])
        assert f"pauc/{scorer}/fan" in scalars
    assert "auc_by_id/softmax/fan/02" in scalars
    assert "mean/auc/softmax" in scalars


def test_figures(finished_run: FinishedRun) -> None:
    found = events(finished_run.folder / "tensorboard" / "eval")
    drawn = {"roc", "scores", "comparison", "confusion_validation", "confusion_test", "angles"}
    assert {f"figures/{name}" for name in drawn} == set(found.Tags()["images"])
    (folder,) = finished_run.folder.glob("evaluations/*/figures")
    assert drawn == {path.stem for path in folder.iterdir()}
    assert "report/text_summary" in found.Tags()["tensors"]


@pytest.fixture
def server(finished_run: FinishedRun) -> Iterator[str]:
    """The address of a TensorBoard that looks at the run as its own words say."""
    (logdir,) = set(re.findall(r"tensorboard --logdir (\S+)", finished_run.output))
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", str(port), "--host", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}/data/plugin"
        process.kill()


def test_server(server: str) -> None:
    tags = wait_for(lambda: ask(f"{server}/scalars/tags"))
    assert "train/loss" in tags["train"]
    assert "auc/softmax/fan" in tags["eval"]
    points = ask(f"{server}/scalars/scalars?run=train&tag=train%2Floss")
    assert [step for _, step, _ in points] == list(range(1, 11))


def test_projector(server: str) -> None:
    assert "eval" in wait_for(lambda: ask(f"{server}/projector/runs"))
    (shown,) = ask(f"{server}/projector/info?run=eval")["embeddings"]
    assert shown["tensorName"] == "test:00010"
    assert shown["tensorShape"][0] == 32
    with urllib.request.urlopen(f"{server}/projector/metadata?run=eval&name=test:00010", timeout=PATIENCE_S) as answer:
        head, *rows = answer.read().decode().splitlines()
    assert head == "machine\tid\tlabel\tkey"
    assert len(rows) == 32


def ask(address: str) -> Any:
    """The JSON that the server answers; None while it is starting."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            return json.load(answer)
    except OSError:
        return None
