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

ROOT = Path(__file__).parents[1]

LOSS = """
from typing import Literal

from asd.losses.base import LossSettings
from asd.losses.softmax import Softmax


class MineConfig(LossSettings, frozen=True):
    name: Literal["mine"] = "mine"
    label_smoothing: float = 0.0


class Mine(Softmax):
    pass
"""
BACKBONE = """
from typing import Literal

from torch import nn

from asd.backbones.base import Backbone, BackboneSettings


class MineConfig(BackboneSettings, frozen=True):
    name: Literal["mine"] = "mine"


class Mine(Backbone):
    def __init__(self, config, channels, bins):
        super().__init__()
        self.embedding_dim = 4
        self.layer = nn.Linear(channels * bins, 4)

    def forward(self, spectrogram):
        return self.layer(spectrogram.mean(-1).flatten(1))
"""
FRONTEND = """
from typing import Literal

from asd.frontends.base import Frontend, FrontendSettings


class MineConfig(FrontendSettings, frozen=True):
    name: Literal["mine"] = "mine"

    def frames_of(self, samples):
        return samples // 160

    def samples_for(self, frames):
        return frames * 160


class Mine(Frontend):
    channels, bins = 1, 160

    def __init__(self, config, sample_rate):
        super().__init__()

    def forward(self, waveform, mix=None):
        frames = waveform.shape[1] // 160
        return waveform[:, : frames * 160].unflatten(1, (frames, 160)).transpose(1, 2).abs().unsqueeze(1)
"""
TASK = """
from typing import ClassVar, Literal

from asd.tasks.base import StepOutput, TaskSettings
from asd.tasks.classification import Classifier


class MineConfig(TaskSettings, frozen=True):
    name: Literal["mine"] = "mine"


class Mine(Classifier):
    def __init__(self, config, parts):
        super().__init__(parts)

    def forward(self, batch):
        from asd.data.batch import to_float

        return self.compare(self.encoder(to_float(batch.waveform)), batch, None)
"""
SCORER = """
from typing import ClassVar, Literal

import pydantic
from torch import Tensor

from asd.scorers.base import PerClassScorer


class MineConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    name: Literal["mine"] = "mine"
    label: ClassVar[str] = "mine"


class Mine(PerClassScorer[Tensor]):
    def __init__(self, config):
        super().__init__()

    def fit_class(self, train):
        return train.embedding.mean(0)

    def score_class(self, model, test):
        return (test.embedding - model).square().sum(1).double()
"""
SCHEDULE = """
from typing import Literal

from asd.optim.schedules.base import ScheduleSettings


class MineConfig(ScheduleSettings, frozen=True):
    name: Literal["mine"] = "mine"

    def factor(self, epoch, total_epochs):
        return 0.5
"""
OPTIMISER = """
import torch


def mine(config, weights):
    return torch.optim.Adam(weights, lr=config.lr, fused=True)
"""
LAYOUT = """
from shards.layouts.clip import Corpus, SourceClip


def read(sources, choices):
    files = sorted(file for source in sources for file in source.glob("*.wav"))
    named = [(file, *file.stem.split("_")[:3]) for file in files]
    return Corpus([SourceClip(f, f.stem, own, "00", split, int(label), f.name) for f, own, split, label in named])
"""
METRIC = """
import numpy as np

from asd.metrics.metric import Metric


def r_precision(labels, scores):
    anomalies = int(np.sum(labels))
    return float(np.mean(labels[np.argsort(-scores)[:anomalies]])) if anomalies else float("nan")


MINE = Metric("mine", "Mine", r_precision)
"""
FORMAT = """
class Mine:
    def require(self):
        pass

    def write(self, file, source, out):
        out.write_text(f"{len(file.weights)} tensors")
        return f"{out}: mine"


FORMAT = Mine()
"""
TRACKER = """
from typing import Literal

from asd.loggers.base import Logger, TrackerSettings


class MineConfig(TrackerSettings, frozen=True):
    name: Literal["mine"] = "mine"

    def open(self, source):
        return Mine(source)


class Mine(Logger):
    def __init__(self, source):
        self.file = (source.folder / f"{source.process}.mine").open("a")

    def log(self, step, record):
        print("log", *record, file=self.file)

    def text(self, step, name, markdown):
        print("text", name, file=self.file)

    def close(self, outcome="finished"):
        print("close", outcome, file=self.file)
        self.file.close()
"""
ALERT = """
from typing import ClassVar

from asd.monitor.alerts.base import AlertRule


class Mine(AlertRule):
    name: ClassVar[str] = "mine"

    def see_interval(self, step, record):
        self.text = "the second step is done" if step > 1 else None
"""

FIRST = "from __future__ import annotations\n"
# What is to add → (the new file, its text, (the list, what is put behind what) …)
ADDED = {
    "loss": (
        "asd/losses/mine.py", LOSS,
        ("asd/losses/__init__.py", FIRST, "from asd.losses.mine import Mine, MineConfig\n"),
        ("asd/losses/__init__.py", "SoftmaxConfig | FocalConfig", " | MineConfig"),
        ("asd/losses/__init__.py", '"focal": Focal,', ' "mine": Mine,'),
    ),
    "backbone": (
        "asd/backbones/mine.py", BACKBONE,
        ("asd/backbones/__init__.py", FIRST, "from asd.backbones.mine import Mine, MineConfig\n"),
        ("asd/backbones/__init__.py", "    | ResNetIRConfig", " | MineConfig"),
        ("asd/backbones/__init__.py", '"resnet50": ResNet,', ' "mine": Mine,'),
    ),
    "frontend": (
        "asd/frontends/mine.py", FRONTEND,
        ("asd/frontends/__init__.py", FIRST, "from asd.frontends.mine import Mine, MineConfig\n"),
        ("asd/frontends/__init__.py", "LogMelConfig | STFTConfig", " | MineConfig"),
        ("asd/frontends/__init__.py", '"log_mel": LogMel,', ' "mine": Mine,'),
    ),
    "task": (
        "asd/tasks/mine.py", TASK,
        ("asd/tasks/__init__.py", FIRST, "from asd.tasks.mine import Mine, MineConfig\n"),
        ("asd/tasks/__init__.py", "    | AlignmentConfig", " | MineConfig"),
        ("asd/tasks/__init__.py", '"classification": Classification,', ' "mine": Mine,'),
    ),
    "scorer": (
        "asd/scorers/mine.py", SCORER,
        ("asd/scorers/__init__.py", FIRST, "from asd.scorers.mine import Mine, MineConfig\n"),
        ("asd/scorers/__init__.py", "    | NegLogSoftmaxConfig", " | MineConfig"),
        ("asd/scorers/__init__.py", '"softmax": Softmax,', ' "mine": Mine,'),
    ),
    "schedule": (
        "asd/optim/schedules/mine.py", SCHEDULE,
        ("asd/optim/schedules/__init__.py", FIRST, "from asd.optim.schedules.mine import MineConfig\n"),
        ("asd/optim/schedules/__init__.py", "ConstantConfig | CosineConfig", " | MineConfig"),
    ),
    "optimiser": (
        "asd/optim/mine.py", OPTIMISER,
        ("asd/optim/build.py", FIRST, "from asd.optim.mine import mine\n"),
        ("asd/optim/build.py", '"adam": adam,', ' "mine": mine,'),
        ("asd/optim/config.py", 'name: Literal["adam",', ' "mine",'),
    ),
    "tracker": (
        "asd/loggers/mine.py", TRACKER,
        ("asd/loggers/__init__.py", FIRST, "from asd.loggers.mine import MineConfig\n"),
        ("asd/loggers/__init__.py", "ConsoleConfig | TensorBoardConfig", " | MineConfig"),
    ),
    "alert": (
        "asd/monitor/alerts/mine.py", ALERT,
        ("asd/monitor/alerts/__init__.py", FIRST, "from asd.monitor.alerts.mine import Mine\n"),
        ("asd/monitor/alerts/__init__.py", "= (Nonfinite,", " Mine,"),
    ),
    "layout": (
        "shards/layouts/mine.py", LAYOUT,
        ("shards/layouts/__init__.py", "from shards.layouts import", " mine,"),
        ("shards/layouts/__init__.py", '"table": read_tables,', ' "mine": mine.read,'),
    ),
    "export format": (
        "asd/detector/formats/mine.py", FORMAT,
        ("eval.py", 'EXPORT_FORMATS = ("onnx",', ' "mine",'),
    ),
    "metric": (
        "asd/metrics/mine.py", METRIC,
        ("asd/metrics/__init__.py", "from asd.metrics.means import arithmetic_mean, harmonic_mean, lowest\n",
         "from asd.metrics.mine import MINE\n"),
        ("asd/metrics/__init__.py", "METRICS = (AUC, PAUC", ", MINE"),
    ),
}  # fmt: skip
# When checkpoints are evaluated: here so many times in a run.
RHYTHM = (
    ("asd/evaluate/config.py", "# instead of every_epochs\n", "    times: pydantic.PositiveInt | None = None\n"),
    ("asd/evaluate/config.py", "return Every(", "(last // self.times if self.times else 0) or "),
)

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


YEARS = """
import numpy as np

from asd.metrics import ClipScores
from asd.report import Header, build_report, console_table, markdown
from asd.text.terminal import open_console

label, domain = np.arange(24) % 2, ["source", "target"] * 2
domain = [domain[n // 6] for n in range(24)]
names = [f"section_00_{d}_test_{('normal', 'anomaly')[l]}_{n:04d}.wav" for n, (d, l) in enumerate(zip(domain, label))]
scores = {"knn": np.random.default_rng(0).normal(size=24) + label}
clips = ClipScores(names, names, ["fan"] * 24, ["00"] * 24, domain, label, scores)
for layout in ("dcase2021", "dcase2022", "dcase2026"):
    report = build_report(clips, Header(layout=layout))
    print(markdown(report))
    open_console().print(console_table(report))
"""


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
