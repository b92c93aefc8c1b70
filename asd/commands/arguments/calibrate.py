"""The words of `eval.py calibrate`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asd.commands.arguments.budget import add_budget
from asd.files.paths import user_path

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_calibrate(commands: Commands) -> None:
    calibrate = commands.add_parser(
        "calibrate", help="teach a detector a machine by normal recordings, without training: moved, changed or new"
    )
    calibrate.add_argument("--detector", type=user_path, required=True, metavar="FILE", help="detector to start from")
    calibrate.add_argument(
        "recordings", type=user_path, nargs="*", metavar="RECORDING", help="normal recordings: files, folders of them"
    )
    calibrate.add_argument("--machine", metavar="TYPE", required=True, help="machine type")
    calibrate.add_argument("--id", metavar="ID", required=True, help="machine ID; one that is not known is added")
    calibrate.add_argument(
        "--out", type=user_path, required=True, metavar="FILE", help="detector to write; may be the one that is read"
    )
    calibrate.add_argument(
        "--scorer", action="append", default=[], help="scorer to keep; repeatable (default: all of the detector)"
    )
    calibrate.add_argument(
        "--keep", action="store_true", help="add to the normal recordings of the detector (default: replace them)"
    )
    calibrate.add_argument(
        "--false-alarm", dest="alarms", type=user_path, nargs="+", default=[], metavar="RECORDING",
        help="recordings that were called anomalies and are normal: added to the detector's, as by --keep",
    )  # fmt: skip
    calibrate.add_argument(
        "--missed", type=user_path, nargs="+", default=[], metavar="RECORDING",
        help="faults that were called normal: matched_filter learns from them, also in fused, and the threshold is "
        "lowered for them as far as its rule allows",
    )  # fmt: skip
    calibrate.add_argument(
        "--ignore-bands", metavar="HZ", help="bands not to hear from now on, such as 50,1000-1100; none: hear all"
    )
    calibrate.add_argument(
        "--normals", type=int, default=128, metavar="N", help="normal recordings to keep at most (default 128)"
    )
    calibrate.add_argument(
        "--recording", choices=("file", "folder"), default="file",
        help="what one recording is: each file, or all files of a folder, such as the cuts of a long one. Clips of one "
        "recording are one piece of evidence (default file)",
    )  # fmt: skip
    calibrate.add_argument("--channel", help="channel of multi-channel recordings (default: as in the packed set)")
    add_budget(calibrate)
    calibrate.set_defaults(command=_calibrate)


def _calibrate(args: argparse.Namespace) -> None:
    from asd.commands.budget import Budget
    from asd.commands.calibrate import Options, calibrate_command

    words = {name: getattr(args, name) for name in Options.__dataclass_fields__ if name != "budget"}
    budget = Budget.of(args.false_alarms, args.alarm_when, args.every)
    calibrate_command(Options(**words, budget=budget))
