"""To add a part is to write one file and to name it in one list: CONTRIBUTING.md says which."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from shards.wav_file import write_wav
from tests.support.launch import ONE_THREAD
from tests.support.throw_away import ADDED, RHYTHM, YEARS

ROOT = Path(__file__).parents[1]

CONFIG = """
data: {crop_s: 0.5, val_fraction: 0.2}
task: {name: mine}
frontend: {name: mine}
backbone: {name: mine}
loss: {name: mine}
optim: {name: mine, lr: 1.0e-3, schedule: {name: mine}}
train: {global_batch: 4, epochs: 1, log_every: 1}
distributed: {precision: fp32}
evaluate: {times: 2, scorers: [{name: mine}]}
logging: {trackers: [{name: mine}]}
"""
STEPS = 4  # 2 machines of 10 training clips, 2 of them held out; 4 a step


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with one more of everything."""
    root = tmp_path_factory.mktemp("house")
    for folder in ("asd", "shards"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for script in ("train_ddp.py", "eval.py"):
        shutil.copy(ROOT / script, root)
    (root / "mine.yaml").write_text(CONFIG)
    for file, text, *lines in ADDED.values():
        (root / file).write_text(text)
        insert(root, lines)
    insert(root, RHYTHM)
    return root


def insert(root: Path, lines: Iterable[tuple[str, str, str]]) -> None:
    for listing, place, added in lines:
        former = (root / listing).read_text()
        assert former.count(place) == 1, (listing, place)
        (root / listing).write_text(former.replace(place, place + added))


def run(house: Path, *words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=house, env=os.environ | ONE_THREAD, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(house: Path) -> tuple[Path, str]:
    """A sweep of one run of them all: its folder, and what it printed."""
    rng = np.random.default_rng(0)
    (house / "sounds").mkdir()
    kinds = [("train", 0)] * 10 + [("test", 0)] * 3 + [("test", 1)] * 3
    for machine in ("mill", "saw"):
        for number, (split, label) in enumerate(kinds):
            wave = rng.normal(0, 0.1 + 0.2 * label * (number % 2), 16_000)
            write_wav(house / "sounds" / f"{machine}_{split}_{label}_{number}.wav", wave, 16_000, "PCM_16")
    run(house, "-m", "shards.pack", "--layout", "mine", "--source", "sounds", "--out", "set")
    shown = run(house, "-m", "asd.sweep", "--config", "mine.yaml", "--out", "sweep", "data.shards=set")
    return house / "sweep", shown


def evaluations(swept: tuple[Path, str]) -> dict[int, Path]:
    """Step → its folder."""
    found = swept[0].glob("mine/*/evaluations/*/report.json")
    return {int(report.parent.name.removeprefix("step_")): report.parent for report in sorted(found)}


def test_one_more_of_everything(house: Path, swept: tuple[Path, str]) -> None:
    folder = evaluations(swept)[STEPS]
    trained = folder.parents[1]
    assert list(json.loads((folder / "report.json").read_text(encoding="utf-8"))["scorers"]) == ["mine"]
    said = run(house, "eval.py", "export", "--run", trained, "--out", "d.pt", "--mine", "d.mine", "data.shards=set")
    assert "d.mine: mine" in said
    assert (house / "d.mine").read_text().endswith(" tensors")
    training, scoring = ((trained / f"{process}.mine").read_text().splitlines() for process in ("train", "eval"))
    assert training[0] == "text config" and training[-1] == "close finished"
    assert any(line.startswith("log epoch loss") for line in training)
    assert "text alerts" in training and "log alert/mine" in training
    assert "text report" in scoring and scoring[-1] == "close finished"
    (alert,) = json.loads((trained / "status.json").read_text(encoding="utf-8"))["alerts"]
    assert (alert["name"], alert["text"]) == ("mine", "the second step is done")
    assert not (trained / "tensorboard").exists(), "the default, which the config replaces"
    fails = ("optim={name: sgd, lr: 1.0e+30}", "train.max_nonfinite=1")
    run(house, "train_ddp.py", "--config", "mine.yaml", "data.shards=set", "run.dir=failed", *fails, code=2)
    assert (house / "failed" / "train.mine").read_text().splitlines()[-1] == "close failed"


def test_a_metric_is_reported_everywhere(swept: tuple[Path, str]) -> None:
    """In report.json, report.md and the console's table of a run; in report.json and the tables of a sweep."""
    folder = evaluations(swept)[STEPS]
    (numbers,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["scorers"].values()
    values = [numbers["types"][machine]["ids"]["00"]["mine"] for machine in ("mill", "saw")]
    assert [numbers["types"][machine]["mine_mean"] for machine in ("mill", "saw")] == values
    assert numbers["mean"]["mine"] == pytest.approx(np.mean(values))
    mean = f"{100 * np.mean(values):.2f}"
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "| machine type | mine AUC | pAUC | Mine |" in text
    assert "| **mean** | " in text and f"| **{mean}** |" in text
    assert "| machine type | ID | AUC | pAUC | Mine | normals" in text
    swept_numbers = json.loads((swept[0] / "report.json").read_text(encoding="utf-8"))["mine"]["mine"]
    assert swept_numbers["mine"] == pytest.approx(np.mean(values))
    assert "| config | scorer | seeds | AUC | pAUC | Mine |" in (swept[0] / "report.md").read_text(encoding="utf-8")
    lines = [line.split() for line in swept[1].splitlines()]
    of_run, of_sweep = (["[mine", "seed", "0]", "AUC/", "pAUC/", "Mine", "%", "mine"], ["AUC", "pAUC", "Mine"])
    assert of_run in lines
    assert any(of_sweep == [word for word in line if word in of_sweep] for line in lines)


def test_a_metric_is_in_the_tables_of_every_year(house: Path) -> None:
    shown = run(house, "-c", YEARS)
    assert shown.count("| machine type | knn AUC | pAUC | Mine |") == 1
    assert shown.count("| machine type | knn AUC source | AUC target | pAUC | Mine |") == 2
    cells = [line.split()[2].split("/") for line in shown.splitlines() if line.startswith("harmonic mean")]
    assert [len(own) for own in cells] == [3, 4, 4]  # on the console
    assert shown.count("| Mine source | Mine target | normals |") == 1
    assert shown.count("| pAUC | Mine | normals |") == 2


def test_evaluations_come_when_the_config_says(swept: tuple[Path, str]) -> None:
    assert list(evaluations(swept)) == [STEPS // 2, STEPS]


def test_the_page_names_these_files() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for file, _, *lines in ADDED.values():
        assert f"`{file.replace('mine', 'x')}`" in page
        assert all(f"`{listing}`" in page for listing, *_ in lines)
    assert all(f"When checkpoints are evaluated: `{file}`" in page for file, *_ in RHYTHM)
