"""Training is the same on one rank and on two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asd.run_folder import checkpoint
from tests.support.hooks import no_scoring
from tests.support.launch import losses, records, succeed, train_words

# At 2e-4 the last bits of a gradient grow to 4e-4 of a loss in ten updates; here they stay at 2e-6, while the updates
# still move the loss by a fifth.
SLOW = "optim.lr=5e-5"
RESNET = "backbone={name: resnet50_ir, width: 8, depths: [1, 1, 1, 1], embedding: 32, dropout: 0, norm: sync}"

TASTGRAM = [  # Noisy-ArcMix as published: decibels mixed, one weight a batch
    "frontend={name: tast, mel: {n_fft: 512, hop: 256, n_mels: 32, mel_scale: slaney, area_norm: true}}",
    "loss={name: arcface, margin: 0.7, mixing: noisy_arcmix}",
    "mixup={group_size: 4, alpha: 0.5, weight_per: batch, input: spectrogram}",
]
BRANCHES = [
    "frontend={name: waveform}",
    "backbone={name: multi_branch, n_fft: [128, 512], fft_samples: null, width: 16, norm: sync}",
    "loss={name: sub_cluster_adacos}",
    "mixup={group_size: 4, weight_per: clip, probability: 0.5}",
]


@pytest.mark.parametrize(
    "words",
    [
        ["backbone.norm=sync"],
        ["backbone.norm=group"],
        ["backbone.norm=group", "train.accumulate=2"],
        [RESNET],
        ["backbone.norm=group", *TASTGRAM],
        BRANCHES,
    ],
    ids=["sync", "group", "group, accumulated", "resnet, sync", "tastgram, noisy arcmix", "multi-branch, sync"],
)
def test_two_ranks_have_the_losses_of_one(small_set: Path, tmp_path: Path, words: list[str]) -> None:
    found = []
    for ranks in (1, 2):
        folder = tmp_path / f"run{ranks}"
        succeed(tmp_path / f"log{ranks}", train_words(small_set, folder, SLOW, *words), ranks=ranks, prepare=no_scoring)
        found.append(losses(folder))
    assert list(found[0]) == list(range(1, 11))
    assert found[1] == pytest.approx(found[0], rel=1e-4)  # sums in another order


# Batches of several streams, and losses of the global batch

STEPS = 4
PLAIN_SGD = [  # gradients of the wrong length show: nothing adapts to it
    "optim={name: sgd, lr: 1.0e-5}",
    f"train.steps={STEPS}",
    "checkpoint={every_steps: 1, keep_last: 100}",
]
MAPS = "backbone={name: cp_resnet, width: 8, rho_f: 2, rho_t: 2, norm: sync}"
FANS = "data.machine_types=[fan]"
SOURCE = "data.streams.domains=[source]"
OUTLIERS = ["data.streams.outliers=other_machines", "data.streams.outlier_rows=4"]
TARGET_ROWS = ["data.streams.target=rows", "data.streams.target_rows=4"]

SYSTEMS = {
    "vicreg, sync": [
        "task={name: vicreg, expander: {widths: [32, 16], norm: sync}}",
        MAPS,
        "loss=null",
        "mixup=null",
        "evaluate={select: last, scorers: [{name: knn}]}",
        "optim.lr=1.0e-6",  # gradients of 700: at 1e-5 a ReLU that switches moves the fourth loss by 1 %
    ],
    "vicreg on windows, group": [
        "task={name: vicreg, expander: {widths: [32, 16], norm: group}}",
        "windows={frames: 8, hop: 4, drawn: 1}",
        "loss=null",
        "mixup=null",
        "evaluate={select: last, scorers: [{name: knn}]}",
    ],
    "ccsa of maps with outliers": [
        "task={name: ccsa, compare: maps, da_lambda: 0.3, margin: 2}",
        MAPS,
        "mixup=null",
        FANS,
        SOURCE,
        *TARGET_ROWS,
        *OUTLIERS,
    ],
    "ccsa with class maps, pooled": [
        "task={name: ccsa, da_lambda: 0.3, margin: 2}",
        MAPS,
        "loss={name: softmax, norm: sync}",
        "mixup=null",
        FANS,
        SOURCE,
        *TARGET_ROWS,
        *OUTLIERS,
    ],
    "ccsa of embeddings": [
        "task={name: ccsa, da_lambda: 0.3, margin: 2}",
        "backbone.norm=sync",
        "mixup=null",
        SOURCE,
        *TARGET_ROWS,
    ],
    "interpolation": [
        "task.name=interpolation",
        "windows={frames: 8, hop: 4, drawn: 2}",
        "backbone.norm=sync",
        "mixup=null",
        SOURCE,
        "data.streams.target=pairs",
    ],
    "classes by domain": ["data.classes=attributes", "backbone.norm=sync", "mixup={group_size: 4, probability: 0.5}"],
    "classification with outliers": ["backbone.norm=sync", "mixup=null", FANS, *OUTLIERS],
    "one section, partners of another class": [
        "backbone.norm=sync",
        "mixup={group_size: 4, uniform: [0.5, 1], partner: other_class}",
        SOURCE,
        "data.streams.target=one_section",
    ],
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_ranks_learn_what_one_does(domain_set: Path, tmp_path: Path, system: str) -> None:
    """The losses and gradients of every step, and the weights that they lead to."""
    words = [*PLAIN_SGD, *SYSTEMS[system]]
    found, gradients, learned = [], [], []
    for ranks in (1, 2):
        folder = tmp_path / f"run{ranks}"
        log = tmp_path / f"log{ranks}"
        done = succeed(log, train_words(domain_set, folder, *words), ranks=ranks, prepare=no_scoring)
        assert "Warning" not in "".join(done.err)
        found.append(losses(folder))
        gradients.append([record["grad_norm"] for record in records(folder) if "grad_norm" in record])
        learned.append(weights(folder, STEPS))
    assert list(found[0]) == list(range(1, STEPS + 1))
    assert len(set(found[0].values())) == STEPS
    # The first loss agrees to rounding. One ReLU of 199,000 that switches by rounding, 5e-7 from 0, moves the gradient
    # by 0.3 % (ccsa of maps, with another processor's sums). A gradient that is doubled, or of the own rows alone, is
    # off by as much as it is long.
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-5)
    assert gradients[1][0] == pytest.approx(gradients[0][0], rel=1e-2)
    assert found[1] == pytest.approx(found[0], rel=2e-3)
    assert gradients[1] == pytest.approx(gradients[0], rel=5e-2)
    first = weights(tmp_path / "run1", 1)
    for name, weight in learned[0].items():
        apart, moved = (float((weight.double() - other[name].double()).abs().max()) for other in (learned[1], first))
        assert apart <= 1e-6 + 0.15 * moved, (name, apart, moved)
    assert min(gradients[0]) > 1


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    """And running statistics, of a checkpoint."""
    return load_file(checkpoint.step_path(folder / "checkpoints", step) / "model.safetensors")
