"""The first part of docs/results.md: systems on the development sets, real recordings before synthetic ones.

Real sets are folders in DCASE 2020 layout (--recordings). Synthetic ones are made here: a factory of 41 machines for
every seed, and one with source and target domains. Every run is scored once, at its end, by its last checkpoint or the
one of the lowest loss on held-out normal clips, as its config says; no test clip chooses anything.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from asd.metrics import AUC
from asd.report import Report, read_report
from asd.sweep.jobs import Job
from asd.sweep.numbers import Spread, evaluation_of
from asd.text.markdown import markdown_table
from benchmarks.results import domain_slices, slices
from benchmarks.results.page import pair
from benchmarks.results.runs import commit, make_factory
from benchmarks.results.slices import Slice
from shards import pack

ONCE = ("data.crop_s=2.0", "evaluate.every_epochs=1000", "train.log_every=50")
S2 = ("backbone.width=0.125", "optim.lr=2e-3", "train.epochs=14")
SLICES = (
    Slice("own_machines", "own_machines", ()),
    Slice("statistics", "statistics", ()),
    Slice("autoencoder", "own_machines_autoencoder", (*ONCE, "train.epochs=null", "train.steps=1000")),
    Slice("ArcFace ResNet", "demo", ONCE),
    Slice("plain softmax", "demo", (*ONCE, "loss={name: softmax}"), control=True),
    Slice("Noisy-ArcMix", "tastgram_noisy_arcmix", (*ONCE, *S2)),
    Slice("multi_branch", "demo_multi_branch", ONCE),
)
TRAINED = tuple(row.name for row in SLICES[3:])
SHOWN = (  # row of the table, run, scorer
    ("*untrained nearest neighbour*", "statistics", "untrained_knn"),
    ("*the same, level removed*", "statistics", "untrained_knn_level"),
    ("own machines, fused", "own_machines", "fused"),
    ("autoencoder, reconstruction error", "autoencoder", "reconstruction"),
    ("autoencoder, selective Mahalanobis", "autoencoder", "selective_mahalanobis"),
    *(
        (f"{name}, {scorer}", name, scorer)
        for name in TRAINED
        for scorer in (("knn", "softmax") if name == "multi_branch" else ("softmax", "centroid"))
    ),
)
FACTORY = {"clip_s": 2, "train_clips": 40, "test_clips": 20}
REAL = ("train.epochs=null", "train.steps=300", "train.global_batch=32")  # 66 and 90 training clips


@dataclass(frozen=True)
class DevelopmentSet:
    """A column of the table. shards: of every training seed. words: overrides for the systems that are trained.

    score: machine IDs weigh the same (`id`), or the year's official score (`official`). types: those that are shown.
    """

    title: str
    shards: Mapping[int, Path]
    words: tuple[str, ...] = ()
    all_words: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    score: str = "id"

    def number(self, report: Report, scorer: str) -> float | None:
        """What the table shows of a report, as a fraction of 1; None where no machine has a ROC."""
        if self.score == "official":
            return report.headline(report.layout, scorer).official_score
        types = report.scorers[scorer].types
        ids = [own[AUC.key] for name, t in types.items() if name in (self.types or types) for own in t.ids.values()]
        known = [value for value in ids if value is not None]
        return fmean(known) if known else None


def real_sets(recordings: Sequence[Path], work: Path) -> list[DevelopmentSet]:
    """Folders of recordings, packed where that is not done yet."""
    found = []
    for folder in recordings:
        shards = work / folder.name / "shards"
        if not (shards / "manifest.json").is_file():
            pack.main(["--layout", "dcase2020", "--source", str(folder), "--out", str(shards)])
        found.append(DevelopmentSet(folder.name, dict.fromkeys(slices.SEEDS, shards), REAL))
    return found


def synthetic_sets(work: Path) -> list[DevelopmentSet]:
    """The demo's factory, another one for every seed, its valves alone (impulsive), and a fan whose domain shifts."""
    factories = {seed: make_factory(work / f"factory_{seed}", {"seed": seed, **FACTORY}) for seed in slices.SEEDS}
    shifted = make_factory(work / "shifted", domain_slices.FACTORY)
    only = (f"data.machine_types={list(domain_slices.TYPES)}", domain_slices.TRAINED)
    return [
        DevelopmentSet("factory", factories),
        DevelopmentSet("its valves", factories, types=("valve",)),
        DevelopmentSet("domain shift", dict.fromkeys(slices.SEEDS, shifted), REAL, only, score="official"),
    ]


def plan(own: DevelopmentSet) -> list[Job]:
    """Every system with every seed. The valves of a factory are those of the factory's runs."""
    jobs = []
    for (seed, shards), row in itertools.product(own.shards.items(), SLICES):
        words = (*row.words, *(own.words if row.name in TRAINED else ()), *own.all_words)
        out = shards.parent / "runs" / row.name.replace(" ", "_")
        jobs += slices.plan([dataclasses.replace(row, words=words)], shards, out, [seed])
    return jobs


def table(sets: Sequence[DevelopmentSet], jobs: Mapping[str, Sequence[Job]]) -> str:
    """Scores of every row of SHOWN, and how long a run took; jobs: by the set's title."""
    scores = [
        [label, *(pair(_spread(own, jobs[own.title], run, scorer)) for own in sets)] for label, run, scorer in SHOWN
    ]
    trained_on = [own for own in sets if not own.types]
    seconds = [[row.name, *(_seconds(jobs[own.title], row.name) for own in trained_on)] for row in SLICES]
    commits = sorted({commit(job) for own in jobs.values() for job in own})
    times = markdown_table(["one run, s", *(own.title for own in trained_on)], seconds)
    told = f"Trained by commit {', '.join(commits)}, with one core a run, on a machine that other work shared."
    return "\n\n".join([markdown_table(["system, scorer", *(own.title for own in sets)], scores), times, told])


def _spread(own: DevelopmentSet, jobs: Sequence[Job], run: str, scorer: str) -> Spread:
    folders = (evaluation_of(job, job.config.evaluate.select) for job in jobs if job.name == run)
    reports = (None if folder is None else read_report(folder) for folder in folders)
    return Spread.of(None if report is None else own.number(report, scorer) for report in reports)


def _seconds(jobs: Sequence[Job], run: str) -> str:
    return f"{fmean(job.seconds or 0.0 for job in jobs if job.name == run):.0f}"
