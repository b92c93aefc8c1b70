from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from asd import health


def write(run: Path, age: float, *lines: str) -> None:
    run.mkdir(parents=True)
    metrics = run / "metrics.jsonl"
    metrics.write_text("".join(lines))
    os.utime(metrics, (time.time() - age,) * 2)


def line(step: int, **numbers: float | None) -> str:
    return json.dumps({"step": step, **numbers}) + "\n"


def test_a_run_is_alive_while_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run", 40.0, line(20, loss=1.5), line(40, loss=1.25))
    assert health.main([str(tmp_path / "run")]) == 0
    assert "step 40, loss 1.2500, 4" in capsys.readouterr().out
    assert health.main([str(tmp_path / "run"), "--max-age", "20"]) == 1


def test_of_several_runs_the_newest_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "old", 5000.0, line(20, loss=1.5))
    write(tmp_path / "sweep" / "new", 1.0, line(60, loss=0.5))
    assert health.main([str(tmp_path)]) == 0
    assert "sweep/new: step 60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no step yet"),
        ([line(20, loss=1.5), '{"step": 40, "lo'], "step 20, loss 1.5000"),  # cut short by a kill
        ([line(20, loss=None)], "step 20,"),  # not finite
        ([line(20, **{"validation/loss": 0.5})], "step 20, loss 0.5000"),
        ([line(step, loss=1.0) for step in range(5000)], "step 4999, loss 1.0000"),
    ],
)
def test_whatever_the_last_line_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], said: str
) -> None:
    write(tmp_path / "run", 0.0, *lines)
    assert health.main([str(tmp_path)]) == 0
    assert said in capsys.readouterr().out


def test_nothing_has_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([str(tmp_path / "nowhere")]) == 1
    assert "no run has begun" in capsys.readouterr().out
