"""One more part of every kind, and where CONTRIBUTING.md says that it is to be named."""

from __future__ import annotations

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
    suffix = ".mine"

    def require(self, scorers, weights):
        pass

    def is_own(self, path):
        return True

    def write(self, file, source, out, clips):
        out.write_text(f"{len(file.weights)} tensors")
        return f"{out}: mine"


FORMAT = Mine()
"""
TRACKER = """
from typing import Literal

from asd.loggers.base import Logger, TrackerSettings


class MineConfig(TrackerSettings, frozen=True):
    name: Literal["mine"] = "mine"

    def build(self, source):
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
        ("asd/scorers/members.py", FIRST, "from asd.scorers.mine import Mine, MineConfig\n"),
        ("asd/scorers/members.py", "    | NegLogSoftmaxConfig", " | MineConfig"),
        ("asd/scorers/members.py", '"softmax": Softmax,', ' "mine": Mine,'),
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
        ("asd/commands/arguments/export.py", 'FORMATS = ("onnx",', ' "mine",'),
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
# The tables of years that need domains.
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
