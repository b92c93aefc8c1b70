"""Breaks a small run in every way, and looks whether it goes on as if nothing had been: docs/reliability.md.

python -m benchmarks.soak                             (make soak; an hour)
python -m benchmarks.soak --rounds 3 --faults power_cut

Two ranks train on the CPU under docker/entrypoint.sh. A round breaks one run once, at a moment that the dice choose:
then no complete checkpoint and no report may be missing, losses must be those of an unbroken run, exit code and message
those that the fault asks for, and no process may be left. A round that fails is shown with what was seen, its folder
stays, and the soak goes on; the exit code tells. Figures are left in data/soak/<fault>.json, and the page is renewed
from what lies there.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asd.errors import UserError, run_main
from asd.files.paths import user_path
from benchmarks.machine import machine
from benchmarks.soak import damage, remote, stops, storage
from benchmarks.soak.job import RoundError
from benchmarks.soak.outcome import Figures, Outcome, renew, save
from benchmarks.soak.place import Place
from benchmarks.soak.round import Round, SkippedError
from shards.workers import clean_up_on_signals

FAULTS: dict[str, Callable[[Round], None]] = {  # in the order of the page
    fault.__name__: fault for module in (stops, storage, damage, remote) for fault in module.FAULTS
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Figures] = {
        name: Figures(name, FAULTS[name].__doc__ or name, [], machine()) for name in args.faults
    }
    place = Place(args.work)
    with clean_up_on_signals():  # no run of it is left
        for name, seed in _rounds(args):
            outcome = one_round(place, name, seed)
            seen = "skipped: " if outcome.skipped else "FAILED: " if outcome.problem else "recovered"
            print(f"{name}: {seen}{outcome.problem or ''}", file=sys.stderr, flush=True)
            found[name].rounds.append(outcome)
            save(found[name], args.work)
            renew(args.page, args.work, list(FAULTS))
    print(args.page)
    return int(any(not outcome.recovered for figures in found.values() for outcome in figures.counted))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin rounds for so long (default 60)")
    parser.add_argument("--rounds", type=int, help="so many rounds, of one fault each, instead")
    parser.add_argument(
        "--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT", help=", ".join(FAULTS)
    )
    parser.add_argument("--seed", type=int, default=0, help="of the dice (default 0)")
    parser.add_argument("--work", type=user_path, default=Path("data/soak"), help="sets, runs, figures")
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated part is renewed")
    args = parser.parse_args(argv)
    if args.minutes <= 0 or (args.rounds is not None and args.rounds < 1):
        raise UserError("--minutes and --rounds must be above 0")
    return args


def _rounds(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """(fault, seed) of the rounds to do, all faults in turn."""
    begin = time.monotonic()
    for number, name in enumerate(itertools.cycle(args.faults)):
        minutes = (time.monotonic() - begin) / 60
        if number >= args.rounds if args.rounds else minutes >= args.minutes:
            return
        print(f"round {number + 1}, minute {minutes:.0f}: {name}", file=sys.stderr, flush=True)
        yield name, args.seed + number


def one_round(place: Place, name: str, seed: int) -> Outcome:
    """Break one run; its folder stays where a check failed."""
    begin, problem, skipped = time.monotonic(), None, False
    round = Round(place, place.work / "rounds" / f"{name}_{seed}", random.Random(f"{name} {seed}"))
    try:
        FAULTS[name](round)
        round.check()
    except SkippedError as error:
        problem, skipped = str(error), True
    except RoundError as error:
        problem = f"{error} ({round.folder.name})"
    finally:
        round.close()
    if problem is None or skipped:
        shutil.rmtree(round.folder)
    seconds = time.monotonic() - begin
    return Outcome(seed, problem, skipped, round.lost_steps, round.again_s, round.codes, round.said, seconds)


if __name__ == "__main__":
    run_main(main)
