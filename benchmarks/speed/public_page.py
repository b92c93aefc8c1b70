"""What part public_code tells: speeds, start-up, memory, and that both sides train the same network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from asd.errors import UserError
from benchmarks.speed.measure import Rounds, median, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.public_runs import Run, Setting

PUBLIC, START, COMPILED = "public code", "ours, start on many clips", "compiled"
FP32, BEST = "ours, fp32", f"ours, bf16, {COMPILED}"
LOSS_TOLERANCE = 1e-4  # relative, between two orders of float32 additions

Runs = Mapping[str, Sequence[Run]]


def report(runs: Runs, setting: Setting, many: int, losses: tuple[float, float]) -> Part:
    """Tables, goals and figures of all rounds; UserError where the two sides turn out to train different things."""
    refuse_different(runs, losses)
    clips = runs[PUBLIC][0].details["clips"]
    reckoned = [start_of_many(run, many) for run in runs[PUBLIC]]
    speeds = {name: _all(found, lambda run: run.clips_per_s) for name, found in runs.items() if name != START}
    best = max((name for name in speeds if name != PUBLIC), key=lambda name: median(speeds[name]))
    return Part(
        tables=[_speed_table(runs, speeds, setting, clips), _start_table(runs, reckoned, many, clips)],
        goals=_goals(speeds, best, reckoned, runs[START], setting, many),
        remarks=_remarks(runs, losses),
        figures={
            "public.clips_per_s": median(speeds[PUBLIC]),
            "public.ours_fp32_clips_per_s": median(speeds[FP32]),
            "public.ours_best_clips_per_s": median(speeds[best]),
            "public.start_up_s_per_clip": median(_all(runs[PUBLIC], decode_s)),
        },
    )


def refuse_different(runs: Runs, losses: tuple[float, float]) -> None:
    """The comparison is worth nothing where the networks differ."""
    parameters = {run.parameters for found in runs.values() for run in found}
    if len(parameters) > 1:
        raise UserError(f"the two sides train networks of {sorted(parameters)} parameters: compare the same config")
    if not math.isclose(*losses, rel_tol=LOSS_TOLERANCE):
        raise UserError(f"with equal weights and clips the losses differ: public {losses[0]}, ours {losses[1]}")


def decode_s(run: Run) -> float:
    """Seconds a clip that the public code takes to decode its set before it trains."""
    return run.details["decode_s"] / run.details["clips"]


def decoded_gib(run: Run) -> float:
    """Memory that it keeps of a clip."""
    return run.details["decoded_bytes"] / run.details["clips"] / 2**30


def start_of_many(run: Run, many: int) -> float:
    """Seconds to the first step that its cost per clip makes of a larger set."""
    return run.start_s + decode_s(run) * (many - run.details["clips"])


def _all(found: Sequence[Run], what: Callable[[Run], float]) -> Rounds:
    return [what(run) for run in found]


def _speed_table(runs: Runs, speeds: Mapping[str, Rounds], setting: Setting, clips: int) -> Table:
    where = "the card" if setting.device == "cuda" else f"{setting.threads} threads"
    return Table(
        f"Training on {clips} clips of 10 s, batch {setting.batch}, {where}: clips/s of the training loop with its "
        "loading, and the most memory that the process held.",
        ["", "clips/s", "× public code", "peak memory, GiB"],
        [
            [
                name,
                spread(speeds[name], 2),
                spread(ratios(speeds[name], speeds[PUBLIC]), 2),
                spread(_all(runs[name], lambda run: run.peak_gib), 2),
            ]
            for name in speeds
        ],
    )


def _start_table(runs: Runs, reckoned: Rounds, many: int, clips: int) -> Table:
    public, start = runs[PUBLIC], runs[START]
    kept = [run.peak_gib + decoded_gib(run) * (many - clips) for run in public]
    return Table(
        f"From the start of the process to the first step, imports included. The public code decodes every clip first: "
        f"its {many:,} clips are reckoned from what it took for {clips}; ours were measured.",
        ["", f"{clips} clips, s", f"{many:,} clips, s", f"memory at {many:,} clips, GiB"],
        [
            [PUBLIC, spread(_all(public, lambda run: run.start_s), 1), spread(reckoned, 0), spread(kept, 1)],
            [
                "ours",
                spread(_all(runs[FP32], lambda run: run.start_s), 1),
                spread(_all(start, lambda run: run.start_s), 1),
                spread(_all(start, lambda run: run.peak_gib), 2),
            ],
        ],
    )


def _goals(
    speeds: Mapping[str, Rounds], best: str, reckoned: Rounds, start: Sequence[Run], setting: Setting, many: int
) -> list[Goal]:
    found = [
        Goal(
            f"start-up at {many:,} clips, public code over ours",
            ratios(reckoned, _all(start, lambda run: run.start_s)),
            50.0,
        )
    ]
    if setting.device == "cuda":
        same = max((n for n in speeds if n != PUBLIC and "batch" not in n), key=lambda name: median(speeds[name]))
        wanted = {f"{same}, batch {setting.batch}": (same, 5.0), f"{best}, the best": (best, 10.0)}
    else:
        wanted = {FP32: (FP32, 1.2), f"{best}, the best": (best, 2.0)}
    for what, (name, goal) in wanted.items():
        found.append(Goal(f"{what}, over the public code", ratios(speeds[name], speeds[PUBLIC]), goal))
    return found


def _remarks(runs: Runs, losses: tuple[float, float]) -> list[str]:
    details = runs[PUBLIC][0].details
    apart = median(_all(runs[PUBLIC], decode_s)) * 1000
    return [
        f"The same network: {runs[PUBLIC][0].parameters:,} parameters on both sides (the public one has a layer of "
        f"{details['unused_parameters']:,} more that nothing uses); with its weights in ours, the loss of the same "
        f"unmixed clips is {losses[0]:.6f} there and {losses[1]:.6f} here. Both mix by Noisy-ArcMix.",
        f"The public code reads by soundfile here ({apart:.1f} ms a clip with its spectrogram), which favours it: its "
        "own `torchaudio.load` needs torchcodec. Its loader trains on spectrograms that it made before; ours makes "
        "them anew in every step, of a crop drawn anew. Its loop shows progress bars and reads each loss.",
    ]
