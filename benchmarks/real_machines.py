"""Train and score a small model on real recordings, raw and level-normalised, beside the untrained nearest neighbour.

python -m benchmarks.real_machines --source DIR      (DIR in DCASE 2020 layout)

Loudness alone separates some real recordings: a number that falls when the level is removed was partly a number about
loudness. So each set is trained twice, on clips as they are and on clips brought to one level.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import eval as evaluation
import train_ddp
from asd.errors import run_main
from asd.files.paths import user_path
from asd.metrics import AUC
from asd.report import Report, percent, read_report
from asd.text.markdown import markdown_table
from shards import pack

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"
# fan id_00 has ten training clips, so one of them validates; 2 s is the length of the shorter clips.
SETTINGS = ("data.crop_s=2.0", "train.global_batch=32", "train.log_every=50", "evaluate.every_epochs=1000")
UNTRAINED = {"raw": "untrained_knn", "rms": "untrained_knn_level"}


def train_and_score(source: Path, work: Path, epochs: int) -> dict[str, Report]:
    """Pack source, train and score one run per level; level → report."""
    pack.main(["--layout", "dcase2020", "--source", str(source), "--out", str(work / "shards")])
    found = {}
    for level in UNTRAINED:
        run, words = work / level, [f"data.shards={work / 'shards'}", f"frontend.level={level}", *SETTINGS]
        train_ddp.main(["--config", str(CONFIG), f"run.dir={run}", f"train.epochs={epochs}", *words])
        evaluation.main(["score", "--run", str(run), "--checkpoint", "last"])
        report = read_report(next((run / "scores").iterdir()))
        assert report is not None
        found[level] = report
    return found


def aucs(reports: dict[str, Report]) -> dict[tuple[str, str], dict[str, float | None]]:
    """(machine type, scorer) → level → AUC, the mean over the IDs of the type."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for level, report in reports.items():
        for name, scorer in report.scorers.items():
            if name not in report.baselines or name == UNTRAINED[level]:
                shown = "untrained nearest neighbour" if name in report.baselines else name
                for machine_type, numbers in scorer.types.items():
                    found.setdefault((machine_type, shown), {})[level] = numbers[AUC.mean]
    return dict(sorted(found.items()))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=user_path, required=True, help="recordings in DCASE 2020 layout")
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        found = aucs(train_and_score(args.source, Path(work), args.epochs))
    rows = [[*names, *(percent(values[level]) for level in UNTRAINED)] for names, values in found.items()]
    print(markdown_table(["machine", "scorer", "AUC %, raw", "level-normalised"], rows))


if __name__ == "__main__":
    run_main(main)
