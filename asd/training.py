"""Puts a training run together from its config: data, run folder, network, evaluator, trainer."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asd import checkpoint
from asd.checkpoint import Payload
from asd.config import RunConfig, check_batch, dump_yaml
from asd.data.loader import Loader, crop_advice
from asd.data.manifest import Manifest
from asd.data.plan import Plan
from asd.data.room import window_advice
from asd.distributed import Ranks, choose_device, choose_precision
from asd.errors import UserError
from asd.evaluations import show_best, steps_in_words
from asd.evaluator import Evaluator, TrainingEvaluator
from asd.files import refuse_within
from asd.identity import RESUMING, differences, in_words
from asd.initialise import initialise_from
from asd.loggers import ConsoleLogger, JsonlLogger, Loggers, TensorBoardLogger, TimeLeft
from asd.monitor.monitor import Monitor
from asd.monitor.reporter import Views
from asd.monitor.stages import Position, Stage
from asd.optim import build_optimizer
from asd.run_folder import RunFolder, RunLock, check_identity, provenance
from asd.standing import StandingOf
from asd.stop import StopSignal
from asd.system import Data, build_task, config_of, network_signature, open_data
from asd.trainer import Parts, Trainer
from asd.words import command

# Of what may change; the evaluation is told: numbers before and after it may not be comparable.
UNTOLD = RESUMING - {"train.epochs", "train.steps", "train.accumulate", "train.precision", "evaluate"}


def train(config: RunConfig, ranks: Ranks, stop: StopSignal) -> int:
    """Run a config to its end, or to a stop signal, on all ranks; the exit code."""
    check_batch(config, ranks.world_size)
    data = ranks.agree(lambda: open_data(config))
    task = build_task(config, data.manifest)
    folder = RunFolder(Path(config.run.dir))
    resumed = _open_run(config, data.manifest, task, folder, ranks)
    _initialise(config, [str(own) for own in data.manifest.classes], task, ranks, folder, resumed)
    lock = RunLock(folder.root)
    ranks.on_main(lambda: _claim(config, data.manifest, task, folder, lock))
    if ranks.is_main:
        _introduce(config, data, task, ranks, folder)
    standing = StandingOf(folder, config.evaluate, data.schedule(config))
    with lock, Loggers() as loggers, Monitor(folder.root, ranks, config.train.stall_s, standing) as monitor:
        loader, eval_loader = (
            Loader(data.manifest, ranks.device, config.data.threads, config.data.prefetch, stop) for _ in "12"
        )
        if ranks.is_main:
            _open_loggers(loggers, config, folder, data.plan, resumed, monitor)
        evaluator = Evaluator(config.evaluate, data.splits, eval_loader, ranks, folder, config.train.seed)
        evaluate = TrainingEvaluator(evaluator, loggers, data.schedule(config))
        task = task.to(ranks.device)  # before the optimiser, whose state lies beside the weights
        if resumed is not None:
            evaluate.renew(task)  # the trainer then puts the weights back
        rate = data.manifest.sample_rate
        parts = Parts(
            task=task,
            optimizer=build_optimizer(config.optim, task.parameters()),
            loader=loader,
            plan=data.plan,
            crop=round(config.data.crop_s * rate),
            first=None if config.data.first_s is None else round(config.data.first_s * rate),
            max_bad_clips=math.floor(config.data.max_bad_fraction * len(data.splits.train)),
            ranks=ranks,
            loggers=loggers,
            stop=stop,
            evaluate=evaluate,
            checkpoints=folder.checkpoints,
            meta={
                **identity(data.manifest, task),
                **provenance(),
                "classes": [str(own) for own in data.manifest.classes],
                "world_size": ranks.world_size,
                "precision": ranks.precision,
                "global_batch": config.train.global_batch,
                "seed": config.train.seed,
            },
            config_yaml=dump_yaml(config),
        )
        trainer = Trainer(config.train, config.optim, config.checkpoint, parts, resumed)
        monitor.watch(lambda: _position(trainer, eval_loader))
        with evaluate:
            outcome = trainer.run()
            trainer.stage = Stage.SCORE
            for part in (loader, eval_loader):
                part.close()
            if outcome == "finished":
                evaluate.wait(stop)
        monitor.end(outcome)
    if ranks.is_main:
        _say_goodbye(outcome, trainer.state.step, stop, evaluate)
    return 0


def check(config: RunConfig, world_size: int) -> str:
    """What config, shards, devices and the owner of run.dir allow to refuse; a line that says what would run, and one
    on lengths where clips and crops differ."""
    check_batch(config, world_size)
    device = choose_device(0, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
    precision = choose_precision(config.train.precision, device)
    data = open_data(config)
    if (advice := window_advice(data.manifest, data.plan, config.data.cache_gib)) is not None:
        print(advice)
    task = build_task(config, data.manifest)
    check_run(RunFolder(Path(config.run.dir)), config, data.manifest, task)
    classes, clips = len(data.manifest.classes), len(data.splits.train)
    lengths = crop_advice(data.manifest, data.splits.train, config.data.crop_s)
    return "\n".join(
        filter(None, [f"ok: {classes} classes, {clips} training clips, {device.type}, {precision}", lengths])
    )


def identity(manifest: Manifest, task: nn.Module) -> dict[str, Any]:
    """What a run may not change when it goes on, beside its settings: the set, and what a checkpoint's tensors are."""
    return {
        "format": checkpoint.FORMAT_VERSION,
        "fingerprint": manifest.fingerprint,
        "network": network_signature(task),
    }


def check_run(folder: RunFolder, config: RunConfig, manifest: Manifest, task: nn.Module) -> RunConfig | None:
    """The config with which the run in a folder was trained last, None where there is none yet.

    Raises UserError where its settings, set or network are others.
    """
    refuse_within("run.dir", folder.root, [manifest.root])
    former = config_of(folder)
    if former is not None and (found := differences(former, config, RESUMING)):
        raise UserError(
            f"{folder.root} belongs to a run with another {in_words(found)}: leave it as it was, or choose another "
            f"run.dir (init_from={folder.root} begins with its weights)"
        )
    folder.check(identity(manifest, task))
    if config.resume == "never" and checkpoint.complete_steps(folder.checkpoints):
        raise UserError(f"{folder.root} holds checkpoints and resume=never: choose another run.dir, or resume=auto")
    return former


def _open_run(
    config: RunConfig, manifest: Manifest, task: nn.Module, folder: RunFolder, ranks: Ranks
) -> Payload | None:
    """The newest checkpoint of the run folder that can be read; UserError where the folder is another run's."""

    def complete_steps() -> list[int]:
        check_run(folder, config, manifest, task)
        return checkpoint.complete_steps(folder.checkpoints)

    for step in reversed(ranks.on_main(complete_steps)):
        path = checkpoint.step_path(folder.checkpoints, step)
        try:
            found = ranks.agree(lambda path=path: checkpoint.load(path, ranks.device))  # type: ignore[misc]
        except UserError as error:
            ranks.on_main(lambda path=path, error=error: _set_aside(path, error))  # type: ignore[misc]
            _say(ranks, f"warning: {error}: set aside, going back to the one before")
            continue
        ranks.on_main(lambda path=path: check_identity(path / "meta.json", identity(manifest, task)))  # type: ignore[misc]
        return found
    return None


def _set_aside(folder: Path, error: UserError) -> None:
    """What some rank could not read, unless rank 0 can: another node may not see it, a GPU may be full."""
    try:
        checkpoint.load(folder, torch.device("cpu"))
    except UserError:
        checkpoint.set_aside(folder)
        return
    raise UserError(f"{error}; but rank 0 can read it: let all nodes see the run folder, or make room on their GPUs")


def _claim(config: RunConfig, manifest: Manifest, task: nn.Module, folder: RunFolder, lock: RunLock) -> None:
    """Make the run folder this run's, once nothing can be refused any more (rank 0)."""
    lock.take()
    folder.claim(identity(manifest, task), dump_yaml(config))
    checkpoint.remove_partial(folder.checkpoints)


def _initialise(
    config: RunConfig, classes: list[str], task: nn.Module, ranks: Ranks, folder: RunFolder, resumed: Payload | None
) -> None:
    """Say where the weights come from, and load those of init_from where no checkpoint takes precedence."""
    if resumed is not None:
        before, precision = resumed.meta["world_size"], resumed.meta.get("precision", ranks.precision)
        change = "" if before == ranks.world_size else f", saved by {before} ranks, now {ranks.world_size}"
        change += "" if precision == ranks.precision else f", computed in {precision}, now in {ranks.precision}"
        _say(ranks, f"resuming from step {resumed.meta['step']}{change}")
        former = config_of(folder) if ranks.is_main else None
        if former is not None and (found := differences(former, config, UNTOLD)):
            _say(ranks, f"changed since then: {in_words(found)}")
    elif config.init_from is not None:
        source, which = config.init_from, config.init_checkpoint
        _say(ranks, ranks.agree(lambda: initialise_from(task, source, which, classes)))


def _position(trainer: Trainer, loader: Loader) -> Position:
    """Where this rank is, for its watchdog; loader: that of evaluations."""
    return Position(trainer.state.step, trainer.stage, loader.given, loader.asked > loader.given)


def _open_loggers(
    loggers: Loggers, config: RunConfig, folder: RunFolder, plan: Plan, resumed: Payload | None, monitor: Monitor
) -> None:
    """Each is added as soon as it is open, and so closed even where the next one cannot be opened."""
    step = resumed.meta["step"] if resumed is not None else 0
    loggers.add(board := TensorBoardLogger(folder.tensorboard("train"), purge_step=step + 1 if step else None))
    board.text(step, "config", f"```yaml\n{dump_yaml(config)}```")
    loggers.add(journal := JsonlLogger(folder.metrics, step))
    left = TimeLeft(config.train.total_steps(plan.steps_per_epoch), step)
    monitor.begin(left, resumed.state.get("nonfinite_steps", 0) if resumed is not None else 0, Views(journal, board))
    loggers.add(ConsoleLogger(left))
    loggers.add(monitor)


def _introduce(config: RunConfig, data: Data, task: nn.Module, ranks: Ranks, folder: RunFolder) -> None:
    """What is about to run, so that a wrong class count or device is seen at once."""
    classes, splits, steps = data.manifest.classes, data.splits, data.plan.steps_per_epoch
    parameters = sum(p.numel() for p in task.parameters())
    _say(ranks, f"{len(classes)} classes: {' '.join(map(str, classes))}")
    _say(ranks, f"{len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test clips")
    parts = [config.task, config.frontend, config.backbone, getattr(config.task, "network", None), config.loss]
    _say(ranks, f"{', '.join(part.name for part in parts if part is not None)}: {parameters:,} parameters")
    _say(
        ranks,
        f"{ranks.world_size} ranks on {ranks.device.type} in {ranks.precision}, global batch "
        f"{config.train.global_batch}, {steps} steps an epoch, {config.train.total_steps(steps)} steps",
    )
    lengths = crop_advice(data.manifest, splits.train, config.data.crop_s)
    for advice in filter(None, [lengths, window_advice(data.manifest, data.plan, config.data.cache_gib)]):
        _say(ranks, advice)
    _say(ranks, f"run folder {folder.root}; watch it: tensorboard --logdir {command(folder.root / 'tensorboard')}")
    if config.evaluate.by_watcher:
        _say(
            ranks,
            f"scores are left to a watcher (evaluate.by_watcher): python eval.py watch --run {command(folder.root)}",
        )


def _say_goodbye(outcome: str, step: int, stop: StopSignal, evaluate: TrainingEvaluator) -> None:
    if outcome == "stopped":
        print(f"stopped by {stop.name or 'another rank'} at step {step}, saved; the same command goes on", flush=True)
        return
    folder, left = evaluate.folder, evaluate.waiting() if evaluate.by_watcher else []
    if left:
        print(f"to be scored: {steps_in_words(left)}; python eval.py watch --run {command(folder.root)}")
    else:
        show_best(folder, evaluate.evaluator.config.select)
    print(f"finished at step {step}; tensorboard --logdir {command(folder.root / 'tensorboard')}", flush=True)


def _say(ranks: Ranks, line: str) -> None:
    if ranks.is_main:
        print(line, flush=True)
