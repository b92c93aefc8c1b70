"""The health check of a container: whether a run makes progress, by its status.json.

python -m asd.monitor.health runs/dcase2020_integrated --max-age 600

The folder may also hold runs (or folders of runs): the one that wrote last counts. Exit code 0: alive; 1: failed,
stalled, or no progress for --max-age seconds, whether the process is gone or stalled. A batch of an
evaluation is progress as well; what its end takes (gathering, writing) is to be shorter than --max-age.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main
from asd.files.paths import user_path
from asd.monitor.status import FILE, Status, read_status


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    newest = newest_status(args.folder)
    if newest is None:
        print(f"no run has started in {args.folder}")
        return 1
    status = read_status(newest)
    age = max(0.0, time.time() - status.progressed_unix)
    print(f"{newest.parent}: {describe(status)}, {age:.0f} s ago")
    return 0 if is_alive(status, age, args.max_age) else 1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=user_path, help="of a run, or of runs")
    parser.add_argument("--max-age", type=float, default=600.0, metavar="S", help="seconds (default: 600)")
    return parser.parse_args(argv)


def newest_status(folder: Path) -> Path | None:
    """status.json of the run that wrote last, in the folder itself or up to two folders below."""
    found = [path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + FILE)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def is_alive(status: Status, age: float, max_age: float) -> bool:
    """age: seconds since the run last made progress."""
    stalled = any(alert.name == "stalled" for alert in status.alerts)
    return status.state != "failed" and not stalled and age <= max_age


def describe(status: Status) -> str:
    """training, step 40 of 1000, loss 1.2500"""
    steps = f"step {status.step}" + ("" if status.total_steps is None else f" of {status.total_steps}")
    loss = [] if status.loss is None else [f"loss {status.loss:.4f}"]
    why = [] if status.why is None else [f"({status.why})"]
    alerts = [f"alert {alert.name}: {alert.text}" for alert in status.alerts]
    return ", ".join([" ".join([status.state, *why]), steps, *loss, *alerts])


if __name__ == "__main__":
    run_main(main)
