"""The runs behind docs/results.md: every config of S1 and S2, narrow and short enough for two CPU cores.

What is changed is the same for all members of a family, so that comparisons within it are fair; nothing was tuned for
one member. It was chosen by one pilot run a family with a seed of its own, by validation loss, not by any test clip.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.sweep import sweep
from asd.sweep.engines import Local
from asd.sweep.jobs import Job
from asd.sweep.queue import run_jobs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FACTORY = {"seed": 1, "clip_s": 1, "train_clips": 60, "test_clips": 30}  # options of shards.synth; clips per ID
SEEDS = (0, 1, 2)
SHORT = ("data.crop_s=1.0", "distributed.precision=fp32", "train.log_every=50")
IR = ("backbone.depths=[2,2,2,2]", "backbone.width=16", "backbone.embedding=128")
BOTTLENECK = ("backbone.depths=[2,2,2,2]", "backbone.width=8")
RESTARTS = ("optim.lr=2e-3", "optim.schedule.t_0=4", "optim.schedule.t_up=1")
S1 = (*SHORT, *RESTARTS, "train.epochs=12", "evaluate.every_epochs=4")
S2 = (*SHORT, "optim.lr=2e-3", "backbone.width=0.125", "train.epochs=6", "evaluate.every_epochs=3")
FLATTEN = ("backbone.flatten_frames=32", "evaluate.first_s=1.0")
TRANSFER = ("train.epochs=28", "evaluate.every_epochs=28")  # 5 updates an epoch, centres start anew
RESNET50_IR = ("backbone.name=resnet50_ir", *IR)
FIXED = ("frontend.frames=32", "backbone.conv_frames=32", "evaluate.first_s=1.0")  # what 1 s gives, not 313 of 10 s


@dataclass(frozen=True)
class Slice:
    """One row of the page: a config and the overrides that make it small."""

    name: str
    config: str
    words: tuple[str, ...]
    by_type: bool = False
    starts_from: str | None = None  # another row, whose run of the same seed is init_from
    control: bool = False  # no published system: one thing changed, to tell what it does


SLICES = (
    Slice("dcase2020_integrated", "dcase2020_integrated", (*S1, *IR)),
    Slice("dcase2020_integrated_no_smoothing", "dcase2020_integrated_no_smoothing", (*S1, *IR)),
    Slice("dcase2020_integrated_softmax", "dcase2020_integrated_softmax", (*S1, *BOTTLENECK)),
    Slice("dcase2020_integrated_cosface", "dcase2020_integrated_cosface", (*S1, *IR)),
    Slice("dcase2020_integrated_focal", "dcase2020_integrated_focal", (*S1, *BOTTLENECK)),
    Slice("dcase2020_integrated_flatten", "dcase2020_integrated_flatten", (*S1, *IR, *FLATTEN)),
    Slice("tastgram_softmax", "tastgram_softmax", S2),
    Slice("tastgram_softmax_paper", "tastgram_softmax_paper", (*S2, *FIXED)),
    Slice("tastgram_arcface", "tastgram_arcface", S2),
    Slice("tastgram_noisy_arcmix", "tastgram_noisy_arcmix", S2),
    Slice("tastgram_arcmix", "tastgram_arcmix", S2),
    Slice("tastgram_noisy_arcmix_waveform", "tastgram_noisy_arcmix_waveform", S2),
    Slice("tastgram_guided", "tastgram_guided", S2),
    Slice("tastgram_noisy_arcmix_paper", "tastgram_noisy_arcmix_paper", (*S2, *FIXED)),
    Slice("dcase2020_individual", "dcase2020_individual", (*S1, *IR, "evaluate.every_epochs=12"), by_type=True),
    Slice("dcase2020_transfer", "dcase2020_transfer", (*S1, *IR, *TRANSFER), True, starts_from="dcase2020_integrated"),
    Slice("control: softmax on resnet50_ir", "dcase2020_integrated_softmax", (*S1, *RESNET50_IR), control=True),
)


def plan(rows: Sequence[Slice], shards: Path, out: Path, seeds: Sequence[int], types: Sequence[str] = ()) -> list[Job]:
    """Every run of every row, in an order in which a run that another starts from comes first.

    types: the machine types of rows that have a run for each, where these are not all that the set holds.
    """
    jobs: list[Job] = []
    for row in rows:
        for seed, part in itertools.product(seeds, types if row.by_type and types else (None,)):
            words = [*row.words, f"data.shards={shards}"]
            if row.starts_from is not None:
                former = (job for job in jobs if (job.name, job.seed) == (row.starts_from, seed))
                words.append(f"init_from={next(job.config.run.dir for job in former if job.part == part)}")
            jobs += _jobs(row, seed, part, words, out)
    return jobs


def _jobs(row: Slice, seed: int, part: str | None, words: Sequence[str], out: Path) -> list[Job]:
    if part is not None:
        words, out = [*words, f"data.machine_types=[{part}]"], out / part
    by_type = ["--by-type"] if row.by_type and part is None else []
    options = ["--config", str(CONFIGS / f"{row.config}.yaml"), "--seeds", str(seed), "--out", str(out), *by_type]
    jobs = sweep.plan_jobs(sweep.parse_args([*options, *words]))
    return [dataclasses.replace(job, name=row.name, part=part or job.part) for job in jobs]


def run(jobs: Sequence[Job], slots: int) -> None:
    """Do what is not done yet: first the runs that others may start from."""
    for first in (True, False):
        own = [job for job in jobs if (job.config.init_from is None) == first and not job.done]
        run_jobs(own, Local(ranks=1, slots=slots))
