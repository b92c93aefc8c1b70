"""Train one integrated model over all machines of a packed set: what torchrun starts on every rank.

torchrun --standalone --nproc_per_node=2 train_ddp.py --config configs/dcase2020_integrated.yaml train.epochs=30
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main
from asd.files.paths import user_path
from asd.process import logs
from asd.process.last_word import say_last
from asd.process.startup import quick_imports
from asd.process.stop import StopSignal, die_with_torchrun, without_local_rank

log = logging.getLogger("asd.train_ddp")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=user_path, default=Path(__file__).parent / "configs" / "dcase2020_integrated.yaml"
    )
    parser.add_argument("--log-format", choices=logs.RUN_FORMATS, default="text", help="json: one object per line")
    parser.add_argument("--check", action="store_true", help="validate config, shards and devices without training")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as train.epochs=30")
    return parser.parse_intermixed_args(without_local_rank(argv))


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    logs.set_up(args.log_format)
    if args.check:
        return check(args)
    with StopSignal() as stop:  # before the heavy imports: a signal that arrives meanwhile is not lost
        die_with_torchrun()
        return train(args, stop)


def check(args: argparse.Namespace) -> int:
    from asd.commands import train
    from asd.config.load import load_config

    found = train.check(load_config(args.config, args.overrides), int(os.environ.get("WORLD_SIZE", 1)))
    if os.environ.get("RANK", "0") == "0":
        for line in found:
            log.info(line)
    return 0


def train(args: argparse.Namespace, stop: StopSignal) -> int:
    with quick_imports():
        import torch._dynamo  # noqa: F401  # torch would do it where the first optimiser is made

        from asd.commands import train
        from asd.config.load import load_config
        from asd.distributed.collectives import is_peer_failure
        from asd.distributed.start import start_ranks

    config = load_config(args.config, args.overrides)
    with start_ranks(config.distributed.precision, config.distributed.timeout_s) as ranks:
        try:
            return train.train(config, ranks, stop)
        except RuntimeError as error:
            if not is_peer_failure(error):
                raise
            log.error("another rank exited, shutting down (torchrun --max-restarts=N restarts the job)")
            say_last("another rank exited; run the same command to resume from the newest checkpoint")
            return 1


if __name__ == "__main__":
    run_main(main)
