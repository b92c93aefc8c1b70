"""Fine-tuning on mixtures of two domains, recomputed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from asd.augment.mixup import pair_weights
from asd.data.batch import Batch
from asd.losses import ArcFaceConfig
from asd.tasks.base import Task
from tests.support.parts import SEED, SOURCE, TARGET, WINDOWS, batch_of, spoilt, step_of, task_of


def build(geometric: float = 0.8, of: str = "spectrogram", reduction: str = "mean", **parts: object) -> Task:
    config = {"name": "interpolation", "alpha": 0.6, "geometric": geometric, "mixup_input": of, "reduction": reduction}
    return task_of(task=config, **parts)


def pairs(classes: tuple[list[int], list[int]] = ([0, 1, 2, 1], [0, 1, 2, 1]), **options: object) -> Batch:
    return batch_of([*classes[0], *classes[1]], [SOURCE] * 4 + [TARGET] * 4, **options)


@pytest.mark.parametrize("windows", [None, WINDOWS], ids=["clips", "windows"])
@pytest.mark.parametrize("other", [[0, 1, 2, 1], [0, 2, 1, 0]], ids=["same class", "another class"])
@pytest.mark.parametrize("first_row", [0, 16])
@pytest.mark.parametrize("of", ["spectrogram", "waveform"])
def test_the_loss_is_kl_and_the_geometric_term(windows: object, other: list[int], first_row: int, of: str) -> None:
    task, batch = build(windows=windows, of=of), pairs(([0, 1, 2, 1], other), first_row=first_row)
    share = pair_weights(0.6, SEED, 3, 4, first_row // 2, 4).double().numpy()
    sound = batch.waveform.double() / 32768
    shown = task.encoder.frontend(sound.float()).double()
    seen = shown if of == "spectrogram" else sound  # what is mixed
    mixture = torch.stack([share[i] * seen[i] + (1 - share[i]) * seen[4 + i] for i in range(4)]).float()
    mixed = task.encoder.embed(mixture if of == "spectrogram" else task.encoder.frontend(mixture))
    z, second = (task.encoder.embed(x.float()) for x in (shown[:4], shown[4:]))
    log_p = F.log_softmax(task.loss.classifier(mixed), 2).detach().double().numpy()
    kl, apart = [], []
    for i in range(4):
        label = np.zeros(3)
        label[batch.class_index[i]] += share[i]
        label[other[i]] += 1 - share[i]
        for window in range(mixed.shape[1]):
            kl.append(sum(p * (np.log(p) - log_p[i, window, c]) for c, p in enumerate(label) if p > 0))
            expected = share[i] * z[i, window] + (1 - share[i]) * second[i, window]
            apart.append((mixed[i, window] - expected).square().mean().item())
    found = task(batch)
    assert found.logs["loss_classes"].item() == pytest.approx(np.mean(kl), rel=1e-4)
    assert found.logs["loss_geometric"].item() == pytest.approx(np.mean(apart), rel=1e-3)
    assert found.loss.item() == pytest.approx(np.mean(kl) + 0.8 * np.mean(apart), rel=1e-4)


def test_without_the_geometric_term_it_is_cross_entropy_of_mixtures() -> None:
    loss = ArcFaceConfig(margin=0.5)  # which has no margin here: the label is a mixture
    task = build(geometric=0.0, of="waveform", loss=loss)
    batch = pairs()
    share = pair_weights(0.6, SEED, 3, 4, 0, 4)[:, None]
    sound = batch.waveform / 32768
    logits = task.loss.logits(task.encoder(share * sound[:4] + (1 - share) * sound[4:])[:, 0])
    expected = F.cross_entropy(logits, batch.class_index[:4])
    assert task(batch).loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("row", [2, 6], ids=["source", "target"])
def test_a_pair_with_an_unreadable_clip_weighs_nothing(row: int) -> None:
    batch = pairs(bad=(row,))
    loss, gradients = step_of(build(), batch)
    again, again_gradients = step_of(build(), spoilt(batch, row))
    assert loss == again
    assert all(a.equal(b) for a, b in zip(gradients, again_gradients, strict=True))
    assert step_of(build(), pairs())[0] != loss


def test_the_norm_of_equation_one_is_by_name() -> None:
    by_mean, by_norm = (build(reduction=name)(pairs()).logs["loss_geometric"] for name in ("mean", "sum"))
    assert (by_norm / by_mean).item() == pytest.approx(16)  # values of an embedding


def test_everything_learns() -> None:
    task = build()
    task(pairs()).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())


def test_it_is_embedded_like_a_classifier() -> None:
    found = build(windows=WINDOWS).eval().embed(pairs())
    assert found.embedding.shape == (8, 3, 16)
    assert found.logits.shape == (8, 3, 3)
    assert found.loss.isfinite().all()
