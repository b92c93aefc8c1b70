"""The command's options, and the factory they describe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from asd.errors import UserError
from asd.files.paths import user_path
from shards.synth.clip import DEFAULT_SNR_DB
from shards.synth.domains import NUM_SECTIONS
from shards.synth.factory import FactoryConfig
from shards.synth.layouts import LAYOUTS

MAX_CLIPS = 10_000  # what the four digits of a file name can number


def parse_args(argv: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """The options as given."""
    parser = argparse.ArgumentParser(
        prog="python -m shards.synth", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=user_path, required=True, help="new folder for the set")
    parser.add_argument("--layout", choices=LAYOUTS, default="dcase2020", help="the year (default dcase2020)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another factory (default 0)")
    parser.add_argument("--clip-s", type=float, default=2.0, help="seconds per clip (default 2)")
    parser.add_argument(
        "--train-clips", type=int, default=40, help="normal clips to train on, per ID or section (default 40)"
    )
    parser.add_argument(
        "--target-clips", type=int, help="so many of these are of the target domain (default: the year's share, 3+)"
    )
    parser.add_argument(
        "--test-clips", type=int, default=20, help="normal and as many anomalous, per ID or domain (default 20)"
    )
    parser.add_argument(
        "--sections", type=int, help=f"sections of every machine type, 1 to {NUM_SECTIONS} (default 3; dcase2026: 1)"
    )
    parser.add_argument(
        "--snr-db", type=float, default=DEFAULT_SNR_DB, help=f"machine to factory noise (default {DEFAULT_SNR_DB:g})"
    )
    parser.add_argument(
        "--contaminate",
        type=float,
        default=0.0,
        help="share of the training clips that are anomalies labelled normal, from 0 to 0.5 (default 0)",
    )
    parser.add_argument(
        "--known-faults", type=int, default=0, help="anomalies in training, labelled so, per ID or section (default 0)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    return parser.parse_args(argv)


def factory_of(args: argparse.Namespace) -> FactoryConfig:
    """The factory to make; `UserError` for values that make no set."""
    _check_any(args)
    layout = LAYOUTS[args.layout]
    if layout.target_share is None:
        _check_without_domains(args)
    target_clips = layout.target_clips(args.train_clips) if args.target_clips is None else args.target_clips
    if layout.target_share is not None:
        _check_with_domains(args, target_clips)
    return FactoryConfig(
        layout_name=args.layout,
        seed=args.seed,
        clip_s=args.clip_s,
        train_clips=args.train_clips,
        target_clips=target_clips,
        test_clips=args.test_clips,
        num_sections=layout.num_sections if args.sections is None else args.sections,
        snr_db=args.snr_db,
        contaminate=args.contaminate,
        known_faults=args.known_faults,
    )


def _check_any(args: argparse.Namespace) -> None:
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give 0 or more")
    if not 0.5 <= args.clip_s <= 60:
        raise UserError(f"--clip-s {args.clip_s:g}: give 0.5 to 60 seconds")
    if not -40 <= args.snr_db <= 60:
        raise UserError(f"--snr-db {args.snr_db:g}: give -40 to 60 dB")
    if not 0 <= args.contaminate <= 0.5:
        raise UserError(f"--contaminate {args.contaminate:g}: give a share from 0 to 0.5")
    if not 0 <= args.known_faults <= MAX_CLIPS:
        raise UserError(f"--known-faults {args.known_faults}: give 0 to {MAX_CLIPS}")
    if min(args.train_clips, args.test_clips, args.workers) < 1:
        raise UserError("--train-clips, --test-clips and --workers must be 1 or more")


def _check_without_domains(args: argparse.Namespace) -> None:
    for option, value in (("--sections", args.sections), ("--target-clips", args.target_clips)):
        if value is not None:
            raise UserError(
                f"{option}: {args.layout} has no sections and domains, use --layout dcase2021, dcase2022 or dcase2026"
            )


def _check_with_domains(args: argparse.Namespace, target_clips: int) -> None:
    if args.sections is not None and not 1 <= args.sections <= NUM_SECTIONS:
        raise UserError(f"--sections {args.sections}: give 1 to {NUM_SECTIONS}")
    if not 1 <= target_clips < args.train_clips:
        raise UserError(
            f"--target-clips {target_clips} of --train-clips {args.train_clips}: both domains need 1 or more"
        )
    highest = max(args.train_clips, args.test_clips)
    if args.contaminate or args.known_faults:
        highest = 2 * (args.train_clips + args.test_clips) + args.known_faults
    if highest > MAX_CLIPS:
        raise UserError(f"--train-clips and --test-clips: {args.layout} numbers {MAX_CLIPS} clips at most")
