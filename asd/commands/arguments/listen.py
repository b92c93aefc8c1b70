"""The words of `eval.py listen`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asd.files.paths import user_path

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_listen(commands: Commands) -> None:
    listen = commands.add_parser("listen", help="listen to a machine: scores, alarms and states as lines of JSON")
    listen.add_argument("--detector", type=user_path, required=True, metavar="FILE", help="detector file")
    listen.add_argument(
        "--source", required=True, metavar="-|FILE|DEVICE",
        help="raw 16-bit little-endian samples of standard input or a named pipe; a growing file, also WAV; a device",
    )  # fmt: skip
    listen.add_argument("--machine", metavar="TYPE", help="machine type (optional if there is one); auto: the nearest")
    listen.add_argument("--id", metavar="ID", help="machine ID (optional if the type has only one)")
    listen.add_argument("--scorer", help="scorer of the detector (default: the primary one)")
    listen.add_argument("--rate", type=int, metavar="HZ", help="sample rate of the source (must be the detector's)")
    listen.add_argument("--channels", type=int, default=1, metavar="K", help="channels of the source (default 1)")
    listen.add_argument(
        "--channel", help="a number from 0, average, or 0,1: near and reference (default: as in training)"
    )
    listen.add_argument(
        "--window", dest="window_s", type=float, metavar="S", help="window length in seconds (default: as in training)"
    )
    listen.add_argument(
        "--overlap", type=float, metavar="F", help="overlap of windows, 0 to below 1 (default: as the threshold's rule)"
    )
    listen.add_argument(
        "--alarm-when", metavar="N/M",
        help="an alarm is N of the last M windows above the threshold (default: as the threshold's rule, else 1/1)",
    )  # fmt: skip
    listen.add_argument(
        "--cool-down",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds after an alarm in which none begins (default 0)",
    )
    listen.add_argument("--end-after", type=float, metavar="S", help="end where no sound came for so long")
    listen.add_argument(
        "--replay", action="store_true", help="the source is not live: its rate is not held against the clock"
    )
    listen.add_argument("--alarms-only", action="store_true", help="no line for each window")
    listen.add_argument("--mqtt", metavar="URL", help="also publish all but windows: mqtt://host:1883/topic")
    listen.add_argument("--keep-odd", type=user_path, metavar="FOLDER", help="keep windows above the threshold here")
    listen.add_argument(
        "--keep-at-most", type=int, default=100, metavar="N", help="so many of them, the newest (default 100)"
    )
    listen.set_defaults(command=_listen)


def _listen(args: argparse.Namespace) -> None:
    from asd.commands.listen import Options, listen_command

    listen_command(Options(**{name: getattr(args, name) for name in Options.__dataclass_fields__}))
