"""Lines of a run for people and for machines: time, level and rank in one format, set up in one place."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import pytest
from rich.text import Text

from asd.process import logs
from asd.text.terminal import open_console

log = logging.getLogger("asd.of_a_test")
NUMBERS = {"step": 5, "loss": math.nan, "message": "not the line's"}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    log.info("well")
    log.warning("not so well", extra={"fields": NUMBERS, "details": "here\nand there"})
    logging.getLogger("another.library").info("which nobody asked")
    logging.getLogger("another.library").warning("which everybody should hear")
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "well" in out, "warnings go to stderr alone"
    return out + err


def test_a_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("plain")
    assert said(capsys).splitlines() == [
        "well", "warning: not so well", "here", "and there", "warning: which everybody should hear",
    ]  # fmt: skip


@pytest.mark.parametrize(("ranks", "rank"), [("1", ""), ("2", r"\[rank 1\] ")])
def test_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ranks: str, rank: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", ranks)
    monkeypatch.setenv("RANK", "1")
    logs.set_up("text")
    first, second, *details, last = said(capsys).splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert re.fullmatch(f"{time}{rank}info: well", first)
    assert re.fullmatch(f"{time}{rank}warning: not so well", second)
    assert details == ["here", "and there"]
    assert last.endswith("warning: which everybody should hear")
    assert re.fullmatch(f"{time}{rank}error: x", logs.formatted(logging.ERROR, "x"))


def test_a_run_that_a_machine_reads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    logs.set_up("json")
    first, second, last = map(json.loads, said(capsys).splitlines())
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {"level": "info", "rank": 1, "message": "well"}
    assert (second["level"], second["message"], second["details"]) == ("warning", "not so well", "here\nand there")
    assert (second["step"], second["loss"]) == (5, None), "NaN is not JSON"
    assert last["message"] == "which everybody should hear"
    open_console().print(Text("a table"))
    open_console(stderr=True).print(Text("a bar"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("of Python's own", stacklevel=1)
    out, err = capsys.readouterr()
    assert not out and "of Python's own" in json.loads(err)["message"]


def test_the_newest_set_up_counts(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json", "plain"):
        logs.set_up(form)
    log.info("once")
    assert capsys.readouterr().out == "once\n"
    assert logs.form() == "plain"


FAILS = """
import threading
from asd.errors import UserError, run_main
from asd.process import logs
def fail():
    raise KeyError("of a thread")
def main():
    logs.set_up("json")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise {error}
run_main(main)
"""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [("UserError('of the user')", 2, "of the user"), ("ValueError('of ours')", 1, "ValueError: of ours")],
)
def test_a_failure_is_json_as_well(error: str, code: int, message: str) -> None:
    done = subprocess.run([sys.executable, "-c", FAILS.format(error=error)], capture_output=True, text=True)
    assert done.returncode == code
    thread, last = map(json.loads, done.stderr.splitlines())
    assert "KeyError: 'of a thread'" in thread["traceback"]
    assert (last["level"], last["message"]) == ("error", message)
    assert ("traceback" in last) == (code == 1)


def test_a_line_that_cannot_be_written_ends_the_command_in_one_line() -> None:
    code = "import logging; from asd.errors import run_main; run_main(lambda: logging.getLogger('asd').info('x'))"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device") and done.stderr.count("\n") == 1
