"""The words of `eval.py export`: of a run, or of a detector."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from asd.commands.arguments.budget import add_budget
from asd.errors import UserError
from asd.files.paths import user_path

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

FORMATS = ("onnx", "onnx-int8")  # files of asd/detector/formats
NORMALS = 128
OF_RUN = ("out", "checkpoint", "normals", "false-alarms", "alarm-when", "every")
OF_DETECTOR = ("check-on", "machine", "id")


def add_export(commands: Commands) -> None:
    export = commands.add_parser("export", help="export a run as one file that scores recordings, or that file as ONNX")
    source = export.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=user_path, help="run folder, such as runs/demo")
    source.add_argument(
        "--detector", type=user_path, metavar="FILE", help="a detector, such as one that was calibrated, for --onnx"
    )
    export.add_argument("--checkpoint", help="best, last or a step (default: best)")
    export.add_argument("--out", type=user_path, metavar="FILE", help="of a run: output file, such as detector.pt")
    export.add_argument(
        "--scorer", action="append", default=[],
        help="scorer to keep, a column of scores.csv; repeatable (default: all)",
    )  # fmt: skip
    export.add_argument(
        "--normals", type=int, metavar="N",
        help="normal recordings to keep of each machine, for explanations and calibration (default 128; 0: none)",
    )  # fmt: skip
    add_budget(export)
    for name in FORMATS:
        export.add_argument(
            f"--{name}", type=user_path, metavar="FILE",
            help=f"also write all of it as {name}, and check it against the detector",
        )  # fmt: skip
    export.add_argument(
        "--check-on", type=user_path, nargs="+", metavar="RECORDING",
        help="of a detector: recordings to check on, as of eval.py clips (default: imitations of the normal recordings "
        "that it keeps)",
    )  # fmt: skip
    export.add_argument("--machine", metavar="TYPE", help="machine type of --check-on")
    export.add_argument("--id", metavar="ID", help="machine ID of --check-on")
    export.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as data.shards=data/moved")
    export.set_defaults(command=_export)


def _export(args: argparse.Namespace) -> None:
    others = {name: path for name in FORMATS if (path := _value(args, name)) is not None}
    if args.run is None:
        _refuse(args, OF_RUN, "--run: a detector is written as it is, eval.py calibrate changes it")
        if args.overrides:
            raise UserError(f"{args.overrides[0]} is for --run: name recordings by --check-on")
        from asd.commands.export_detector import CheckOn, export_detector

        check_on = CheckOn(args.check_on or (), args.machine, args.id)
        export_detector(args.detector, args.scorer, check_on, others)
        return
    _refuse(args, OF_DETECTOR, "--detector: a run is checked on its test clips")
    if args.out is None:
        raise UserError("--run: name the detector that shall be written, such as --out detector.pt")
    from asd.commands.budget import Budget
    from asd.commands.export import Kept, export_command
    from asd.commands.open_run import load_run

    normals = NORMALS if args.normals is None else args.normals
    kept = Kept(args.scorer, normals, Budget.of(args.false_alarms, args.alarm_when, args.every))
    export_command(load_run(args.run, args.overrides), args.checkpoint or "best", args.out, kept, others)


def _value(args: argparse.Namespace, name: str) -> Any:
    return getattr(args, name.replace("-", "_"))


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    if given := next((name for name in names if _value(args, name) is not None), None):
        raise UserError(f"--{given} is for {why}")
