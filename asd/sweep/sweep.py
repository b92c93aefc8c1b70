"""Runs of several configs, seeds or machine types, one after another or side by side, and one table of them.

python -m asd.sweep --config configs/tastgram_arcface.yaml configs/tastgram_arcmix.yaml --seeds 0 1 2 --out runs/s2
python -m asd.sweep --config configs/dcase2020_individual.yaml --by-type --slots 6 --out runs/individual
python -m asd.sweep --config configs/cpjku_ccsa.yaml --by-type --from runs/cpjku --out runs/cpjku_ccsa
python -m asd.sweep --config configs/demo.yaml --search space.yaml --trials 30 --slots 2 --out runs/search
python -m asd.sweep --config configs/demo.yaml --seeds 0 1 2 --slots 3 --out runs/s --slurm time=240 gpus-per-node=1

Gaps under one point are noise in this field: the table gives mean ± standard deviation over seeds. A run that is
already done with the very same config is not done again.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from asd.config.build import open_shards
from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.evaluate.ensemble import open_member, write_ensemble
from asd.files.atomic import write_whole
from asd.files.paths import check_over, check_within, user_path
from asd.process import logs
from asd.report import Report
from asd.sweep.engines import Engine, Local, Slurm
from asd.sweep.jobs import DONE_FILE, Former, Job, job_of
from asd.sweep.numbers import as_tree, evaluation_of, of_reports, summarise
from asd.sweep.queue import run_jobs
from asd.sweep.table import console_table, markdown
from asd.text.terminal import open_console

log = logging.getLogger(__name__)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m asd.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=user_path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--by-type", action="store_true", help="one model per machine type, in one table")
    parser.add_argument("--ranks", type=int, default=1, help="ranks per run (default 1)")
    parser.add_argument("--slots", type=int, default=1, help="runs at once, spread over the visible GPUs (default 1)")
    parser.add_argument(
        "--slurm", nargs="+", metavar="NAME=VALUE",
        help="runs are jobs of a Slurm cluster, --slots of them at once, with these options of sbatch: time=MINUTES, "
        "partition=…, gpus-per-node=…, cpus-per-task=…",
    )  # fmt: skip
    parser.add_argument("--keep-going", action="store_true", help="continue with the other runs after a failure")
    parser.add_argument("--out", type=user_path, required=True)
    parser.add_argument("--log-format", choices=logs.RUN_FORMATS, default="text", help="json: one object per line")
    parser.add_argument(
        "--from", dest="former", type=user_path, metavar="SWEEP",
        help="--out of another sweep: each run starts from that one's run of the same seed and machine type",
    )  # fmt: skip
    parser.add_argument(
        "--then", nargs="+", default=[], metavar="a.b=c",
        help="a second phase: every run goes on from its weights, with these settings, in OUT/then",
    )  # fmt: skip
    parser.add_argument(
        "--ensembles", type=int, nargs="+", default=[], metavar="K",
        help="also the mean scores of the K best runs of each machine type, for each K: OUT/submission_1, …",
    )  # fmt: skip
    parser.add_argument(
        "--search", type=user_path, metavar="FILE",
        help="a yaml file of settings and what they may be (optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}, "
        "backbone.width: [8, 16]): try values, by optuna",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, default=20, help="runs of a search (default 20)")
    parser.add_argument(
        "--objective", choices=("loss", "accuracy"), default="loss",
        help="what a search goes by, of held-out normal clips (default loss)",
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values of every run")
    args = parser.parse_intermixed_args(argv)
    if args.former is not None:
        check_within("--out", args.out, [args.former])
        check_over("--out", args.out, [args.former])
    if any(k < 1 for k in args.ensembles):
        raise UserError("--ensembles takes numbers of runs, 1 or more")
    if args.slots < 1 or args.ranks < 1:
        raise UserError("--slots and --ranks take numbers, 1 or more")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    logs.set_up(args.log_format)
    local = args.slurm is None
    engine = Local(args.ranks, args.slots) if local else Slurm(args.ranks, args.slots, args.slurm)
    if args.search is not None:
        _search(args, engine)
        return 0
    jobs = plan_jobs(args)
    if args.then:
        plan_then(args, jobs)  # refused now, not after the first phase
    sweep(jobs, engine, args.out, args.keep_going)
    if args.then:
        jobs = plan_then(args, jobs)
        sweep(jobs, engine, args.out / "then", args.keep_going)
    if args.ensembles:
        submit_all(jobs, args.out, args.ensembles)
    return 0


def _search(args: argparse.Namespace, engine: Engine) -> None:
    if importlib.util.find_spec("optuna") is None:
        raise UserError("--search needs optuna: pip install -r requirements-search.txt")
    from asd.sweep.search import search

    search(args, engine)


def sweep(jobs: Sequence[Job], engine: Engine, out: Path, keep_going: bool) -> None:
    """Run what is not done yet, and write the table of all."""
    run_jobs([job for job in jobs if not job.done], engine, keep_going)
    table = summarise(jobs)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "report.md", markdown(table))
    write_whole(out / "report.json", json.dumps(as_tree(table), indent=1))
    open_console().print(console_table(table))
    log.info(f"{out / 'report.md'}, report.json")


def plan_jobs(args: argparse.Namespace) -> list[Job]:
    """Every run that the command asks for; all configs are validated before any starts."""
    former = None if args.former is None else runs_of(args.former)
    return [
        job_of(path, seed, part, args.overrides, args.out, former)
        for path in args.config
        for seed in args.seeds
        for part in (_parts(load_config(path, args.overrides)) if args.by_type else [None])
    ]


def plan_then(args: argparse.Namespace, jobs: Sequence[Job]) -> list[Job]:
    """The second phase of every run."""
    runs = {(job.name, job.seed, job.part): job.config.run.dir for job in jobs}
    length = ("train.epochs=", "train.steps=")
    has_length = any(word.startswith(length) for word in args.then)
    first = [word for word in args.overrides if not (has_length and word.startswith(length))]
    words, out = [*first, *args.then], args.out / "then"
    return [job_of(job.path, job.seed, job.part, words, out, lambda *key: runs[key]) for job in jobs]


def _parts(config: RunConfig) -> list[str]:
    everything = config.data.model_copy(update={"machine_types": ()})
    return sorted({c.machine_type for c in open_shards(everything).classes})


def runs_of(folder: Path) -> Former:
    """The finished runs of an earlier sweep, by config (any, where it had but one), seed and machine type."""

    def find(name: str, seed: int, part: str | None) -> str:
        configs = [folder / name] if (folder / name).is_dir() else sorted(p for p in folder.glob("*") if p.is_dir())
        digest = "[0-9a-f]" * 8  # a mere * would also find the runs of type fan_b for fan
        wanted = f"seed_{seed}_{glob.escape(part or 'all')}_{digest}*/{DONE_FILE}"
        found = [done.parent for config in configs for done in config.glob(wanted)]
        if len(found) != 1:
            kind = f"seed {seed}" + (f", {part}" if part else "")
            raise UserError(f"--from {folder} holds {len(found)} finished runs of {kind}, one is needed")
        return str(found[0])

    return find


def submit_all(jobs: Sequence[Job], out: Path, ensembles: Sequence[int]) -> None:
    """A submission for each number of runs, and one table of all of them."""
    reports = {
        f"submission_{number}": submit(jobs, out / f"submission_{number}", k) for number, k in enumerate(ensembles, 1)
    }
    table = {name: of_reports([report]) for name, report in reports.items()}
    write_whole(out / "submissions.md", markdown(table))
    open_console().print(console_table(table))
    log.info(str(out / "submissions.md"))


def submit(jobs: Sequence[Job], out: Path, k: int) -> Report:
    """The mean scores of the k best runs of each machine type, as a report and as score files; the report."""
    folders = {job.config.run.dir: evaluation_of(job, job.config.evaluate.select) for job in jobs}
    members = [open_member(folder, name) for name, folder in folders.items() if folder is not None]
    report = write_ensemble(members, out, "topk", k, jobs[0].config.evaluate.threshold)
    log.info(
        f"{out / 'report.md'}: the {k} best of {len(members)} runs for each machine type, chosen on the test clips"
    )
    return report
