"""How fast the parts are, beside floors and peers: docs/performance.md.

python -m benchmarks.speed                        (make bench)
python -m benchmarks.speed --parts loader packing

Each part runs in a process of its own, measures all its contenders in the same rounds, and leaves its figures in
data/speed/<part>.json; the page is renewed from what lies there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from asd.errors import UserError, run_main
from asd.files.paths import user_path
from asd.text.markdown import markdown_table
from benchmarks.machine import described, machine
from benchmarks.sections import read_section, replace_section
from benchmarks.speed.part import GOALS_HEAD, save

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
PARTS = (
    "own_hour", "recipe", "packing", "start_up", "loader", "training", "asdkit", "evaluation", "million", "gpu",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="measurements of everything (default 3)")
    parser.add_argument("--work", type=user_path, default=Path("data/speed"), help="sets and figures")
    parser.add_argument("--page", type=user_path, default=PAGE, help="page whose generated parts are renewed")
    parser.add_argument("--asdkit", type=user_path, help="checkout of the code that asdkit and recipe compare with")
    parser.add_argument("--asdkit-python", type=user_path, help="Python with what it needs (default: this one)")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise UserError("--rounds must be at least 1")
    failed: list[str] = []
    if len(args.parts) == 1:
        measure(args.parts[0], args)
    else:
        words = sys.argv[1:] if argv is None else list(argv)
        failed = [name for name in args.parts if not _in_a_process(name, words)]
    renew(args.page, args.work)
    print(args.page)
    if failed:
        raise UserError(f"{', '.join(failed)} failed, see above; the page keeps their former figures")


def measure(name: str, args: argparse.Namespace) -> None:
    """Run one part and keep what it found."""
    if name != "gpu":  # all others measure the processor, also where there is a card
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    module = importlib.import_module(f"benchmarks.speed.{name}")
    found = module.run(args)
    if found is not None:
        save(found, args.work / f"{name}.json", machine())


def renew(page: Path, work: Path) -> None:
    """Replace the sections and the goals of the parts that have figures in work; all others stay as they are."""
    rows = [line for line in read_section(page, "goals").splitlines() if line.startswith("|")][2:]  # below the head
    goals = {name: [row for row in rows if row.startswith(f"| {name} |")] for name in PARTS}
    for path in sorted(work.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        replace_section(page, path.stem, f"*{described(found['machine'])}*\n\n{found['markdown']}")
        goals[path.stem] = [f"| {' | '.join([path.stem, *cells])} |" for cells in found["goals"]]
    table = [markdown_table(GOALS_HEAD, []), *(row for name in PARTS for row in goals[name])]
    replace_section(page, "goals", "\n".join(table))


def _in_a_process(name: str, words: list[str]) -> bool:
    """Whether the part ended well. The last --parts counts, so the words of this call may stay as they are."""
    print(f"== {name}", flush=True)
    done = subprocess.run([sys.executable, "-m", "benchmarks.speed", *words, "--parts", name], check=False)
    return done.returncode == 0


if __name__ == "__main__":
    run_main(main)
