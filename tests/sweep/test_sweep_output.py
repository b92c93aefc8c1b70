"""Lines of runs that print at once stay whole, and each says which run it is of."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from asd.process import logs
from asd.sweep.output import environment, labelled

PRINTER = """
import os, sys
for number in range(200):
    print("out", number, "é", flush=True)
    print("err", number, file=sys.stderr, flush=True)
os.write(1, b"\\xff no text\\n")
os.write(1, b"no line end")
"""


def run(label: str) -> int:
    with labelled(label) as output:
        env = {"PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [sys.executable, "-c", PRINTER], stdout=output, stderr=output, env=env, check=True
        ).returncode


def test_every_line_says_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"tiny seed {seed} fan" for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, labels)) == [0, 0, 0]
    lines = capsys.readouterr().out.splitlines()
    for label in labels:
        own = [line.removeprefix(f"[{label}] ") for line in lines if line.startswith(f"[{label}] ")]
        assert [line for line in own if line.startswith("out")] == [f"out {number} é" for number in range(200)]
        assert [line for line in own if line.startswith("err")] == [f"err {number}" for number in range(200)]
        assert own[-2:] == ["\ufffd no text", "no line end"]
    assert len(lines) == 3 * 402


JSON_PRINTER = """
import os
from asd.process import logs
import logging
logs.set_up("json")
logging.getLogger("asd").info("step 1", extra={"fields": {"loss": 0.5}})
os.write(1, b"of native code\\n3\\n")
"""


def test_lines_of_json_stay_so_and_say_their_run(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("json")
    with labelled("tiny seed 0") as output:
        subprocess.run([sys.executable, "-c", JSON_PRINTER], stdout=output, check=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["step 1", "of native code", "3"]
    assert lines[0]["loss"] == 0.5
    assert all({"time", "level", "rank"} < line.keys() and line["run"] == "tiny seed 0" for line in lines)


def test_tables_leave_room_for_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert environment("x" * 17)["COLUMNS"] == "80"
    assert environment("x" * 90)["COLUMNS"] == "40"
