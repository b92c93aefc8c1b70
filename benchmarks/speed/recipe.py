"""From recordings to AUC beside ASDKit: the same recipe, clips and batch, each side by its own commands.

Each in float32, which is what their recipe says, and with mixed precision (bfloat16), which is a word of either side.

python -m benchmarks.speed --parts recipe --asdkit FOLDER [--asdkit-python PYTHON]

FOLDER is a checkout of github.com/TakuyaFujimura/dcase-asd-toolkit (compared: commit ed27d82f), PYTHON has lightning,
hydra-core, pandas, imbalanced-learn and peft besides torch. Its recipe is run as its scripts do: labels, training, and
for each machine extraction, scores and AUCs; on the processor, and for fewer epochs.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from asd.errors import UserError
from asd.loggers.jsonl import METRICS_FILE, read_metrics
from benchmarks.speed.measure import Rounds, interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.watched import Watched, watch
from shards.synth import __main__ as synth

RECIPE, CONFIG = "dis_spec_scac_trainable", "configs/multi_branch_dcase2020.yaml"
ONE_STFT = "backbone.n_fft=[1024]"
DRIVER = Path(__file__).with_name("asdkit_driver.py")
THEIRS, THEIRS_MIXED, OURS, OURS_MIXED = "ASDKit", "ASDKit, bf16", "ours, float32", "ours, bf16"
SIDES = {  # and the word that sets the precision of each
    THEIRS: "+trainer.precision=32-true",
    THEIRS_MIXED: "+trainer.precision=bf16-mixed",
    OURS: "distributed.precision=fp32",
    OURS_MIXED: "distributed.precision=bf16",
}
COMPARED = ((THEIRS, OURS_MIXED), (THEIRS, OURS), (THEIRS_MIXED, OURS_MIXED))
PICKLES = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # its checkpoints hold objects of omegaconf


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a test takes less."""

    train_clips: int = 16  # of each of 41 IDs
    test_clips: int = 6  # normal ones, and as many anomalous
    clip_s: float = 10.0
    epochs: int = 2
    words: tuple[str, ...] = ()  # further ones for ours


@dataclass(frozen=True)
class Costs:
    """Of one side, an entry a round."""

    seconds: Rounds = field(default_factory=list)  # from recordings to AUC
    clips_per_s: Rounds = field(default_factory=list)  # of training
    gib: Rounds = field(default_factory=list)  # of memory at most

    def add(self, whole: Watched, clips_per_s: float) -> float:
        """Keep a round; its seconds."""
        self.seconds.append(whole.seconds)
        self.clips_per_s.append(clips_per_s)
        self.gib.append(whole.gib)
        return whole.seconds


def run(args: argparse.Namespace, sizes: Sizes = Sizes()) -> Part | None:
    """Both sides in turn; None where there is no checkout."""
    if args.asdkit is None:
        print("recipe: skipped, --asdkit names a checkout of github.com/TakuyaFujimura/dcase-asd-toolkit")
        return None
    if not (args.asdkit / "asdkit" / "bin" / "train.py").is_file():
        raise UserError(
            f"--asdkit {args.asdkit}: it holds no asdkit/bin/train.py: name a checkout of dcase-asd-toolkit"
        )
    work = (args.work / "recipe").resolve()
    factory = make_recordings(work, sizes)
    python = str((args.asdkit_python or Path(sys.executable)).absolute())  # not resolved: a link makes an environment
    asdkit = partial(asdkit_round, args.asdkit.resolve(), python, work, sizes)
    ours = partial(our_round, factory, work, sizes)
    costs = {name: Costs() for name in SIDES}
    turns = {
        name: partial(asdkit if name.startswith("ASDKit") else ours, word, costs[name]) for name, word in SIDES.items()
    }
    interleaved(turns, args.rounds)
    return part(costs, sizes)


def make_recordings(work: Path, sizes: Sizes) -> Path:
    """A factory in DCASE 2020's layout, and the same recordings under the names that ASDKit gives them."""
    factory = work / "factory"
    if not factory.is_dir():
        counts = ["--train-clips", str(sizes.train_clips), "--test-clips", str(sizes.test_clips)]
        synth.main(["--out", str(factory), "--clip-s", str(sizes.clip_s), *counts])
    shutil.rmtree(work / "formatted", ignore_errors=True)
    for recording in factory.rglob("*.wav"):
        split, machine = recording.parent.name, recording.parent.parent.name
        label, _, own_id, number = recording.stem.split("_")
        name = f"section_{own_id}_source_{split}_{label}_{number}.wav"
        link = work / "formatted" / "dcase2020" / "raw" / machine / split / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(recording)
    return factory


def asdkit_round(checkout: Path, python: str, work: Path, sizes: Sizes, precision: str, costs: Costs) -> float:
    """Seconds of its labels, training, extraction, scores and AUCs."""
    log, labels = work / "asdkit.log", checkout / "labels" / "dcase2020" / "main.json"
    for old in (log, labels):
        old.unlink(missing_ok=True)
    shutil.rmtree(work / "asdkit", ignore_errors=True)

    def command(name: str, *words: str) -> Watched:
        return watch([python, str(DRIVER), f"asdkit.bin.{name}", "dcase=dcase2020", *words], log, checkout, PICKLES)

    run = [f"result_dir={work / 'asdkit'}", "name=recipe", f"version={RECIPE}", "seed=0"]
    data = f"data_dir={work}"
    whole = command("label", "experiments=dcase2020", data)
    processor = ["trainer.accelerator=cpu", "trainer.devices=1", f"trainer.max_epochs={sizes.epochs}", precision]
    whole = whole.then(command("train", *run, f"experiments={RECIPE}", data, *processor))
    fit_s = float(log.read_text(encoding="utf-8").rpartition("fit_s ")[2].split()[0])
    for machine in sorted(path.name for path in (work / "factory").iterdir()):
        one = [*run, "infer_ver=last", f"machine={machine}"]
        whole = whole.then(command("extract", *one, "experiments=restore/shared", "device=cpu", data))
        whole = whole.then(command("score", *one, "experiments=default"))
        whole = whole.then(command("evaluate", *one))
    return costs.add(whole, sizes.epochs * len(list((work / "factory").glob("*/train/*.wav"))) / fit_s)


def our_round(factory: Path, work: Path, sizes: Sizes, precision: str, costs: Costs) -> float:
    """Seconds of packing, and of training with its evaluation at the end."""
    out, log = work / "ours", work / "ours.log"
    log.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    source = ["--layout", "dcase2020", "--source", str(factory), "--out", str(out / "shards")]
    whole = watch([sys.executable, "-m", "shards.pack", *source], log)
    words = [f"data.shards={out / 'shards'}", f"run.dir={out / 'run'}", ONE_STFT, f"train.epochs={sizes.epochs}"]
    words += [precision, *sizes.words]
    whole = whole.then(watch([sys.executable, "train_ddp.py", "--config", CONFIG, *words], log))
    lines = [line for line in read_metrics(out / "run" / METRICS_FILE) if "clips_per_s" in line]
    return costs.add(whole, statistics.harmonic_mean([line["clips_per_s"] for line in lines]))


def part(costs: Mapping[str, Costs], sizes: Sizes) -> Part:
    """What each side costs, and how many times better ours is, round by round."""
    figures = {
        "recordings → AUC, s": ({name: own.seconds for name, own in costs.items()}, 3.0),
        "training, clips/s": ({name: own.clips_per_s for name, own in costs.items()}, 2.0),
        "memory at most, GiB": ({name: own.gib for name, own in costs.items()}, 2.0),
    }
    rows, goals = [], []
    for what, (found, goal) in figures.items():
        better = [gain(what, found[theirs], found[ours]) for theirs, ours in COMPARED]
        sides = [spread(rounds, 1) for rounds in found.values()]
        rows.append([what, *sides, *(spread(rounds, 2) for rounds in better)])
        goals.append(Goal(f"beside ASDKit: {what.partition(',')[0]}", better[0], goal))
    title = (
        f"ASDKit's recipe {RECIPE}, which says float32, and {CONFIG} with {ONE_STFT}, {sizes.epochs} epochs of 41 × "
        f"{sizes.train_clips} clips of {sizes.clip_s:g} s in batches of 64, {82 * sizes.test_clips} test clips, "
        "all cores; ×: how many times better ours is"
    )
    heads = [f"× {theirs} → {ours}" for theirs, ours in COMPARED]
    return Part([Table(title, ["", *costs, *heads], rows)], goals)


def gain(what: str, theirs: Rounds, ours: Rounds) -> Rounds:
    """How many times better ours is: more clips, or less of everything else."""
    return ratios(ours, theirs) if "clips" in what else ratios(theirs, ours)
