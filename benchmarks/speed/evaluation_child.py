"""The scoring process of an evaluation, stage by stage.

python -m benchmarks.speed.evaluation_child FOLDER TENSORBOARD STARTED

does what `python -m asd.scoring FOLDER TENSORBOARD` does, and prints where its seconds went as json. STARTED: the
monotonic clock when the process was started.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asd.errors import UserError

# Functions of asd.scoring, and the stage that their time counts to; none of them calls another one.
STAGES = {
    "open_embedded": "read the set and the embeddings",
    "score_clips": "fit and score",
    "spectrum_accuracy": "diagnosis",
    "decide_clips": "thresholds and decisions",
    "build_report": "AUC, pAUC and their means",
    "_save": "figures",
    "_show": "TensorBoard",
    "save_report": "score files and report",
}
IMPORTS, REST = "start and imports", "rest"


def scored(folder: Path, tensorboard: Path) -> dict[str, float]:
    """Seconds of every stage of a scoring process, `total` of them all, and its peak memory `peak_mib`."""
    words = [sys.executable, "-m", "benchmarks.speed.evaluation_child", str(folder), str(tensorboard)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # as asd.evaluator starts it
    begin = time.monotonic()
    done = subprocess.run([*words, str(begin)], env=env, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise UserError(f"scoring {folder} failed: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return {**found, "total": time.monotonic() - begin}


def main(words: Sequence[str]) -> None:
    folder, tensorboard, started = Path(words[0]), Path(words[1]), float(words[2])
    import torch

    from asd import scoring

    torch.set_num_threads(1)
    spent = {IMPORTS: time.monotonic() - started}
    for name, stage in STAGES.items():
        setattr(scoring, name, _timed(getattr(scoring, name), stage, spent))
    scoring.figures.evaluation_figures = _timed(scoring.figures.evaluation_figures, "figures", spent)
    begin = time.monotonic()
    scoring.score_folder(folder, tensorboard)
    spent[REST] = time.monotonic() - begin - sum(seconds for stage, seconds in spent.items() if stage != IMPORTS)
    print(json.dumps(spent | {"peak_mib": _peak_mib()}))


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        begin = time.monotonic()
        try:
            return function(*args, **options)
        finally:
            spent[stage] = spent.get(stage, 0.0) + time.monotonic() - begin

    return run


def _peak_mib() -> float:
    """Of this program alone: ru_maxrss begins with what the process that started it held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
