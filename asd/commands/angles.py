"""Angles between test clips and their class centres, of several runs side by side (the figure of S2)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from asd.commands.open_run import CheckpointEmbedder, Run, choose_step, load_run
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.evaluate.store import read_embeddings
from asd.files.atomic import whole
from asd.report.figures import angles_to, compared_angles, own_angles
from asd.tasks.classification import Classifier

FEW = "evaluate.fit_clips_per_class=1"  # no scorer is fitted here
KINDS = {0: "normal", 1: "anomalous"}

Angles = tuple[np.ndarray, np.ndarray]  # labels and degrees of clips


def angles_command(runs: Sequence[Path], wanted: str, out: Path) -> None:
    """Embed the labelled test clips by a checkpoint of each run, draw a panel each, print the mean angles."""
    names = [run.name for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--runs names two runs that are called {twice}: rename one")
    if out.suffix.lower() != ".png" or out.is_dir() or not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: name a file that ends in .png, in a folder that is there")
    found = {run.name: angles_of(load_run(run, [FEW]), wanted) for run in runs}
    with whole(out) as file:
        compared_angles(found).savefig(file, format="png")
    for name, (label, angles) in found.items():
        means = [f"{word} {angles[label == kind].mean():.1f}°" for kind, word in KINDS.items() if (label == kind).any()]
        print(f"{name}: mean angle to the own class centre: {', '.join(means) or 'no labelled clip'}")
    print(out)


def angles_of(run: Run, wanted: str) -> Angles:
    """Of the labelled test clips of a run's set; UserError where its network has no class centres."""
    step = choose_step(run, wanted)
    run = run.at(step)
    config = run.config
    with (
        start_ranks(config.distributed.precision, config.distributed.timeout_s) as ranks,
        CheckpointEmbedder(run, ranks) as embedder,
        tempfile.TemporaryDirectory() as folder,
    ):
        task = embedder.task
        classifier = getattr(getattr(task, "loss", None), "classifier", None)
        finer = isinstance(task, Classifier) and task.machines is not None
        no_cosines = isinstance(task, Classifier) and task.logit_scale is None and not isinstance(classifier, nn.Linear)
        if not isinstance(task, Classifier) or finer or no_cosines:
            raise UserError(f"{run.folder.root}: its network has no class centres to measure angles to")
        embedder.embed(step, Path(folder))
        *_, manifest, _, _, test = read_embeddings(Path(folder), embedder.setup.data.manifest.root)
    test = test.per_clip()
    own, label = test.class_index.numpy(), manifest.label[test.clip_index.numpy()]
    if task.logit_scale is not None:
        angles = own_angles(test.logits.numpy(), own, task.logit_scale)
    else:
        assert isinstance(classifier, nn.Linear)
        angles = angles_to(test.embedding.numpy(), classifier.weight.detach().cpu().numpy(), own)
    return label[label >= 0], angles[label >= 0]
