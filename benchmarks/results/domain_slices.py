"""The runs behind the domain shift part of docs/results.md: every config of S3 to S6, narrow and short.

What is changed is the same for all members of a family; nothing was tuned for one member. It was chosen by one pilot
run a family with a seed of its own, by training and validation loss, not by any test clip.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asd.sweep import sweep
from asd.sweep.jobs import Job
from benchmarks.results.slices import Slice

# Options of shards.synth. Clips hold a window of 64 frames (2.016 s); the fourth section is for proxy outliers alone.
FACTORY = {"layout": "dcase2022", "seed": 1, "clip_s": 2.2, "sections": 4, "train_clips": 100, "test_clips": 25}
TYPES = ("fan",)  # trained and scored; the sections of fan and valve together would shift all six kinds of condition
TRAINED = 'data.machine_ids=["00","01","02"]'
ONCE = ("distributed.precision=fp32", "train.log_every=10", "evaluate.every_epochs=1000", TRAINED)  # scored at the end
AE = (*ONCE, "data.crop_s=2.2", "train.epochs=16")
MOBILENET = (*ONCE, "data.crop_s=2.2", "backbone.width=0.25", "optim.lr=1e-3", "train.epochs=12")
WAVENET = (*ONCE, "data.crop_s=2.2", "task.network.channels=32", "task.network.skip=64", "train.epochs=20")
S3 = (*ONCE, "data.crop_s=2.2", "backbone.width=8", "optim.lr=1e-3")
S3_LONG = (*S3, "optim.schedule.hold_epochs=3", "optim.schedule.fall_epochs=5", "train.epochs=8")
S4 = (*ONCE, "optim.lr=0.017", "train.global_batch=16", "train.epochs=6")
S4_WIDTHS = {
    "mobilefacenet": ("backbone.width=0.125",),
    "resnet50": ("backbone.width=8", "backbone.depths=[2,2,2,2]"),
    "efficientnet": ("backbone.width=0.25",),
}
PHASE_2 = ("data.streams.target=one_section", "train.epochs=null", "train.steps=20", "model.freeze=all_but_last_block")
S5 = (*ONCE, "backbone.width=0.25", "backbone.last=128")
S5_PRETRAIN = (
    *S5, "data.crop_s=2.2", "task.expander.widths=[256,256,256]", "train.global_batch=64", "train.epochs=30",
    "optim.name=adamw", "optim.lr=1e-3", "optim.schedule.warmup_epochs=3",
)  # fmt: skip
S5_FINETUNE = (*S5, "data.crop_s=2.2", "optim.lr=1e-3", "train.global_batch=32", "train.epochs=8")


# The six models of S4, as they are after either phase.
S4_FIRST = tuple(
    Slice(f"pfu_{network}_{bins}", f"pfu_{network}_{bins}", (*S4, *width), by_type=True)
    for network, width in S4_WIDTHS.items()
    for bins in (1024, 512)
)
S4_SECOND = tuple(
    dataclasses.replace(row, name=f"{row.name}, phase 2", words=(*row.words, *PHASE_2), starts_from=row.name)
    for row in S4_FIRST
)
SLICES = (
    Slice("autoencoder", "autoencoder", AE, by_type=True),
    Slice("mobilenet_v2", "mobilenet_v2", MOBILENET, by_type=True),
    Slice("wavenet", "wavenet", WAVENET, by_type=True),
    Slice("cpjku_classification", "cpjku_classification", S3_LONG, by_type=True),
    Slice("cpjku_no_outliers", "cpjku_no_outliers", S3_LONG, by_type=True),
    Slice("cpjku_other_sections", "cpjku_other_sections", S3_LONG, by_type=True),
    Slice("cpjku_ccsa", "cpjku_ccsa", (*S3, "optim.lr=1e-4"), by_type=True, starts_from="cpjku_classification"),
    *S4_FIRST,
    *S4_SECOND,
    Slice("vicreg_pretrain", "vicreg_pretrain", S5_PRETRAIN, by_type=True),
    Slice("vicreg_finetune", "vicreg_finetune", S5_FINETUNE, by_type=True, starts_from="vicreg_pretrain"),
)
ENSEMBLES = {"best model": 1, "top 3": 3, "top 5": 5, "all six": 6}  # submissions 1 to 4 of S4
MEMBERS = tuple(row.name for row in S4_SECOND)


def submit(jobs: Sequence[Job], out: Path) -> dict[tuple[str, int], Path]:
    """The four submissions of S4 of every seed, as evaluation folders by (name, seed)."""
    found = {}
    for seed in sorted({job.seed for job in jobs}):
        members = [job for job in jobs if job.name in MEMBERS and job.seed == seed]
        for name, k in ENSEMBLES.items():
            found[name, seed] = out / f"{name.replace(' ', '_')}_seed_{seed}"
            sweep.submit(members, found[name, seed], k)
    return found
