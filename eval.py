"""Score checkpoints of a run, evaluate score files by the official rules, make a detector of a run, judge recordings.

python eval.py score --run runs/demo --checkpoint best      (or under torchrun, to embed with several ranks)
python eval.py watch --run runs/demo                        (beside a training with evaluate.by_watcher=true)
python eval.py ensemble --runs runs/a runs/b runs/c --method mean --out runs/ensemble
python eval.py angles --runs runs/a runs/b --out angles.png
python eval.py report --layout dcase2023 --scores submission --ground-truth dcase2023_task2_evaluator
python eval.py export --run runs/demo --out detector.pt       (or export --detector moved.pt --onnx moved.onnx)
python eval.py calibrate --detector detector.pt recordings/normal --machine fan --id 00 --out moved.pt
arecord -f S16_LE -r 16000 -t raw | python eval.py listen --detector detector.pt --source - --machine fan --id 00
python eval.py clips --detector detector.pt recordings/today --machine fan --id 00       (or recordings/today.csv)
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asd.commands.arguments.calibrate import add_calibrate
from asd.commands.arguments.export import add_export
from asd.commands.arguments.listen import add_listen
from asd.errors import run_main
from asd.files.paths import user_path
from asd.process import logs
from asd.process.stop import AskedToStop, StopSignal, without_local_rank

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(
        required=True, metavar="{score,watch,ensemble,angles,report,export,calibrate,listen,clips}"
    )
    _add_score(commands)
    _add_watch(commands)
    _add_ensemble(commands)
    _add_angles(commands)
    _add_report(commands)
    add_export(commands)
    add_calibrate(commands)
    add_listen(commands)
    _add_clips(commands)
    words = without_local_rank(argv)
    if words and words[0] in commands.choices:  # an intermixed command line is a subcommand's, argparse says
        return commands.choices[words[0]].parse_intermixed_args(words[1:])
    return parser.parse_args(words)


def _add_score(commands: Commands) -> None:
    score = commands.add_parser(
        "score", help="embed and score one checkpoint; writes scores.csv, report.json, report.md"
    )
    score.add_argument("--run", type=user_path, required=True, help="run folder, such as runs/demo")
    score.add_argument("--checkpoint", default="best", help="best, last or a step (default: best)")
    score.add_argument("--out", type=user_path, help="output folder (default: RUN/scores/step_…)")
    score.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as evaluate.select=oracle")
    score.set_defaults(command=_score)


def _add_watch(commands: Commands) -> None:
    watch = commands.add_parser("watch", help="score the checkpoints of a run as they appear, until it is finished")
    watch.add_argument(
        "--run", type=user_path, required=True, help="run folder, such as runs/demo; it need not exist yet"
    )
    end = watch.add_mutually_exclusive_group()
    end.add_argument("--once", action="store_true", help="score the existing checkpoints and exit")
    end.add_argument("--forever", action="store_true", help="keep watching when the run is finished")
    watch.add_argument("--log-format", choices=logs.RUN_FORMATS, default="text", help="json: one object per line")
    watch.add_argument("--poll", type=_seconds, default=10.0, metavar="S", help="seconds between checks (default 10)")
    watch.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values, such as data.shards=data/moved")
    watch.set_defaults(command=_watch)


def _add_ensemble(commands: Commands) -> None:
    ensemble = commands.add_parser(
        "ensemble",
        help="combine the scores of several runs, or of the last evaluations of one, z-normalised by training clips",
    )
    ensemble.add_argument(
        "--runs", type=user_path, nargs="+", required=True, help="run folders, or folders of evaluations"
    )
    ensemble.add_argument(
        "--last", type=int, metavar="N", help="take the N newest scored evaluations of each run (default: its best one)"
    )
    ensemble.add_argument("--method", choices=("mean", "median", "topk"), default="mean")
    ensemble.add_argument(
        "--k", type=int, default=3, help="number of runs for topk, chosen on the test clips by machine type (default 3)"
    )
    ensemble.add_argument("--scorer", help="scorer of each run (default: the primary one)")
    ensemble.add_argument("--percent", type=float, default=90.0, help="percentile of the gamma threshold (default 90)")
    ensemble.add_argument(
        "--out", type=user_path, required=True, help="new folder, or the folder of an earlier ensemble"
    )
    ensemble.set_defaults(command=_ensemble)


def _add_angles(commands: Commands) -> None:
    angles = commands.add_parser("angles", help="angles of test clips to their class centres, a panel for each run")
    angles.add_argument("--runs", type=user_path, nargs="+", required=True, help="run folders, a panel for each")
    angles.add_argument(
        "--checkpoint", default="best", help="checkpoint of each run: best, last or a step (default: best)"
    )
    angles.add_argument("--out", type=user_path, required=True, metavar="FILE", help="output image, such as angles.png")
    angles.set_defaults(command=_angles)


def _add_report(commands: Commands) -> None:
    report = commands.add_parser("report", help="evaluate score files of any system by the official rule of a year")
    report.add_argument(
        "--layout", required=True, metavar="LAYOUT", help="dcase2020 to dcase2026; table, mimii: of a scores.csv"
    )
    report.add_argument(
        "--scores", type=user_path, required=True,
        help="folder of anomaly_score_*.csv, decision_result_*.csv; table, mimii: of a scores.csv",
    )  # fmt: skip
    report.add_argument(
        "--ground-truth", metavar="PATH",
        help="folder or file of the organisers' ground truth; `names`: the score files name development clips; "
        "table, mimii: a csv with other labels than those of scores.csv, may be left out",
    )  # fmt: skip
    report.add_argument("--json", type=user_path, metavar="FILE", help="also write the metrics to this file")
    report.set_defaults(command=_report)


def _seconds(text: str) -> float:
    if not 0 < float(text) <= 3600:
        raise argparse.ArgumentTypeError("give seconds, above 0, 3600 at most")
    return float(text)


def _add_clips(commands: Commands) -> None:
    clips = commands.add_parser(
        "clips",
        help="score recordings with an exported detector",
        description="Score, decision and state of the input of each recording. Exit code: 1 where one was not judged "
        "(input missing, unreadable, too_short, or no sound: silent, constant, repeating), else 0, also with anomalies "
        "and where the input of one that was judged is clipped, stuck or of a wrong_rate: that is a warning.",
    )
    clips.add_argument(
        "--detector", type=user_path, required=True, metavar="FILE", help="detector file of eval.py export"
    )
    clips.add_argument(
        "recordings",
        type=user_path,
        nargs="+",
        metavar="RECORDING",
        help="files, and folders of them; or a csv with the columns path, machine_type, machine_id [, label]",
    )
    clips.add_argument(
        "--machine", metavar="TYPE", help="machine type (optional if there is only one); auto: the nearest one"
    )
    clips.add_argument("--id", metavar="ID", help="machine ID (optional if the type has only one)")
    clips.add_argument("--scorer", help="scorer of the detector (default: the primary one)")
    clips.add_argument(
        "--window",
        type=float,
        metavar="S",
        help="window length for longer recordings, in seconds (default: as in training)",
    )
    clips.add_argument(
        "--overlap", type=float, default=0.0, metavar="F", help="overlap of windows, 0 to below 1 (default 0)"
    )
    clips.add_argument(
        "--channel",
        help="channel of multi-channel recordings: a number from 0, average, or 0,1: near and reference microphone "
        "(default: as in the packed set)",
    )
    clips.add_argument(
        "--format", choices=("table", "csv", "json"), help="(default: by the extension of --out, else table)"
    )
    clips.add_argument("--out", type=user_path, metavar="FILE", help="write to this file instead of the terminal")
    clips.add_argument(
        "--plot", type=user_path, metavar="FOLDER", help="folder for plots of the score over time, and of --explain"
    )
    clips.add_argument(
        "--explain", action="store_true", help="say which bands and moments make the score of each anomaly"
    )
    clips.set_defaults(command=_clips)


def _score(args: argparse.Namespace) -> None:
    from asd.commands.open_run import load_run
    from asd.commands.score import score_checkpoint

    score_checkpoint(load_run(args.run, args.overrides), args.checkpoint, args.out)


def _watch(args: argparse.Namespace) -> None:
    logs.set_up(args.log_format)
    try:
        with StopSignal(at_once=True) as stop:  # before the heavy imports
            from asd.commands.watch import Options, watch

            watch(args.run, args.overrides, Options(args.once, args.forever, args.poll), stop)
    except AskedToStop as stopped:
        logging.getLogger("asd.eval").info(str(stopped))


def _ensemble(args: argparse.Namespace) -> None:
    from asd.commands.ensemble import ensemble_command

    ensemble_command(args.runs, args.out, args.method, args.k, args.scorer, args.percent, args.last)


def _angles(args: argparse.Namespace) -> None:
    from asd.commands.angles import angles_command

    angles_command(args.runs, args.checkpoint, args.out)


def _report(args: argparse.Namespace) -> None:
    from asd.commands import report_scores
    from asd.commands.report import report_score_files

    own = args.layout in report_scores.LAYOUTS
    (report_scores.report_scores if own else report_score_files)(args.layout, args.scores, args.ground_truth, args.json)


def _clips(args: argparse.Namespace) -> int:
    from asd.commands.clips import Options, clips_command

    words = {name: getattr(args, name) for name in Options.__dataclass_fields__ if name != "window_s"}
    return clips_command(Options(**words, window_s=args.window))


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with StopSignal(at_once=True) as stop:  # what is half made goes, and the terminal's cursor comes back
            return args.command(args) or 0
    except AskedToStop as stopped:
        print(stopped, file=sys.stderr, flush=True)
        return stop.exit_code


if __name__ == "__main__":
    run_main(main)
