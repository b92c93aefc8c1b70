"""Lines of runs that print at once stay whole, and each says which run it is of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asd.process import logs
from asd.sweep.output import Output, environment

PRINTER = """
import os, sys
for number in range(200):
    print("out", number, "é", flush=True)
    print("err", number, file=sys.stderr, flush=True)
os.write(1, b"\\xff no text\\n")
os.write(1, b"progress 1\\rprogress 2\\r\\n")
os.write(1, b"no line end")
"""


def printed(program: str) -> bytes:
    own = [sys.executable, "-c", program]
    env = {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=True).stdout


def test_every_line_says_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And is whole, wherever a log ended when it was looked at."""
    text = printed(PRINTER)
    outputs = [Output(tmp_path / f"{seed}.log", f"tiny seed {seed} fan") for seed in range(3)]
    for at in range(0, len(text), 7):
        for output in outputs:
            output.show()  # before there is a log, too
            with output.path.open("ab") as log:
                log.write(text[at : at + 7])
    for output in outputs:
        output.show(ended=True)
        assert output.why.splitlines()[-2:] == ["progress 2", "no line end"]
    lines = capsys.readouterr().out.splitlines()
    for seed in range(3):
        label = f"[tiny seed {seed} fan] "
        own = [line.removeprefix(label) for line in lines if line.startswith(label)]
        assert [line for line in own if line.startswith("out")] == [f"out {number} é" for number in range(200)]
        assert [line for line in own if line.startswith("err")] == [f"err {number}" for number in range(200)]
        assert own[-4:] == ["\ufffd no text", "progress 1", "progress 2", "no line end"]
    assert len(lines) == 3 * 404


def test_what_a_run_failed_of_stands_before_the_lines_of_torchrun(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", "tiny seed 0")
    error = "2026-12-01 00:29:41 [rank 0] error: File exists: runs/a"
    output.path.write_text("\n".join(["2026-12-01 00:29:40 info: well", error, *["====", "FAILED", "rank : 0"] * 9]))
    output.show(ended=True)
    assert output.why == error
    output.path.write_text('{"level": "info"}\n{"level": "error", "message": "File exists"}\n}\n')
    of_json = Output(output.path, "tiny seed 0")
    of_json.show()
    assert of_json.why == '{"level": "error", "message": "File exists"}'


JSON_PRINTER = """
import os
from asd.process import logs
import logging
logs.set_up("json")
logging.getLogger("asd").info("step 1", extra={"fields": {"loss": 0.5}})
os.write(1, b"of native code\\n3\\n")
"""


def test_lines_of_json_stay_so_and_say_their_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("json")
    output = Output(tmp_path / "log", "tiny seed 0")
    output.path.write_bytes(
        subprocess.run([sys.executable, "-c", JSON_PRINTER], capture_output=True, check=True).stdout
    )
    output.show(ended=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["step 1", "of native code", "3"]
    assert lines[0]["loss"] == 0.5
    assert all({"time", "level", "rank"} < line.keys() and line["run"] == "tiny seed 0" for line in lines)


def test_tables_leave_room_for_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert environment("x" * 17)["COLUMNS"] == "80"
    assert environment("x" * 90)["COLUMNS"] == "40"
