"""The binary heads, recomputed by loops: each machine's normal clips against all else, mixed or not; known faults and
outliers teach the classes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from asd.augment.mixup import MixupConfig, draw_mix
from asd.data.batch import Batch
from asd.tasks.base import Task
from asd.tasks.classification import ClassificationConfig
from asd.tasks.outlier_exposure import OutlierExposureConfig, fault_loss
from tests.support.parts import SEED, WINDOWS, batch_of, spoilt, task_of

CLASSES = [0, 1, 2, 0, 1, 2, 0, 0]
FAULTY = [False, False, True, False, True, False, False, False]


def exposed(**parts) -> Task:
    return task_of(task=OutlierExposureConfig(fault_weight=0.25), **parts)


def faulty_batch(bad: tuple[int, ...] = (), classes: list[int] = CLASSES) -> Batch:
    return replace(batch_of(classes, bad=bad), is_fault=torch.tensor(FAULTY))


def binary_loss(log_odds: list[float], machine: int, faulty: bool) -> float:
    """-log probability of what each head should say."""
    losses = []
    for place, odds in enumerate(log_odds):
        normal = place == machine and not faulty
        losses.append(math.log1p(math.exp(odds if normal else -odds)))
    others = [loss for place, loss in enumerate(losses) if place != machine]
    return sum(others) / len(others) + (losses[machine] if machine >= 0 else 0.0)


def heads(task: Task, batch: Batch) -> list[list[float]]:
    return task.embed(batch).faults[:, 0].tolist()


def test_the_loss_of_the_heads_by_loops():
    task, batch = exposed(), faulty_batch()
    out, rows = task(batch), heads(task, batch)
    expected = [binary_loss(*row) for row in zip(rows, CLASSES, FAULTY, strict=True)]
    assert out.logs["loss_faults"].item() == pytest.approx(sum(expected) / 8, rel=1e-5)
    assert out.loss.item() == pytest.approx(
        (out.logs["loss_classes"] + 0.25 * out.logs["loss_faults"]).item(), rel=1e-6
    )


def test_known_faults_are_no_sounds_of_a_class():
    """The loss of the classes is that of the classifier with the same weights on the normal rows, of all eight."""
    batch = faulty_batch()
    task, plain = exposed(), task_of(task=ClassificationConfig())
    plain.load_state_dict({name: w for name, w in task.state_dict().items() if not name.startswith("head.")})
    normal = [row for row in range(8) if not FAULTY[row]]
    alone = replace(
        batch_of([CLASSES[row] for row in normal]), waveform=batch.waveform[normal], clip_index=batch.clip_index[normal]
    )
    found = task(batch).logs["loss_classes"].item()
    assert found == pytest.approx(plain(alone).loss.item() * len(normal) / 8, rel=1e-5)


def test_mixtures_are_mixed_in_both_losses():
    config = MixupConfig(alpha=0.5, group_size=4, weight_per="clip")
    task, batch = exposed(mixup=config), faulty_batch()
    mix = draw_mix(config, SEED, 3, 4, 0, 8)
    mixture = replace(batch, waveform=(mix.apply(batch.waveform.float() / 32768) * 32768).round().short())
    rows, weights, partner = heads(task, mixture), mix.weight.tolist(), mix.partner.tolist()
    expected = [
        weight * binary_loss(row, CLASSES[own], FAULTY[own])
        + (1 - weight) * binary_loss(row, CLASSES[other], FAULTY[other])
        for own, (row, weight, other) in enumerate(zip(rows, weights, partner, strict=True))
    ]
    assert task(batch).logs["loss_faults"].item() == pytest.approx(sum(expected) / 8, rel=1e-3)


def test_outliers_are_none_of_the_machines():
    classes = [0, 1, -1, 0, 1, 2, 0, -1]
    task, batch = exposed(outliers=True), replace(faulty_batch(classes=classes), is_fault=None)
    out, rows = task(batch), heads(task, batch)
    expected = [binary_loss(row, own, faulty=own < 0) for row, own in zip(rows, classes, strict=True)]
    assert out.logs["loss_faults"].item() == pytest.approx(sum(expected) / 8, rel=1e-5)
    changed = replace(batch, waveform=batch.waveform.clone())
    changed.waveform[2] = 1000
    assert task(changed).logs["loss_classes"] == out.logs["loss_classes"]
    assert task(changed).logs["loss_faults"] != out.logs["loss_faults"]


@pytest.mark.parametrize("mixup", [None, MixupConfig(group_size=4)], ids=["plain", "mixup"])
def test_an_unreadable_clip_weighs_nothing(mixup):
    task, batch = exposed(mixup=mixup), faulty_batch(bad=(3,))
    assert task(spoilt(batch, 3)).loss.item() == pytest.approx(task(batch).loss.item(), abs=1e-7)


def test_windows_are_averaged():
    task, batch = exposed(windows=WINDOWS), faulty_batch()
    found = task.embed(batch).faults
    assert found.shape == (8, 3, 3)
    expected = fault_loss(found, batch.class_index, batch.is_fault)
    by_window = [fault_loss(found[:, [p]], batch.class_index, batch.is_fault) for p in range(3)]
    torch.testing.assert_close(expected, torch.stack(by_window).mean(0))


def test_a_single_machine_has_faults_alone():
    found = fault_loss(torch.tensor([[[2.0]], [[2.0]]]), torch.tensor([0, 0]), torch.tensor([False, True]))
    assert found.tolist() == pytest.approx([math.log1p(math.exp(2)), math.log1p(math.exp(-2))])


def test_both_losses_reach_the_network():
    task, batch = exposed(), faulty_batch()
    task(batch).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (task.head.weight, *task.loss.parameters()))
