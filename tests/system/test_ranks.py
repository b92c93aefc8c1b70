"""Training is the same on one rank and on two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.hooks import no_scoring
from tests.system.launch import losses, succeed, train_words

# At 2e-4 the last bits of a gradient grow to 4e-4 of a loss in ten updates; here they stay at 2e-6, while the updates
# still move the loss by a fifth.
SLOW = "optim.lr=5e-5"
RESNET = "backbone={name: resnet50_ir, width: 8, depths: [1, 1, 1, 1], embedding: 32, dropout: 0, norm: sync}"

TASTGRAM = [  # Noisy-ArcMix as published: decibels mixed, one weight a batch
    "frontend={name: tast, mel: {n_fft: 512, hop: 256, n_mels: 32, mel_scale: slaney, area_norm: true}}",
    "loss={name: arcface, margin: 0.7, mixing: noisy_arcmix}",
    "mixup={group_size: 4, alpha: 0.5, weight_per: batch, of: spectrogram}",
]


@pytest.mark.parametrize(
    "words",
    [
        ["backbone.norm=sync"],
        ["backbone.norm=group"],
        ["backbone.norm=group", "train.accumulate=2"],
        [RESNET],
        ["backbone.norm=group", *TASTGRAM],
    ],
    ids=["sync", "group", "group, accumulated", "resnet, sync", "tastgram, noisy arcmix"],
)
def test_two_ranks_have_the_losses_of_one(small_set: Path, tmp_path: Path, words: list[str]) -> None:
    found = []
    for ranks in (1, 2):
        folder = tmp_path / f"run{ranks}"
        succeed(tmp_path / f"log{ranks}", train_words(small_set, folder, SLOW, *words), ranks=ranks, prepare=no_scoring)
        found.append(losses(folder))
    assert list(found[0]) == list(range(1, 11))
    assert found[1] == pytest.approx(found[0], rel=1e-4)  # sums in another order
