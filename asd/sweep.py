"""Several runs, one table: configs × seeds, and where asked one model per machine type instead of one for all.

python -m asd.sweep --config configs/a.yaml configs/b.yaml --seeds 0 1 2 --ranks 2 --out runs/sweep train.epochs=30
python -m asd.sweep --config configs/dcase2020_integrated.yaml --by-type --slots 6 --out runs/individual

Gaps under one point are noise in this field: the table gives mean ± standard deviation over seeds. A run that is
already done with the very same config is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from asd.config import RunConfig, dump_yaml, load_config
from asd.errors import UserError, run_main
from asd.evaluator import Selection, best_step
from asd.report import percent
from asd.run_folder import RunFolder
from asd.scoring import read_report
from asd.system import open_shards

ENTRY = Path(__file__).resolve().parents[1] / "train_ddp.py"
DONE_FILE = "DONE"
TypeNumbers = dict[str, dict[str, float | None]]  # machine type → auc_mean, pauc_mean …


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    name: str  # of the config
    seed: int
    path: Path
    config: RunConfig
    words: tuple[str, ...]  # overrides that make the config

    @property
    def done(self) -> bool:
        return (Path(self.config.run.dir) / DONE_FILE).is_file()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--by-type", action="store_true", help="one model per machine type, told in one table")
    parser.add_argument("--ranks", type=int, default=1, help="ranks of one run (default 1)")
    parser.add_argument("--slots", type=int, default=1, help="runs at once, spread over the visible GPUs (default 1)")
    parser.add_argument("--out", type=Path, required=True)
    args, words = parser.parse_known_args(argv)
    args.overrides = words
    for word in words:
        if "=" not in word or word.startswith("-"):
            raise UserError(f"{word!r} is neither an option of this command nor of the form key=value")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    jobs = plan_jobs(args)
    run_jobs([job for job in jobs if not job.done], args.ranks, args.slots)
    table = summarise(jobs)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(json.dumps(table, indent=1))
    (args.out / "report.md").write_text(markdown(table))
    Console().print(console_table(table))
    print(f"{args.out / 'report.md'}, report.json")
    return 0


def plan_jobs(args: argparse.Namespace) -> list[Job]:
    """Every run that the command asks for; all configs are validated before any starts."""
    jobs = []
    for path in args.config:
        for seed in args.seeds:
            whole = load_config(path, [*args.overrides, f"train.seed={seed}"])
            for part in _parts(whole) if args.by_type else [None]:
                words = [*args.overrides, f"train.seed={seed}", *([f"data.machine_types=[{part}]"] if part else [])]
                words.append(f"run.dir={args.out / path.stem / _folder_name(load_config(path, words), seed, part)}")
                jobs.append(Job(path.stem, seed, path, load_config(path, words), tuple(words)))
    return jobs


def _folder_name(config: RunConfig, seed: int, part: str | None) -> str:
    """Names the config by a digest, so that a changed config never goes on from another one's checkpoints."""
    digest = hashlib.sha256(dump_yaml(config).encode()).hexdigest()
    return f"seed_{seed}_{part or 'all'}_{digest[:8]}"


def _parts(config: RunConfig) -> list[str]:
    return sorted({c.machine_type for c in open_shards(config.data).classes})


def run_jobs(jobs: Sequence[Job], ranks: int, slots: int) -> None:
    """Run jobs, `slots` of them at once, each on GPUs of its own; the first failure ends the sweep."""
    devices: SimpleQueue[str | None] = SimpleQueue()
    for slot in range(slots):
        devices.put(_devices_of(slot, ranks, slots))
    with ThreadPoolExecutor(slots) as pool:
        for job, code in zip(jobs, pool.map(lambda job: _run(job, ranks, devices), jobs), strict=True):
            if code:
                pool.shutdown(cancel_futures=True)
                raise UserError(f"{job.config.run.dir} failed with exit code {code}: see what it printed above")


def _devices_of(slot: int, ranks: int, slots: int) -> str | None:
    """CUDA_VISIBLE_DEVICES of a slot; None where one slot takes all that is visible, or there is no GPU."""
    count = torch.cuda.device_count()
    if slots == 1 or count == 0:
        return None
    if count < slots * ranks:
        raise UserError(f"{slots} slots of {ranks} ranks need {slots * ranks} GPUs, {count} are visible: lower --slots")
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return ",".join(named.split(",")[slot * ranks : (slot + 1) * ranks])


def _run(job: Job, ranks: int, devices: SimpleQueue[str | None]) -> int:
    device = devices.get()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [*(launcher if ranks > 1 else [sys.executable]), str(ENTRY), "--config", str(job.path), *job.words]
    env = dict(os.environ) | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})
    print(f"=== {job.config.run.dir}", flush=True)
    try:
        code = subprocess.run(command, env=env | {"OMP_NUM_THREADS": "1"}, check=False).returncode
    finally:
        devices.put(device)
    if code == 0 and _report_of(job, job.config.evaluate.select) is not None:
        (Path(job.config.run.dir) / DONE_FILE).touch()
    return code


def _report_of(job: Job, rule: Selection) -> dict[str, Any] | None:
    folder = RunFolder(Path(job.config.run.dir))
    best = best_step(folder, rule)
    return None if best is None else read_report(folder.evaluation(best))


def summarise(jobs: Sequence[Job]) -> dict[str, Any]:
    """config → scorer → {auc, auc_sd, pauc, pauc_sd, auc_oracle …, seeds, types}: means over types, then over seeds.

    Checkpoints are chosen by each run's own rule; the numbers called oracle are those of the choice on the test clips.
    """
    table: dict[str, Any] = {}
    for name in dict.fromkeys(job.name for job in jobs):
        own = [job for job in jobs if job.name == name]
        seeds = [[j for j in own if j.seed == seed] for seed in dict.fromkeys(j.seed for j in own)]
        chosen, oracle = ([_merge(jobs, rule) for jobs in seeds] for rule in (own[0].config.evaluate.select, "oracle"))
        table[name] = {
            scorer: _spread([types[scorer] for types in chosen]) | _oracle([types[scorer] for types in oracle])
            for scorer in chosen[0]
        }
    return table


def _oracle(by_seed: Sequence[TypeNumbers]) -> dict[str, float | None]:
    found = _spread(by_seed)
    return {f"{key}_oracle{sd}": found[f"{key}{sd}"] for key in ("auc", "pauc") for sd in ("", "_sd")}


def _merge(jobs: Sequence[Job], rule: Selection) -> dict[str, TypeNumbers]:
    """scorer → machine type → numbers, over the runs of one seed."""
    merged: dict[str, TypeNumbers] = {}
    for job in jobs:
        report = _report_of(job, rule)
        if report is None:
            raise UserError(f"{job.config.run.dir} holds no scored checkpoint: remove the folder and run again")
        for scorer, numbers in report["scorers"].items():
            merged.setdefault(scorer, {}).update(numbers["types"])
    return merged


def _spread(by_seed: Sequence[TypeNumbers]) -> dict[str, Any]:
    numbers: dict[str, Any] = {"seeds": len(by_seed)}
    for key in ("auc", "pauc"):
        means = [_mean(types, f"{key}_mean") for types in by_seed]
        known = [m for m in means if m is not None]
        numbers[key] = statistics.fmean(known) if known else None
        numbers[f"{key}_sd"] = statistics.stdev(known) if len(known) > 1 else None
    numbers["types"] = {t: _mean({str(i): s[t] for i, s in enumerate(by_seed)}, "auc_mean") for t in by_seed[0]}
    return numbers


def _mean(types: TypeNumbers, key: str) -> float | None:
    known = [v for numbers in types.values() if (v := numbers[key]) is not None]
    return statistics.fmean(known) if known else None


def _rows(table: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    types = list(next(iter(next(iter(table.values())).values()))["types"])
    head = ["config", "scorer", "seeds", "AUC", "pAUC", "AUC, oracle", *types]
    rows = [
        [
            name,
            scorer,
            str(n["seeds"]),
            *(_pair(n, key) for key in ("auc", "pauc", "auc_oracle")),
            *(percent(n["types"].get(t)) for t in types),
        ]
        for name, scorers in table.items()
        for scorer, n in scorers.items()
    ]
    return head, rows


def _pair(numbers: dict[str, Any], key: str) -> str:
    spread = numbers[f"{key}_sd"]
    return percent(numbers[key]) + ("" if spread is None else f" ± {percent(spread)}")


def markdown(table: dict[str, Any]) -> str:
    """The table as Markdown."""
    head, rows = _rows(table)
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    note = (
        "AUC and pAUC (FPR up to 0.1) in percent: per machine ID, mean over IDs, then types; ± over seeds. "
        "Oracle: the checkpoint was chosen on the test clips."
    )
    return "\n".join([*lines, "", note, ""])


def console_table(table: dict[str, Any]) -> Table:
    """The same for the terminal, without the machine types."""
    head, rows = _rows(table)
    shown = Table(*head[:6], title="AUC and pAUC in percent; oracle: the checkpoint was chosen on the test clips")
    for row in rows:
        shown.add_row(*row[:6])
    return shown


if __name__ == "__main__":
    run_main(main)
