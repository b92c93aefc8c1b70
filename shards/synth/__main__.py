"""Make a factory of the six machine types and 41 IDs of DCASE 2020 Task 2, in its layout, from a physical model.

python -m shards.synth --out data/factory
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from asd.errors import UserError, run_main
from shards.synth.clip import DEFAULT_SNR_DB, MACHINE_IDS
from shards.synth.factory import FactoryConfig, write_factory
from shards.workers import clean_up_on_signals


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m shards.synth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder for the set")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another factory (default 0)")
    parser.add_argument("--clip-s", type=float, default=2.0, help="seconds per clip (default 2)")
    parser.add_argument("--train-clips", type=int, default=40, help="normal clips to train on, per ID (default 40)")
    parser.add_argument("--test-clips", type=int, default=20, help="normal and as many anomalous, per ID (default 20)")
    parser.add_argument(
        "--snr-db", type=float, default=DEFAULT_SNR_DB, help=f"machine to factory noise (default {DEFAULT_SNR_DB:g})"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Raise `UserError` for values that make no set."""
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give 0 or more")
    if not 0.5 <= args.clip_s <= 60:
        raise UserError(f"--clip-s {args.clip_s:g}: give 0.5 to 60 seconds")
    if not -40 <= args.snr_db <= 60:
        raise UserError(f"--snr-db {args.snr_db:g}: give -40 to 60 dB")
    if min(args.train_clips, args.test_clips, args.workers) < 1:
        raise UserError("--train-clips, --test-clips and --workers must be 1 or more")


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_args(args)
    config = FactoryConfig(args.seed, args.clip_s, args.train_clips, args.test_clips, args.snr_db)
    with clean_up_on_signals():
        count = write_factory(config, args.out, args.workers)
    num_ids = sum(len(ids) for ids in MACHINE_IDS.values())
    print(f"{args.out}: {count} clips of {args.clip_s:g} s, {num_ids} IDs of {len(MACHINE_IDS)} machine types")
    source, out = shlex.quote(str(args.out)), shlex.quote(f"{args.out}_packed")
    print(f"next: python -m shards.pack --layout dcase2020 --source {source} --out {out}")
    return 0


if __name__ == "__main__":
    run_main(main)
