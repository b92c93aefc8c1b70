from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asd.monitor import health
from asd.monitor.status import Alert, Status, write_status


def write(run: Path, age: float, **fields: Any) -> None:
    """A run that last got on `age` seconds ago."""
    run.mkdir(parents=True)
    now = time.time()
    usual: dict[str, Any] = {"state": "training", "step": 40, "total_steps": 1000, "loss": 1.25}
    common = {"run": run.name, "host": "h", "pid": 1, "world_size": 2, "device": "cpu"}
    times = {"started_unix": now - 9000, "updated_unix": now, "progressed_unix": now - age}
    write_status(run, Status(**common, **(usual | fields), **times))
    os.utime(run / "status.json", (now - age,) * 2)


def test_a_run_is_alive_while_it_gets_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run", 40.0)
    assert health.main([str(tmp_path / "run")]) == 0
    assert "run: training, step 40 of 1000, loss 1.2500, 4" in capsys.readouterr().out
    assert health.main([str(tmp_path / "run"), "--max-age", "20"]) == 1, "it hangs, though the file is new"


def test_of_several_runs_the_newest_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "old", 5000.0)
    write(tmp_path / "sweep" / "new", 1.0, step=60)
    assert health.main([str(tmp_path)]) == 0
    assert "sweep/new: training, step 60" in capsys.readouterr().out


STALLED = Alert(name="stalled", since_step=40, text="rank 1 is stalled")
STARVED = Alert(name="data_wait", since_step=40, text="the slowest rank waits")


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"state": "starting", "step": 0, "total_steps": None, "loss": None}, 0, "starting, step 0, "),
        ({"state": "evaluating"}, 0, "evaluating, step 40 of 1000"),
        ({"state": "finished", "step": 1000}, 0, "finished, step 1000 of 1000"),
        ({"state": "stopped"}, 0, "stopped, step 40"),
        ({"state": "failed", "why": "No space left on device"}, 1, "failed (No space left on device), step 40"),
        ({"alerts": (STALLED,)}, 1, "alert stalled: rank 1 is stalled"),
        ({"alerts": (STARVED,)}, 0, "alert data_wait: the slowest rank waits"),
        ({"loss": float("nan")}, 0, "training, step 40 of 1000, 0 s ago"),
    ],
)
def test_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], code: int, said: str
) -> None:
    write(tmp_path / "run", 0.0, **fields)
    assert health.main([str(tmp_path)]) == code
    assert said in capsys.readouterr().out


def test_nothing_has_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([str(tmp_path / "nowhere")]) == 1
    assert "no run has started" in capsys.readouterr().out


def test_it_costs_no_import_of_torch() -> None:
    """It runs once a minute, and has 10 s."""
    words = "import sys; import asd.monitor.health; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], cwd=Path(__file__).parents[2]).returncode == 0
