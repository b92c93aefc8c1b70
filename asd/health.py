"""Is a run alive? What a container's health check asks: how old is the newest line of metrics.jsonl.

python -m asd.health runs/dcase2020_integrated --max-age 600

The folder may also hold runs (or folders of runs): the one that wrote last counts. Exit code 0: alive; 1: not.
A line comes every train.log_every steps, none during an evaluation: --max-age is to be longer than either.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from asd.errors import run_main
from asd.run_folder import RunFolder

TAIL = 1 << 16  # bytes: more than a line


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    newest = newest_metrics(args.folder)
    if newest is None:
        print(f"no run has begun in {args.folder}")
        return 1
    age = max(0.0, time.time() - newest.stat().st_mtime)
    print(f"{newest.parent}: {last_line(newest)}, {age:.0f} s ago")
    return int(age > args.max_age)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a run, or of runs")
    parser.add_argument("--max-age", type=float, default=600.0, metavar="S", help="seconds (default: 600)")
    return parser.parse_args(argv)


def newest_metrics(folder: Path) -> Path | None:
    """metrics.jsonl of the run that wrote last, in the folder itself or up to two folders below."""
    name = RunFolder(folder).metrics.name
    found = [path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + name)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def last_line(metrics: Path) -> str:
    """Step and loss of the last whole line."""
    with metrics.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().splitlines(keepends=True)
    records = [json.loads(line) for line in lines[-2:] if line.startswith(b"{") and line.endswith(b"\n")]
    if not records:
        return "no step yet"
    loss = records[-1].get("loss", records[-1].get("validation/loss"))
    return f"step {records[-1]['step']}" + ("" if loss is None else f", loss {loss:.4f}")


if __name__ == "__main__":
    run_main(main)
