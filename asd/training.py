"""Puts a training run together from its config: data, network, optimiser, folder, loggers, evaluator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from asd import checkpoint
from asd.checkpoint import Payload
from asd.config import RunConfig, check_batch, dump_yaml
from asd.data.loader import Loader
from asd.data.manifest import Manifest
from asd.data.plan import Plan, Stream, make_plan
from asd.data.splits import Splits, make_splits
from asd.distributed import Ranks, choose_device, choose_precision
from asd.evaluator import Evaluator, TrainingEvaluator, best_step
from asd.loggers import ConsoleLogger, JsonlLogger, Loggers, TensorBoardLogger
from asd.optim import build_optimizer
from asd.report import console_table
from asd.run_folder import RunFolder, check_identity, provenance
from asd.scoring import read_report
from asd.signals import StopSignal
from asd.system import build_task, initialise_from, open_shards
from asd.trainer import Parts, Trainer


def train(config: RunConfig, ranks: Ranks) -> int:
    """Run a config to its end (or to a stop signal) on all ranks; the exit code."""
    stop = StopSignal()
    stop.listen()
    check_batch(config, ranks.world_size)
    manifest = ranks.agree(lambda: open_shards(config.data.shards))
    loader, eval_loader = (Loader(manifest, ranks.device, config.data.threads, config.data.prefetch) for _ in range(2))
    ranks.agree(loader.reader.check_members)
    splits = make_splits(manifest, config.train.seed, config.data.val_fraction)
    plan = make_plan(
        [Stream("all", splits.train, config.train.global_batch)], config.train.seed, config.data.run_length
    )
    folder = RunFolder(Path(config.run.dir))
    resumed = ranks.agree(lambda: _open_run(config, manifest, folder, ranks))
    task = build_task(config, manifest)
    _initialise(config, task, ranks, resumed)
    loggers = _loggers(config, folder, plan, resumed) if ranks.is_main else Loggers()
    evaluator = Evaluator(config.evaluate, splits, eval_loader, ranks, folder, config.train.seed)
    evaluate = TrainingEvaluator(evaluator, loggers, plan.steps_per_epoch)
    parts = Parts(
        task=task,
        optimizer=build_optimizer(config.optim, task.parameters()),
        loader=loader,
        plan=plan,
        crop=round(config.data.crop_s * manifest.sample_rate),
        max_bad_clips=math.floor(config.data.max_bad_fraction * len(splits.train)),
        ranks=ranks,
        loggers=loggers,
        stop=stop,
        evaluate=evaluate,
        checkpoints=folder.checkpoints,
        meta={**identity(config, manifest), **provenance(), "world_size": ranks.world_size},
        config_yaml=dump_yaml(config),
    )
    if ranks.is_main:
        _introduce(config, manifest, splits, plan, task, ranks, folder)
        evaluate.background.submit_unscored()
    trainer = Trainer(config.train, config.optim, config.checkpoint, parts, resumed)
    try:
        outcome = trainer.run()
    except BaseException:
        evaluate.background.stop()
        raise
    finally:
        loggers.close()
        loader.close()
        eval_loader.close()
    if outcome == "stopped":
        evaluate.background.stop()
    _say_goodbye(outcome, trainer.state.step, stop, evaluate, folder, config, ranks)
    return 0


def check(config: RunConfig, world_size: int) -> str:
    """Everything that can be refused before anything starts; one line that says what would run."""
    check_batch(config, world_size)
    device = choose_device(0, world_size)
    precision = choose_precision(config.train.precision, device)
    manifest = open_shards(config.data.shards)
    splits = make_splits(manifest, config.train.seed, config.data.val_fraction)
    make_plan([Stream("all", splits.train, config.train.global_batch)], config.train.seed, config.data.run_length)
    build_task(config, manifest)
    folder = RunFolder(Path(config.run.dir))
    if (folder.root / "run.json").exists():
        check_identity(folder.root / "run.json", identity(config, manifest))
    return f"ok: {len(manifest.classes)} classes, {len(splits.train)} training clips, {device.type}, {precision}"


def identity(config: RunConfig, manifest: Manifest) -> dict[str, Any]:
    """What a run may not change when it goes on: these decide which clips a step sees."""
    return {
        "format": checkpoint.FORMAT_VERSION,
        "fingerprint": manifest.fingerprint,
        "global_batch": config.train.global_batch,
        "seed": config.train.seed,
        "run_length": config.data.run_length,
        "val_fraction": config.data.val_fraction,
    }


def _open_run(config: RunConfig, manifest: Manifest, folder: RunFolder, ranks: Ranks) -> Payload | None:
    """Claim the run folder (rank 0) and read its newest checkpoint, if there is one."""
    steps = checkpoint.complete_steps(folder.checkpoints)
    if steps and config.resume == "never":
        from asd.errors import UserError

        raise UserError(f"{folder.root} holds checkpoints and resume=never: choose another run.dir, or resume=auto")
    if ranks.is_main:
        folder.claim(identity(config, manifest), dump_yaml(config))
        checkpoint.remove_partial(folder.checkpoints)
    if not steps:
        return None
    newest = checkpoint.step_path(folder.checkpoints, steps[-1])
    check_identity(newest / "meta.json", identity(config, manifest))
    return checkpoint.load(newest, ranks.device)


def _initialise(config: RunConfig, task: nn.Module, ranks: Ranks, resumed: Payload | None) -> None:
    if resumed is not None:
        before = resumed.meta["world_size"]
        if ranks.is_main:
            ranks_now = "" if before == ranks.world_size else f", saved by {before} ranks, now {ranks.world_size}"
            print(f"resuming from step {resumed.meta['step']}{ranks_now}", flush=True)
    elif config.init_from is not None:
        source = config.init_from
        fresh = ranks.agree(lambda: initialise_from(task, source))
        if ranks.is_main:
            print(f"weights from {source}; fresh: {', '.join(fresh) or 'none'}", flush=True)


def _loggers(config: RunConfig, folder: RunFolder, plan: Plan, resumed: Payload | None) -> Loggers:
    step = resumed.meta["step"] if resumed is not None else 0
    board = TensorBoardLogger(folder.tensorboard("train"), purge_step=step + 1 if step else None)
    board.text(step, "config", f"```yaml\n{dump_yaml(config)}```")
    console = ConsoleLogger(config.train.total_steps(plan.steps_per_epoch), step)
    return Loggers(console, JsonlLogger(folder.metrics, step), board)


def _introduce(
    config: RunConfig, manifest: Manifest, splits: Splits, plan: Plan, task: nn.Module, ranks: Ranks, folder: RunFolder
) -> None:
    parameters = sum(p.numel() for p in task.parameters())
    total = config.train.total_steps(plan.steps_per_epoch)
    names = " ".join(str(c) for c in manifest.classes)
    print(
        f"{len(manifest.classes)} classes: {names}\n"
        f"{len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test clips\n"
        f"{config.backbone.name} + {config.loss.name}, {parameters:,} parameters, {config.frontend.name}\n"
        f"{ranks.world_size} ranks on {ranks.device.type} in {ranks.precision}, global batch "
        f"{config.train.global_batch}, {plan.steps_per_epoch} steps an epoch, {total} steps\n"
        f"run folder {folder.root}; watch: tensorboard --logdir {folder.root / 'tensorboard'}",
        flush=True,
    )


def _say_goodbye(
    outcome: str,
    step: int,
    stop: StopSignal,
    evaluate: TrainingEvaluator,
    folder: RunFolder,
    config: RunConfig,
    ranks: Ranks,
) -> None:
    if not ranks.is_main:
        return
    if outcome == "stopped":
        print(f"stopped by {stop.name or 'another rank'} at step {step}, saved; the same command goes on", flush=True)
        return
    evaluate.background.wait()
    best = best_step(folder, config.evaluate.select)
    report = read_report(folder.evaluation(best)) if best is not None else None
    if best is not None and report is not None:
        Console().print(console_table(report))
        print(
            f"best checkpoint by the {config.evaluate.select} rule: step {best}; "
            f"{folder.evaluation(best) / 'report.md'}"
        )
    print(f"finished at step {step}; tensorboard --logdir {folder.root / 'tensorboard'}", flush=True)
