"""`train_ddp.py`: a training run, put together from its config: data, run folder, network, evaluator, trainer."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asd.commands.pseudo_labels import clusters_without_embedding, find_clusters, write_clusters
from asd.commands.resident import hold, open_loader
from asd.commands.resume import check_run, initialise, open_run, say
from asd.config.build import Data, Setup, embedding_cache, set_up
from asd.config.checks import check_batch, check_profile
from asd.config.load import dump_yaml
from asd.config.run import RunConfig
from asd.data.cache.advice import window_advice
from asd.data.config import crop_advice
from asd.data.loader import BatchSource
from asd.data.manifest import Manifest
from asd.data.streams import unused_faults
from asd.distributed.cpu import return_freed_memory
from asd.distributed.device import choose_device, choose_precision
from asd.distributed.ranks import Ranks
from asd.evaluate.evaluator import Evaluator
from asd.evaluate.faults import known_faults_in_words
from asd.evaluate.history import show_best, steps_in_words
from asd.evaluate.in_training import TrainingEvaluator
from asd.evaluate.snapshot import SnapshotOf
from asd.loggers.base import Loggers, Source
from asd.loggers.console import TimeLeft
from asd.monitor.monitor import Monitor
from asd.monitor.stages import Position, Stage
from asd.optim.build import build_optimizer
from asd.optim.groups import parts_of, set_apart
from asd.process.stop import StoppedError, StopSignal, write_stop_marker
from asd.run_folder import pruning
from asd.run_folder.checkpoint import Payload
from asd.run_folder.lock import RunLock
from asd.run_folder.paths import RunFolder
from asd.run_folder.provenance import provenance
from asd.text.shell import command
from asd.train.parts import Parts
from asd.train.trainer import Trainer
from asd.train.untrained import NoTraining

log = logging.getLogger(__name__)


def train(config: RunConfig, ranks: Ranks, stop: StopSignal) -> int:
    """Run a config to its end, or to a stop signal, on all ranks; the exit code."""
    check_batch(config, ranks.world_size)
    folder = RunFolder(Path(config.run.dir))
    try:
        clusters = find_clusters(config, folder, ranks, stop)
        setup = ranks.run_on_all(lambda: set_up(config, clusters))
        resumed = open_run(setup, folder, ranks)
        ranks.run_on_all(lambda: check_profile(config, setup.total_steps, ranks.world_size))
        initialise(setup, folder, ranks, resumed)
        held = hold(setup, ranks, stop)
    except StoppedError:
        write_stop_marker()
        say(ranks, "stopped before the first step; run the same command to begin")
        return 0
    lock = RunLock(folder.root)
    ranks.run_on_main(lambda: _claim(setup, folder, lock))
    if ranks.is_main:
        _introduce(setup, ranks, folder)
    data, snapshot = setup.data, SnapshotOf(folder, config.evaluate, setup.evaluations)
    with lock, Loggers() as loggers, Monitor(folder.root, ranks, config.monitor.stall_s, snapshot) as monitor:
        loader, eval_loader = (open_loader(setup, ranks, held, stop) for _ in "12")
        if ranks.is_main:
            _open_loggers(loggers, setup, folder, resumed, monitor)
        cache, seed = embedding_cache(setup.config, ranks.precision), config.train.seed
        evaluator = Evaluator(config.evaluate, data.splits, eval_loader, ranks, folder, seed, cache, data.untrained)
        evaluate = TrainingEvaluator(evaluator, config.logging, loggers, setup.evaluations)
        setup.task.to(ranks.device)  # before the optimiser, whose state lies beside the weights
        if ranks.device.type == "cuda":
            evaluator.rehearse(setup.task)
        if resumed is not None:
            evaluate.renew(setup.task)  # the trainer then puts the weights back
        trainer = _trainer(setup, ranks, loader, loggers, stop, evaluate, resumed)
        monitor.watch(lambda: _position(trainer, eval_loader))
        with evaluate:
            outcome = trainer.run()
            trainer.stage = Stage.SCORE
            for part in (loader, eval_loader):
                part.close()
            if outcome == "finished":
                return_freed_memory()  # to the scoring process
                evaluate.wait(stop)
        monitor.end(outcome)
        loggers.close(outcome)
    if ranks.is_main:
        _say_goodbye(outcome, trainer.state.step, stop, evaluate, config.logging.viewers(folder.root))
    return 0


def _trainer(
    setup: Setup,
    ranks: Ranks,
    loader: BatchSource,
    loggers: Loggers,
    stop: StopSignal,
    evaluate: TrainingEvaluator,
    resumed: Payload | None,
) -> Trainer | NoTraining:
    """The loop with all that it takes, seconds as samples and shares as counts; or what there is without training."""
    config, data = setup.config, setup.data
    meta = {
        **setup.identity,
        **provenance(),
        "classes": setup.classes,
        "world_size": ranks.world_size,
        "precision": ranks.precision,
        "global_batch": config.train.global_batch,
        "seed": config.train.seed,
    }
    if config.optim is None or data.untrained:
        checkpoints = evaluate.folder.checkpoints
        return NoTraining(setup.task, ranks, evaluate, checkpoints, meta, dump_yaml(config), resumed)
    rate, first_s = data.manifest.sample_rate, config.data.first_s
    optimizer = build_optimizer(config.optim, setup.task.parameters())
    set_apart(optimizer, parts_of(config.optim, setup.task))
    parts = Parts(
        task=setup.task,
        optimizer=optimizer,
        loader=loader,
        plan=data.plan,
        crop=round(config.data.crop_s * rate),
        first=None if first_s is None else round(first_s * rate),
        max_bad_clips=math.floor(config.train.max_bad_fraction * len(data.splits.train)),
        ranks=ranks,
        loggers=loggers,
        stop=stop,
        evaluate=evaluate,
        checkpoints=evaluate.folder.checkpoints,
        profile=evaluate.folder.profile,
        meta=meta,
        config_yaml=dump_yaml(config),
    )
    return Trainer(config.train, config.optim, config.checkpoint, parts, resumed)


def check(config: RunConfig, world_size: int) -> list[str]:
    """What config, shards, devices and the owner of run.dir allow to refuse; a line that says what would run, and
    advice on windows and lengths."""
    check_batch(config, world_size)
    device = choose_device(0, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
    precision = choose_precision(config.distributed.precision, device)
    folder = RunFolder(Path(config.run.dir))
    clusters, known = clusters_without_embedding(config, folder)
    setup = set_up(config, clusters)
    if not known:  # the network has other classes than it will have
        setup = replace(setup, identity={name: setup.identity[name] for name in ("format", "fingerprint")})
    data = setup.data
    check_profile(config, setup.total_steps, world_size)
    check_run(folder, setup)
    classes = f"{len(setup.classes)} classes" if known else "as many classes as clusters will be found"
    found = f"ok: {classes}, {len(data.splits.train)} training clips, {device.type}, {precision}"
    faults = _faults_in_words(config, data.manifest)
    if not setup.total_steps:
        found += "; nothing is trained" + (f": {data.untrained}" if data.untrained else "")
        return [line for line in (found, faults) if line is not None]
    windows = _window_advice(config, data)
    lengths = crop_advice(data.manifest, data.splits.train, config.data.crop_s)
    return [line for line in (windows, found, lengths, faults) if line is not None]


def _window_advice(config: RunConfig, data: Data) -> str | None:
    """Of a set that is loaded at the start, each shard is fetched once in any case."""
    if config.data.resident != "off":
        return None
    return window_advice(data.manifest, data.plan, config.data.cache_gib)


def _faults_in_words(config: RunConfig, manifest: Manifest) -> str | None:
    """What becomes of training clips that are labelled anomaly, unless the network alone learns from them."""
    return known_faults_in_words(config.evaluate.scorers, manifest) or unused_faults(config.data.streams, manifest)


def _claim(setup: Setup, folder: RunFolder, lock: RunLock) -> None:
    """Make the run folder this run's, once nothing can be refused any more (rank 0)."""
    lock.take()
    if setup.data.clusters is not None:
        write_clusters(folder.pseudo_labels, setup.data.manifest, setup.data.clusters)
    folder.claim(setup.identity, dump_yaml(setup.config))
    pruning.remove_partial(folder.checkpoints)


def _position(trainer: Trainer | NoTraining, loader: BatchSource) -> Position:
    """Where this rank is, for its watchdog; loader: that of evaluations."""
    return Position(trainer.state.step, trainer.stage, loader.given, loader.asked > loader.given)


def _open_loggers(loggers: Loggers, setup: Setup, folder: RunFolder, resumed: Payload | None, monitor: Monitor) -> None:
    config, step = setup.config, 0 if resumed is None else resumed.meta["step"]
    total = setup.total_steps
    config.logging.build(Source(folder.root, "train", step, total, config.model_dump(mode="json")), loggers)
    loggers.text(step, "config", f"```yaml\n{dump_yaml(config)}```")
    nonfinite_steps = 0 if resumed is None else resumed.state.get("nonfinite_steps", 0)
    monitor.begin(TimeLeft(total, step), nonfinite_steps, loggers)
    loggers.add(monitor)


def _introduce(setup: Setup, ranks: Ranks, folder: RunFolder) -> None:
    """What is about to run, so that a wrong class count or device is seen at once."""
    config, data = setup.config, setup.data
    splits, steps = data.splits, data.plan.steps_per_epoch
    parameters = sum(p.numel() for p in setup.task.parameters())
    say(ranks, f"{len(setup.classes)} classes: {' '.join(setup.classes)}")
    say(ranks, f"{len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test clips")
    if faults := _faults_in_words(config, data.manifest):
        say(ranks, faults)
    parts = [config.task, config.frontend, config.backbone, getattr(config.task, "network", None), config.loss]
    say(ranks, f"{', '.join(part.name for part in parts if part is not None)}: {parameters:,} parameters")
    how = f"{ranks.world_size} rank{'s' * (ranks.world_size != 1)} on {ranks.device.type} in {ranks.precision}"
    if not setup.total_steps:
        why = f" ({data.untrained})" if data.untrained else ""
        say(ranks, f"{how}; nothing to train{why}: one checkpoint, and its evaluation")
    else:
        batch, total = config.train.global_batch, setup.total_steps
        say(ranks, f"{how}, global batch {batch}, {steps} steps an epoch, {total} steps")
        lengths = crop_advice(data.manifest, splits.train, config.data.crop_s)
        for advice in filter(None, [lengths, _window_advice(config, data)]):
            say(ranks, advice)
    viewers = "; watch it: ".join(["", *config.logging.viewers(folder.root)])
    say(ranks, f"run folder {folder.root}{viewers}")
    if config.evaluate.by_watcher:
        say(
            ranks,
            f"scores are left to a watcher (evaluate.by_watcher): python eval.py watch --run {command(folder.root)}",
        )


def _say_goodbye(
    outcome: str, step: int, stop: StopSignal, evaluate: TrainingEvaluator, viewers: Sequence[str]
) -> None:
    if outcome == "stopped":
        by = stop.name or "another rank"
        log.info(f"stopped by {by} at step {step}, checkpoint saved; run the same command to resume")
        return
    folder, left = evaluate.folder, evaluate.waiting() if evaluate.by_watcher else []
    if left:
        log.info(f"to be scored: {steps_in_words(left)}; python eval.py watch --run {command(folder.root)}")
    else:
        show_best(folder, evaluate.evaluator.config.select, evaluate.background.told)
    log.info("; ".join([f"finished at step {step}", *viewers]))
