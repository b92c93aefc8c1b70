"""Lines of a run, as people and as machines read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from asd.loggers import LoggingConfig
from tests.end_to_end.conftest import FinishedRun
from tests.support.hooks import score_at_once
from tests.support.launch import ROOT, losses, succeed, train_words

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def test_lines_have_time_rank_and_level(finished_run: FinishedRun) -> None:
    """All but the table at the end, and what torchrun says."""
    lines = finished_run.output.splitlines()
    ours = [line for line in lines if re.match(rf"{TIME} \[rank 0\] info: ", line)]
    assert "[rank 0] info: 4 classes: " in ours[0] and "info: finished at step 10; tensorboard" in ours[-1]
    for beginning in ("run folder ", *(f"step {step}/10 epoch " for step in range(1, 11)), "step 10 scored in "):
        assert len([line for line in lines if beginning in line]) == 1
        assert len([line for line in ours if f" info: {beginning}" in line]) == 1


def test_a_run_for_machines_is_lines_of_json_alone(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*train_words(small_set, folder), "--log-format", "json"]
    done = succeed(tmp_path / "log", words, ranks=2, prepare=score_at_once)
    lines = [json.loads(line) for line in done.out[0].splitlines()]
    assert all({"time", "level", "rank", "message"} <= line.keys() for line in lines)
    assert {(line["rank"], line["level"]) for line in lines} == {(0, "info")}
    assert {line["step"]: line["loss"] for line in lines if "loss" in line} == losses(folder)
    assert lines[-1]["message"].startswith("finished at step 10;")
    assert [done.out[1], *done.err] == ["", "", ""]


def test_the_scoring_process_has_such_lines(tmp_path: Path) -> None:
    words = [tmp_path / "nowhere", tmp_path, tmp_path, LoggingConfig(trackers=()).model_dump_json()]
    command = [sys.executable, "-m", "asd.evaluate.scoring", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 2
    assert re.fullmatch(rf"{TIME} error: .*nowhere holds no evaluation\.json: embed the checkpoint first\n", said)
