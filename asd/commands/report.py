"""`eval.py report`: the official numbers of score files."""

from __future__ import annotations

from pathlib import Path

from asd.dcase import read_submission
from asd.dcase.csv_rows import some
from asd.dcase.rules import rule_of
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.files.paths import check_over, user_path
from asd.report.model import json_text
from asd.report.official import halves_of, headline_numbers, numbers_of, print_tables
from asd.text.terminal import open_console

NAMES = "names"  # --ground-truth names


def report_score_files(layout: str, scores: Path, ground_truth: str | None, json_file: Path | None) -> None:
    """Evaluate a folder of score files: print the tables, write the JSON. UserError on files that do not fit."""
    rule_of(layout)
    if ground_truth is None:
        raise UserError(
            "--ground-truth is needed: the organisers' list or folder, or names where file names carry labels"
        )
    where = None if ground_truth == NAMES else user_path(ground_truth)
    if json_file is not None:
        read = [path for place in (scores, where) if place is not None for path in (place, *place.rglob("*.csv"))]
        check_over("--json", json_file, [path for path in read if path.is_file()])
    found = read_submission(layout, scores, where)
    notes = (
        [f"no label in the names of {some(found.unlabelled)}: left out; --ground-truth takes the organisers' list"]
        if found.unlabelled
        else []
    )
    report = numbers_of(layout, found.development, found.evaluation, notes)
    console = open_console()
    if all(headline_numbers(part).quality is None for part in halves_of(report).values()):
        count = sum(len(machine.sections) for machine in report.machines.values())
        console.print(
            f"no AUC: none of {count} sections has normal and anomalous clips ({report.notes[0]})", soft_wrap=True
        )
    else:
        print_tables(console, layout, report)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(json_file, json_text(report))
