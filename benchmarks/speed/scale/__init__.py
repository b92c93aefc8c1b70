"""What 8, 64 and 1,024 GPUs need, worked out from measured costs: reading, storage, gradients, and what is left over.

Other parts' figures are read from args.work; what was not measured there is a named estimate. Measured here: summing
gradients over two gloo ranks, and the plan of an epoch of a million clips.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks.speed.measure import Rounds, median
from benchmarks.speed.part import Goal, Part
from benchmarks.speed.scale import tables
from benchmarks.speed.scale.inputs import FAST_NET, GPU_HOURS_PER_FAILURE, NVLINK, Figures, networks
from benchmarks.speed.scale.measured import gloo_s, plan_s
from benchmarks.speed.scale.model import Job, Network, efficiency, save_every_s

MANY = 1_000_000

console = Console()


def run(args: argparse.Namespace) -> Part:
    """The page's tables."""
    figures = Figures.of(args.work)
    console.print("counting parameters")
    found = networks(figures)
    console.print("summing gradients over two gloo ranks")
    gloo = gloo_s([network.gradient_bytes for network in found], args.rounds)
    console.print(f"planning epochs of {MANY:,} clips")
    return report(found, figures, gloo, plan_s(MANY, args.rounds))


def report(found: Sequence[Network], figures: Figures, gloo: Sequence[Rounds], plan: Rounds) -> Part:
    """Tables and goal of measured seconds: gloo of each network in every round, plan in every round."""
    remarks = [headroom(found, figures), failures()]
    largest = max(range(len(found)), key=lambda i: found[i].parameters)
    gb_per_s = found[largest].gradient_bytes / median(gloo[largest]) / 1e9
    made = [
        tables.reading(found, figures),
        tables.storing(found),
        tables.holding(),
        tables.exchanging(found, gloo),
        tables.batches(),
        tables.epochs(found[largest], figures, plan, gb_per_s),
        tables.starting(figures),
        tables.inputs(figures),
    ]
    worst = min(found, key=lambda network: efficiency(network, Job(8), NVLINK, FAST_NET))
    return Part(
        tables=made,
        goals=[
            Goal(
                f"8 GPUs over 8 × one, on paper: {worst.name}, which talks most",
                [efficiency(worst, Job(8), NVLINK, FAST_NET)],
                0.95,
                unit="",
            )
        ],
        remarks=remarks,
        figures={"scale.plan_1000000_s": median(plan), "scale.gloo_gb_per_s": gb_per_s},
    )


def headroom(found: Sequence[Network], figures: Figures) -> str:
    """What one rank's loader delivers over what its GPU takes."""
    delivered, fastest = figures.cost("loader.clips_per_s"), max(network.clips_per_s for network in found)
    return (
        f"The loader of one rank (two threads) delivers {delivered:,.0f} clips/s from the page cache, "
        f"{delivered / fastest:.1f} times what the fastest network here takes."
    )


def failures() -> str:
    """How often to save, by the number of GPUs."""
    rows = []
    for gpus in (8, 64, 1024):
        hours = GPU_HOURS_PER_FAILURE / gpus
        rows.append(f"{gpus:,} GPUs {hours:,.0f} h ({save_every_s(1.0, gpus, GPU_HOURS_PER_FAILURE) / 60:.0f} min)")
    return (
        f"With one failure in {GPU_HOURS_PER_FAILURE:,.0f} GPU hours (Llama 3's report) a job stops every: "
        f"{', '.join(rows)}; in brackets the time between saves of 1 s that loses least."
    )
