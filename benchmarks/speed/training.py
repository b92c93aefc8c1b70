"""Training steps on the CPU: clips/s by setting, shares of a step, two ranks against one, the trainer's own loop."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from asd.distributed import _avoid_amx, _keep_freed_memory
from benchmarks.speed.measure import Rounds, interleaved, median, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.step_costs import FLAVOURS, costs, optimiser_ms
from benchmarks.speed.steps import PARTS, Session, Setting, make_set, sessions

CONSOLE = Console()
FP32 = "fp32"  # the setting that all others are compared with: eager, channels_last, with the loader


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a test takes less."""

    configs: Mapping[str, Setting]
    steps: int = 3  # of one measurement; what takes less than STEP_S takes more of them
    clips: int = 4  # of each of 41 classes
    clip_s: float = 10.0
    compiled: bool = True
    ranked: tuple[str, ...] = ("dcase2020_integrated", "tastgram_noisy_arcmix_paper")
    overhead_steps: int = 200


ALL_TYPES = ("data.machine_types=[]",)  # of a config for one machine type at a time
SIZES = Sizes(
    {
        "dcase2020_integrated": Setting("dcase2020_integrated", 8),
        "tastgram_noisy_arcmix_paper": Setting("tastgram_noisy_arcmix_paper", 16),
        "mobilenet_v2": Setting("mobilenet_v2", 32, words=ALL_TYPES),
    }
)


def run(args: argparse.Namespace) -> Part:
    """Everything; a few minutes."""
    return measure(args, SIZES)


def measure(args: argparse.Namespace, sizes: Sizes) -> Part:
    """The same for other sizes."""
    _avoid_amx()  # counts until the first convolution of the process, whichever session takes it
    _keep_freed_memory()
    shards = make_set(args.work, sizes.clips, sizes.clip_s)
    speeds, shares, optimisers, goals = [], [], [], []
    for name, base in sizes.configs.items():
        found = _measure_config(name, base, shards, args.rounds, sizes)
        speeds += found.speed_rows(name)
        shares += found.share_rows(name)
        optimisers.append(found.optimiser_row(name))
        goals += found.goals(name)
    ranks, rank_goals = _measure_ranks(args, sizes, shards)
    cores = len(os.sched_getaffinity(0))
    tables = [
        Table(
            f"Training steps of real configs and clips of {sizes.clip_s:g} s by the real trainer, one process, {cores} "
            "cores; each setting as clips/s and beside eager fp32 with channels_last and the loader",
            ["config and batch", "setting", "clips/s", "×"],
            speeds,
        ),
        Table(
            "Where the time of a step goes (medians of the rounds; features are waveform to spectrogram), how many "
            "operators a step calls, and the three that cost most by torch.profiler",
            ["config", "precision", *PARTS, "operators", "largest"],
            shares,
        ),
        Table("An Adam step over all parameters by implementation, ms", ["config", *FLAVOURS], optimisers),
        ranks,
    ]
    return Part(tables, [*goals, *rank_goals])


@dataclass(frozen=True)
class Found:
    """What was measured of one config."""

    base: Setting
    speeds: dict[str, Rounds]  # clips/s of each setting
    waits: Rounds  # of the first setting: share of the time
    shares: dict[str, tuple[list[str], str, str]]  # by precision: cells of the parts, operators, largest
    optimiser: dict[str, float]
    parameters: int

    def speed_rows(self, name: str) -> list[list[str]]:
        first = f"{name}, {self.base.batch}"
        return [
            [first if setting == FP32 else "", setting, spread(found, 1), spread(ratios(found, self.speeds[FP32]), 2)]
            for setting, found in self.speeds.items()
        ]

    def share_rows(self, name: str) -> list[list[str]]:
        return [
            [name, precision, *cells, operators, largest]
            for precision, (cells, operators, largest) in self.shares.items()
        ]

    def optimiser_row(self, name: str) -> list[str]:
        return [name, *(f"{self.optimiser[flavour]:.1f}" for flavour in FLAVOURS)]

    def goals(self, name: str) -> list[Goal]:
        with_loader = ratios(self.speeds[FP32], self.speeds["first batch reused"])
        return [
            Goal(f"{name}: with the loader / first batch reused", with_loader, 0.97),
            Goal(f"{name}: data wait, of a step", [100 * wait for wait in self.waits], 2, False, "%"),
        ]


def _measure_config(name: str, base: Setting, shards: Path, rounds: int, sizes: Sizes) -> Found:
    settings = {
        FP32: base,
        "first batch reused": base.with_(reuse=True),
        "without channels_last": base.with_(channels_last=False),
        "bf16": base.with_(precision="bf16"),
    }
    if sizes.compiled:
        settings |= {
            "fp32, compiled": base.with_(compile=True),
            "bf16, compiled": base.with_(precision="bf16", compile=True),
        }
    CONSOLE.print(f"{name}: opening {len(settings)} settings" + (", compiling two" if sizes.compiled else ""))
    with sessions(list(settings.values()), shards) as opened:
        by_setting = dict(zip(settings, opened, strict=True))
        contenders = {setting: _told(name, setting, session, sizes.steps) for setting, session in by_setting.items()}
        speeds = interleaved(contenders, rounds)
        shares = {}
        for precision in ("fp32", "bf16"):
            session = by_setting[precision]
            step = costs(session)
            shares[precision] = (share_cells(session), f"{step.operators:,}", step.words())
        parameters = by_setting[FP32].parameters
        return Found(
            base, speeds, by_setting[FP32].waits, shares, optimiser_ms(parameters), sum(p.numel() for p in parameters)
        )


def _told(name: str, setting: str, session: Session, steps: int) -> Callable[[], float]:
    def measure() -> float:
        found = session.clips_per_s(steps)
        CONSOLE.print(f"  {name}, {setting}: {found:.1f} clips/s")
        return found

    return measure


def share_cells(session: Session) -> list[str]:
    """The median share of every part of a step."""
    return [f"{100 * median([shares[part] for shares in session.shares]):.1f} %" for part in PARTS]


# One rank with all cores, two ranks that divide them


def _measure_ranks(args: argparse.Namespace, sizes: Sizes, shards: Path) -> tuple[Table, list[Goal]]:
    rows, goals = [], []
    for name in sizes.ranked:
        setting = sizes.configs[name]
        reduces: Rounds = []
        batch = max(16, setting.batch)  # two ranks with a whole mixing group of eight each

        def one(ranks: int, name: str = name, batch: int = batch, reduces: Rounds = reduces) -> float:
            words = ["--config", name, "--batch", str(batch), "--steps", str(sizes.steps)]
            found = worker(args.work, shards, ranks, words)
            CONSOLE.print(f"  {name}, {ranks} rank(s): {found['clips_per_s']:.1f} clips/s")
            if ranks > 1:
                reduces.append(found["all_reduce_ms"])
            return found["clips_per_s"]

        found = interleaved({"one": partial(one, 1), "two": partial(one, 2)}, args.rounds)
        ratio = ratios(found["two"], found["one"])
        rows.append([f"{name}, {batch}", spread(found["one"], 1), spread(found["two"], 1), spread(ratio, 2)])
        shares = [reduce_ms * speed / (10 * batch) for reduce_ms, speed in zip(reduces, found["two"], strict=True)]
        rows[-1] += [spread(reduces, 1), f"{spread(shares, 1)} %"]
        goals.append(Goal(f"{name}: two ranks / one rank with all cores", ratio, 0.9))
    added = [_added_ms(args.work, shards, sizes.overhead_steps) for _ in range(args.rounds)]
    goals.append(Goal("loop overhead over bare DDP, a tiny network, two gloo ranks, a step", added, 0.2, False, "ms"))
    head = ["config and global batch", "one rank, clips/s", "two ranks, clips/s", "×", "all-reduce, ms", "of a step"]
    title = "One rank with all cores, and two ranks (gloo) that divide them, fp32; all-reduce: of all gradients, alone"
    return Table(title, head, rows), goals


def _added_ms(work: Path, shards: Path, steps: int) -> float:
    found = worker(work, shards, 2, ["--overhead", "--steps", str(steps), "--config", "dcase2020_integrated"])
    CONSOLE.print(f"  a tiny network's step: {found['trainer_ms']:.3f} ms, in a bare loop {found['bare_ms']:.3f} ms")
    return found["trainer_ms"] - found["bare_ms"]


def worker(work: Path, shards: Path, ranks: int, words: Sequence[str]) -> dict[str, float]:
    """What a job of so many ranks found."""
    out = work / f"step_worker_{time.monotonic_ns()}.json"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    module = ["-m", "benchmarks.speed.step_worker", "--shards", str(shards), "--out", str(out), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // ranks))}
    subprocess.run([*start, *module], check=True, env=environment)
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return found
