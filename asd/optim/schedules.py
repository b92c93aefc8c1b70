"""The learning rate at any point of a training."""

from __future__ import annotations

import math

from asd.optim.config import ConstantConfig, CosineConfig, HoldLinearConfig, OptimConfig, WarmRestartsConfig


def lr_at(config: OptimConfig, epoch: float, total_epochs: float) -> float:
    """Learning rate at a moment of training, in fractional epochs (step / steps per epoch)."""
    schedule = config.schedule
    match schedule:
        case ConstantConfig():
            factor = _rise(epoch, schedule.warmup_epochs)
        case CosineConfig():
            factor = _cycle(epoch, schedule.warmup_epochs, total_epochs, schedule.floor)
        case WarmRestartsConfig():
            begin, length = _restart_cycle(epoch, schedule.t_0, schedule.t_mult)
            factor = _cycle(epoch - begin, schedule.t_up, length, schedule.floor)
        case HoldLinearConfig():
            fallen = min(1.0, max(0.0, epoch - schedule.hold_epochs) / schedule.fall_epochs)
            factor = 1 - (1 - schedule.floor) * fallen
    return config.lr * factor


def _rise(epoch: float, warmup: float) -> float:
    return min(1.0, epoch / warmup) if warmup > 0 else 1.0


def _cycle(epoch: float, warmup: float, length: float, floor: float) -> float:
    """Linear from 0 to 1 over warmup, then a cosine from 1 to floor until length."""
    if epoch < warmup:
        return _rise(epoch, warmup)
    progress = min(1.0, (epoch - warmup) / max(length - warmup, 1e-9))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _restart_cycle(epoch: float, t_0: float, t_mult: float) -> tuple[float, float]:
    """(begin, length) in epochs of the cycle that an epoch falls in."""
    begin, length = 0.0, t_0
    while epoch >= begin + length:
        begin, length = begin + length, length * t_mult
    return begin, length
