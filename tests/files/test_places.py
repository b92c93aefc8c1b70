"""Where things are read and written: `~` is a home folder everywhere, and no output takes the place of an input."""

from __future__ import annotations

import ast
import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.commands.angles import angles_command
from asd.commands.clips import _prepare
from asd.commands.ensemble import ensemble_command
from asd.commands.report import report_score_files
from asd.commands.report_scores import report_scores
from asd.config.load import load_config
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.files.paths import check_over, check_within, user_path
from asd.sweep import sweep
from shards import cut, pack
from shards.layouts.clip import Choices
from shards.layouts.table import read_tables
from tests.text.test_text import ROOT, SOURCES, calls

CONFIG = ROOT / "configs" / "own_machines_autoencoder.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def table(home: Path) -> Path:
    """~/in/t.csv of two recordings, one of them named by its place in the home folder."""
    (home / "in").mkdir()
    (home / "a.wav").parent.mkdir(exist_ok=True)
    for number, path in enumerate((home / "a.wav", home / "in" / "b.wav")):
        soundfile.write(path, np.random.default_rng(number).integers(-900, 900, 16_000, np.int16), 16_000)
    with (home / "in" / "t.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "machine_type", "machine_id", "split", "label"))
        rows.writerows([("~/a.wav", "fan", "1", "train", "normal"), ("b.wav", "fan", "1", "train", "normal")])
    return home / "in" / "t.csv"


# ---- home folders --------------------------------------------------------------------------------------------------


def test_no_command_line_takes_a_path_as_it_is():
    found = [
        f"{path.name}:{call.lineno}"
        for path in SOURCES
        for call in calls(path)
        for word in call.keywords
        if word.arg == "type" and ast.unparse(word.value) == "Path"
    ]
    assert found == []


def test_home_is_found_wherever_a_path_is_written(home, table):
    assert pack.main(["--layout", "table", "--source", "~/in/t.csv", "--out", "~/set", "--workers", "1"]) == 0
    assert (home / "set" / "manifest.json").is_file()
    config = load_config(CONFIG, ["data.shards=~/set", "run.dir=~/run", "init_from=~/former"])
    assert (config.data.shards, config.run.dir) == (f"{home}/set", f"{home}/run")
    assert config.init_from == f"{home}/former"
    file = home / "mine.yaml"
    file.write_text(CONFIG.read_text(encoding="utf-8") + "run: {dir: ~/other}\n", encoding="utf-8")
    assert load_config(user_path("~/mine.yaml")).run.dir == f"{home}/other"
    assert train_ddp.parse_args(["--config", "~/mine.yaml"]).config == file
    args = evaluation.parse_args(["clips", "--detector", "~/d.pt", "~/x", "--out", "~/o.csv", "~/y"])
    assert (args.detector, args.recordings, args.out) == (home / "d.pt", [home / "x", home / "y"], home / "o.csv")


def test_a_user_that_is_not_there_is_named():
    with pytest.raises(UserError, match="~nobody_of_that_name/x: there is no such user"):
        user_path("~nobody_of_that_name/x")
    with pytest.raises(UserError, match="there is no such user"):
        load_config(CONFIG, ["data.shards=~nobody_of_that_name/x"])


def test_a_table_names_its_line_with_a_user_that_is_not_there(table):
    table.write_text(table.read_text(encoding="utf-8").replace("b.wav", "~.wav"), encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.csv:3: ~\.wav: there is no such user; .* write \./~\.wav"):
        read_tables([table], Choices())


# ---- outputs and inputs --------------------------------------------------------------------------------------------


def refused(main: Callable[[list[str]], int], *words: object) -> None:
    with pytest.raises(UserError, match="name another path"):
        main([*map(str, words)])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_set_is_not_packed_over_its_recordings(home, table):
    words = ["--layout", "table", "--source", table, "--out", home / "set"]
    assert pack.main([*map(str, words)]) == 0
    (home / "a.wav").rename(home / "set" / "a.wav")  # into the set: --overwrite would remove it
    table.write_text(table.read_text(encoding="utf-8").replace("~/a.wav", "~/set/a.wav"), encoding="utf-8")
    before = contents(home)
    refused(pack.main, *words, "--overwrite")
    table.rename(home / "set" / "t.csv")
    refused(pack.main, *words[:3], home / "set" / "t.csv", *words[4:], "--overwrite")
    assert set(contents(home).values()) == set(before.values())


@pytest.mark.parametrize("out", ["recordings", "recordings/fan/set", "."])
def test_a_set_is_not_packed_into_or_around_its_source(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings" / "fan" / "train").mkdir(parents=True)
    refused(pack.main, "--layout", "dcase2020", "--source", "recordings", "--out", out)
    (tmp_path / "link").symlink_to(tmp_path / "recordings")
    refused(pack.main, "--layout", "dcase2020", "--source", "link", "--out", out)


def test_clips_are_not_cut_over_their_recordings(home, table):
    refused(cut.main, "--source", table, "--out", home / "in")


def test_results_are_not_written_over_what_is_judged(tmp_path):
    recording = tmp_path / "a.txt"
    recording.touch()
    with pytest.raises(UserError, match="is an input"):
        _prepare(tmp_path / "." / "a.txt", [recording])
    for out in (tmp_path, tmp_path / "other.WAV"):
        with pytest.raises(UserError, match="name a file for the results"):
            _prepare(out, [])
    _prepare(tmp_path / "new" / "today.csv", [recording])
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("name", ["/dev/full", "pipe"])
def test_no_file_takes_the_place_of_a_pipe_or_device(tmp_path, monkeypatch, name):
    """Which would vanish: of /dev/stdout, for all programs of the machine."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    renamed = []
    monkeypatch.setattr(Path, "rename", lambda *words: renamed.append(words))
    for write in (lambda: _prepare(Path(name), []), lambda: write_whole(Path(name), "text")):
        with pytest.raises(UserError, match=f"{name} is a pipe or device"):
            write()
    assert renamed == []


def test_numbers_are_not_written_over_score_files(tmp_path):
    scores = tmp_path / "anomaly_score_fan_section_00_test.csv"
    scores.write_text("section_00_source_test_normal_0000_x.wav,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"--json .* is an input"):
        report_score_files("dcase2023", tmp_path, "names", scores)


@pytest.mark.parametrize("name", ["scores.csv", "report.json", "decisions.csv"])
def test_numbers_are_not_written_over_the_evaluation_that_they_come_from(tmp_path, name):
    (tmp_path / "scores.csv").touch()
    with pytest.raises(UserError, match=r"--json .* is an input"):
        report_scores("table", tmp_path, None, tmp_path / name)


def test_an_ensemble_is_not_written_over_its_members(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for out in (tmp_path / "a", tmp_path / "a" / "inside", tmp_path):
        with pytest.raises(UserError, match="name another path"):
            ensemble_command([tmp_path / "a", tmp_path / "b"], out, "mean", 3, None, 90.0)


def test_a_sweep_is_not_written_over_the_one_that_it_starts_from(tmp_path):
    with pytest.raises(UserError, match="name another path"):
        sweep.parse_args(["--config", str(CONFIG), "--from", str(tmp_path), "--out", str(tmp_path)])


def test_a_run_is_not_trained_within_its_packed_set(home, table):
    """Where `pack --overwrite` would remove it."""
    with table.open("a", encoding="utf-8") as file:
        for number in range(4):
            sound = np.random.default_rng(9 + number).integers(-900, 900, 16_000, np.int16)
            soundfile.write(home / f"{number}.wav", sound, 16_000)
            file.write(f"../{number}.wav,fan,1,train,normal\n")
    assert pack.main(["--layout", "table", "--source", str(table), "--out", str(home / "set"), "--workers", "1"]) == 0
    words = f"--check data.shards={home}/set run.dir={home}/set/run data.crop_s=1 train.global_batch=2".split()
    refused(train_ddp.main, "--config", CONFIG, *words)


def test_a_picture_is_not_written_under_the_name_of_another_kind(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.png"):
        angles_command([tmp_path / "a"], "best", tmp_path / "angles.pdf")


def test_a_circle_of_links_is_a_place_of_its_own(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    check_over("--out", tmp_path / "a", [tmp_path / "in"])
    check_within("--out", tmp_path / "in", [tmp_path / "a"])
    for main in (pack.main, cut.main):
        words = ["--layout", "table"] if main is pack.main else []
        with pytest.raises(UserError, match=r"is not a file|there is no file"):
            main([*words, "--source", str(tmp_path / "a"), "--out", str(tmp_path / "b")])


def test_what_lies_beside_is_no_input(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in2").mkdir()
    check_over("--out", tmp_path / "in2", [tmp_path / "in" / "a.wav", tmp_path / "in"])
    check_over("--out", tmp_path / "in" / "today.csv", [tmp_path / "in" / "a.wav"])
    check_within("--out", tmp_path / "in2", [tmp_path / "in"])


def test_the_commands_say_it_in_one_line(home, table):
    words = ["-m", "shards.cut", "--source", table, "--out", home / "in"]
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: --out")
