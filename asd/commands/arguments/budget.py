"""--false-alarms, --alarm-when, --every: of export and calibrate."""

from __future__ import annotations

import argparse


def add_budget(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--false-alarms",
        metavar="N/UNIT",
        help="thresholds for so many false alarms at most, such as 1/day (hour, day, week), in place of "
        "evaluate.threshold",
    )
    command.add_argument(
        "--alarm-when", metavar="N/M", help="an alarm is N of the last M windows above the threshold (default 1/1)"
    )
    command.add_argument(
        "--every", type=float, metavar="S", help="seconds from one window to the next (default: the length of a clip)"
    )
