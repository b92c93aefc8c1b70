"""VICReg of mixtures, recomputed from its three branches; its embeddings are the encoder's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from asd.augment.mixup import pair_weights
from asd.backbones import CPResNetConfig
from asd.data.batch import Batch
from asd.tasks.base import Task
from tests.support.parts import SEED, WINDOWS, batch_of, spoilt, step_of, task_of

FACTORS = {"gamma": 5.0, "mu": 2.0, "nu": 0.5}


def build(norm: str = "batch", mixed: str = "spectrogram", reduction: str = "mean", **parts: object) -> Task:
    expander = {"widths": (24, 12), "norm": norm}
    backbone = CPResNetConfig(rho_f=2, rho_t=2, width=8, norm=norm)
    config = {
        "name": "vicreg",
        "alpha": 0.7,
        "mixup_input": mixed,
        "reduction": reduction,
        "expander": expander,
        **FACTORS,
    }
    return task_of(task=config, backbone=backbone, loss=None, **parts)


def clips(rows: int = 12, **options: object) -> Batch:
    return batch_of([0, 1, 2] * (rows // 3), **options)


def branches(task: Task, batch: Batch) -> tuple[list[np.ndarray], np.ndarray]:
    """Z, Z', Z_λ (N·P, E), each branch through the network by itself, and λ of every row."""
    sound = batch.waveform.float() / 32768
    weight = pair_weights(0.7, SEED, batch.epoch, batch.step, batch.first_row // 2, len(sound) // 2)
    show, of_sound = task.encoder.frontend, task.config.mixup_input == "waveform"
    seen = sound if of_sound else show(sound)  # what is mixed
    share = weight.view(-1, *[1] * (seen.dim() - 1))
    mixture = share * seen[0::2] + (1 - share) * seen[1::2]
    spectrograms = [show(sound[0::2]), show(sound[1::2]), show(mixture) if of_sound else mixture]

    def expanded(spectrogram: Tensor) -> np.ndarray:
        rows = task.encoder.embed(spectrogram)
        return task.expander(rows.flatten(0, 1)).detach().double().numpy()

    windows = task.encoder.embed(spectrograms[0]).shape[1]
    return [expanded(x) for x in spectrograms], np.repeat(weight.double().numpy(), windows)


def by_hand(z: np.ndarray, other: np.ndarray, mixture: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """(invariance, variance, covariance) of eq. 5, before their factors."""
    share = weight[:, None]
    invariance = float(np.mean((mixture - (share * z + (1 - share) * other)) ** 2))
    variance, covariance = 0.0, 0.0
    for branch in (z, other):
        spread = np.cov(branch, rowvar=False)
        variance += float(np.mean(np.maximum(0, 1 - np.sqrt(np.diag(spread) + 1e-4))))
        covariance += float(sum(spread[i, j] ** 2 for i, j in np.ndindex(spread.shape) if i != j) / len(spread))
    return invariance, variance, covariance


@pytest.mark.parametrize("windows", [None, WINDOWS], ids=["clips", "windows"])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("first_row", [0, 24])
@pytest.mark.parametrize("of", ["spectrogram", "waveform"])
def test_the_loss_is_that_of_the_three_branches(windows: object, norm: str, first_row: int, of: str) -> None:
    task, batch = build(norm, of, windows=windows), clips(first_row=first_row)
    rows, weight = branches(task, batch)
    invariance, variance, covariance = by_hand(*rows, weight)
    found = task(batch)
    expected = 5.0 * invariance + 2.0 * variance + 0.5 * covariance
    assert found.loss.item() == pytest.approx(expected, rel=1e-4)
    for name, value in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
        assert found.logs[name].item() == pytest.approx(value, rel=1e-3)
        assert not found.logs[name].requires_grad


def test_the_norm_of_equation_one_is_by_name() -> None:
    by_mean, by_norm = (build("group", reduction=name)(clips()).logs["invariance"] for name in ("mean", "sum"))
    assert (by_norm / by_mean).item() == pytest.approx(12)  # outputs of the expander


def test_each_branch_has_batch_statistics_of_its_own() -> None:
    """Three updates of the running mean a step, each by the mean of one branch alone."""
    task, batch = build(), clips()
    norm = task.encoder.backbone.stem[1]
    task(batch)
    assert int(norm.num_batches_tracked) == 3


def test_a_pair_with_an_unreadable_clip_weighs_nothing() -> None:
    """Without batch statistics, through which it would still tell."""
    task, batch = build("group"), clips(bad=(3,))
    loss, gradients = step_of(task, batch)
    again, again_gradients = step_of(task, spoilt(batch, 3))
    assert loss == pytest.approx(again, rel=1e-6)
    for own, other in zip(gradients, again_gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-6)
    rows, weight = branches(task, batch)
    kept = np.arange(6) != 1  # rows 2 and 3 are the second pair
    invariance, variance, covariance = by_hand(*(branch[kept] for branch in rows), weight[kept])
    assert loss == pytest.approx(5.0 * invariance + 2.0 * variance + 0.5 * covariance, rel=1e-4)


def test_everything_learns() -> None:
    task = build()
    task(clips()).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())


def test_classes_do_not_matter() -> None:
    one_class = batch_of([0] * 12)
    assert build()(one_class).loss.item() == build()(clips()).loss.item()
    assert task_single_class().embed(one_class).logits.shape == (12, 1, 0)


def task_single_class() -> Task:
    expander = {"widths": (12,), "norm": "group"}
    backbone = CPResNetConfig(rho_f=2, rho_t=2, width=8, norm="group")
    return task_of(1, task={"name": "vicreg", "expander": expander}, backbone=backbone, loss=None)


@pytest.mark.parametrize(("windows", "count"), [(None, 1), (WINDOWS, 3)])
def test_it_embeds_by_the_encoder_alone(windows: object, count: int) -> None:
    task, batch = build(windows=windows).eval(), clips(6)
    found = task.embed(batch)
    assert found.embedding.shape == (6, count, 32)
    torch.testing.assert_close(found.embedding, task.encoder(batch.waveform / 32768).detach())
    assert found.logits.shape == (6, count, 0)
    assert found.errors.shape == (6, 0)
    assert found.loss.isnan().all()
    assert found.loss.shape == (6,)
    assert found.features.shape == (6, 32)
    assert task.logit_scale is None
