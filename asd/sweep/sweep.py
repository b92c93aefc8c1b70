"""Runs of several configs, seeds or machine types, one after another or side by side, and one table of them.

python -m asd.sweep --config configs/tastgram_arcface.yaml configs/tastgram_arcmix.yaml --seeds 0 1 2 --out runs/s2
python -m asd.sweep --config configs/dcase2020_individual.yaml --by-type --slots 6 --out runs/individual
python -m asd.sweep --config configs/cpjku_ccsa.yaml --by-type --from runs/cpjku --out runs/cpjku_ccsa

Gaps under one point are noise in this field: the table gives mean ± standard deviation over seeds. A run that is
already done with the very same config is not done again.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from asd.config.build import open_shards
from asd.config.load import dump_yaml, load_config
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.evaluate.ensemble import open_member, write_ensemble
from asd.files.atomic import write_whole
from asd.files.paths import check_over, check_within, user_path
from asd.process import logs
from asd.report import Report
from asd.sweep.jobs import DONE_FILE, Job, run_jobs
from asd.sweep.numbers import as_tree, evaluation_of, of_reports, summarise
from asd.sweep.table import console_table, markdown
from asd.text.shell import write_word
from asd.text.terminal import open_console

log = logging.getLogger(__name__)

Former = Callable[[str, int, str | None], str]  # (config, seed, machine type) → the run to start from


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m asd.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=user_path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--by-type", action="store_true", help="one model per machine type, in one table")
    parser.add_argument("--ranks", type=int, default=1, help="ranks per run (default 1)")
    parser.add_argument("--slots", type=int, default=1, help="runs at once, spread over the visible GPUs (default 1)")
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
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="config values of every run")
    args = parser.parse_intermixed_args(argv)
    if args.former is not None:
        check_within("--out", args.out, [args.former])
        check_over("--out", args.out, [args.former])
    if any(k < 1 for k in args.ensembles):
        raise UserError("--ensembles takes numbers of runs, 1 or more")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    logs.set_up(args.log_format)
    jobs = plan_jobs(args)
    if args.then:
        plan_then(args, jobs)  # refused now, not after the first phase
    sweep(jobs, args, args.out)
    if args.then:
        jobs = plan_then(args, jobs)
        sweep(jobs, args, args.out / "then")
    if args.ensembles:
        submit_all(jobs, args.out, args.ensembles)
    return 0


def sweep(jobs: Sequence[Job], args: argparse.Namespace, out: Path) -> None:
    """Run what is not done yet, and write the table of all."""
    run_jobs([job for job in jobs if not job.done], args.ranks, args.slots, args.keep_going)
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
        _job(path, seed, part, args.overrides, args.out, former)
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
    return [_job(job.path, job.seed, job.part, words, out, lambda *key: runs[key]) for job in jobs]


def _job(path: Path, seed: int, part: str | None, overrides: Sequence[str], out: Path, former: Former | None) -> Job:
    words = [*overrides, f"train.seed={seed}", *([write_word("data.machine_types", [part])] if part else [])]
    words += [] if former is None else [f"init_from={former(path.stem, seed, part)}"]
    # A digest of the config, so that a changed one never goes on from another one's checkpoints.
    digest = hashlib.sha256(dump_yaml(load_config(path, words)).encode()).hexdigest()
    name = f"seed_{seed}_{part or 'all'}_{digest[:8]}"
    words.append(f"run.dir={out / path.stem / name}")
    config = load_config(path, words)
    if config.evaluate.by_watcher:
        raise UserError(f"{path}: a sweep waits for the scores of its runs: leave evaluate.by_watcher=true out")
    return Job(path.stem, seed, path, config, tuple(words), part)


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
