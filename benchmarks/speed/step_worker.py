"""One torchrun job: a config's clips/s over all ranks, or what the trainer adds to a bare DDP loop; one line of json.

torchrun --nproc_per_node=2 -m benchmarks.speed.step_worker --shards SET --config CONFIG --batch 16 --steps 4
torchrun --nproc_per_node=2 -m benchmarks.speed.step_worker --shards SET --overhead --steps 200
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asd.checkpoint import CheckpointConfig
from asd.data.batch import Batch
from asd.data.loader import Loader
from asd.distributed import Ranks, start_ranks
from asd.files import user_path
from asd.optim import OptimConfig, build_optimizer
from asd.system import open_data
from asd.tasks import StepOutput
from asd.trainer import TrainConfig
from benchmarks.speed.steps import Setting, StepTrainer, bare_parts, open_session, synchronise

WIDTH = 64  # of the tiny network
BLOCKS = 6  # turns that the two loops take


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=user_path, required=True)
    parser.add_argument("--config", default="demo")
    parser.add_argument("--batch", type=int, default=16, help="clips over all ranks")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--out", type=user_path, required=True)
    args = parser.parse_args(argv)
    with start_ranks("fp32", 120) as ranks:
        found = overhead(args, ranks) if args.overhead else speed(args, ranks)
        gc.collect()  # a trainer ends in a cycle: its DDP is to go before the process group, not with the interpreter
        if ranks.is_main:
            args.out.write_text(json.dumps(found), encoding="utf-8")


def speed(args: argparse.Namespace, ranks: Ranks) -> dict[str, float]:
    """Clips/s of all ranks."""
    session = open_session(Setting(args.config, args.batch), args.shards, ranks)
    return {"clips_per_s": args.batch / session.step_s(args.steps)}


def overhead(args: argparse.Namespace, ranks: Ranks) -> dict[str, float]:
    """Milliseconds of a step of the trainer, and of a bare loop over the same network and batch."""
    trainer = _tiny_trainer(args, ranks)
    trainer.take(20)
    bare = _bare_loop(trainer, ranks)
    bare(20)
    ours, theirs = [], []
    for _ in range(BLOCKS):
        ours.append(_timed(lambda: trainer.take(args.steps), ranks) / args.steps)
        theirs.append(_timed(lambda: bare(args.steps), ranks) / args.steps)
    return {"trainer_ms": 1000 * statistics.median(ours), "bare_ms": 1000 * statistics.median(theirs)}


class Tiny(nn.Module):
    """A network so small that the loop around it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, batch: Batch) -> StepOutput:
        """Mean square of the output for the first samples of each clip."""
        return StepOutput(self.layers(batch.waveform[:, :WIDTH].float()).square().mean())


def _tiny_trainer(args: argparse.Namespace, ranks: Ranks) -> StepTrainer:
    config = Setting(args.config, args.batch).load(args.shards)
    data, task = open_data(config), Tiny().to(ranks.device)
    loader = Loader(data.manifest, ranks.device, 1, 1)
    parts = bare_parts(task, build_optimizer(OptimConfig(), task.parameters()), loader, data.plan, WIDTH, ranks)
    train = TrainConfig(global_batch=args.batch, steps=1_000_000, seed=0, reuse_first_batch=True)
    return StepTrainer(train, OptimConfig(), CheckpointConfig(), parts, None)


def _bare_loop(trainer: StepTrainer, ranks: Ranks) -> Callable[[int], None]:
    """Forward, backward, clipping and update as torch's own tutorials write them, with DDP set up as ours is."""
    batch = next(trainer.stream)
    module: nn.Module = copy.deepcopy(trainer.parts.task)
    model = module
    if ranks.world_size > 1:
        with warnings.catch_warnings():  # as in asd.distributed: newer torch renames broadcast_buffers
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            model = DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
    optimizer = build_optimizer(OptimConfig(), module.parameters())

    def steps(count: int) -> None:
        for _ in range(count):
            model(batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()

    return steps


def _timed(work: Callable[[], None], ranks: Ranks) -> float:
    if dist.is_initialized():
        dist.barrier()
    synchronise(ranks.device)
    begin = time.perf_counter()
    work()
    synchronise(ranks.device)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
