"""Score files and ground truth of every year's form, made from random clips that the tests keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MACHINES = {"ToyCar": ("01", "02"), "fan": ("00", "02", "04"), "my_pump": ("00", "03")}
ALL_LAYOUTS = ("dcase2020", "dcase2021", "dcase2022", "dcase2023", "dcase2024", "dcase2025", "dcase2026")


@dataclass(frozen=True)
class Clip:
    """One test clip as its ground truth and a system see it."""

    machine: str
    section: str
    domain: str
    name: str
    label: int
    score: float
    decision: int


@dataclass(frozen=True)
class Made:
    """A submission on disk."""

    layout: str
    scores: Path
    truth: Path
    clips: list[Clip]

    def of(self, machine: str, section: str, domain: str = "") -> list[Clip]:
        """Clips of one section, of one domain where it is given."""
        return [c for c in self.clips if (c.machine, c.section) == (machine, section) and domain in ("", c.domain)]

    def score_file(self, machine: str = "fan", section: str = "00", kind: str = "anomaly_score") -> Path:
        """A section's file; in 2021 that of the source domain."""
        return self.scores / file_name(kind, self.layout, machine, section, "source")


def file_name(kind: str, layout: str, machine: str, section: str, domain: str) -> str:
    if layout == "dcase2020":
        return f"{kind}_{machine}_id_{section}.csv"
    return f"{kind}_{machine}_section_{section}{f'_{domain}' if layout == 'dcase2021' else ''}_test.csv"


def make_clips(layout: str, seed: int = 0, named_by_label: bool = False) -> list[Clip]:
    """About 40 clips a section, scores with ties; released names, or development names that carry the label."""
    random = np.random.default_rng(seed)
    found = []
    for machine, sections in MACHINES.items():
        for section in sections:
            for index in range(int(random.integers(36, 44))):
                label, domain = int(random.random() < 0.5), ("source", "target")[int(random.random() < 0.5)]
                score = round(float(random.normal() + 0.9 * label - 1.0), 1)
                name = clip_name(layout, section, domain, label, index, named_by_label)
                decision = int(score > -0.5)
                found.append(Clip(machine, section, domain, name, label, score, decision))
    return found


def clip_name(layout: str, section: str, domain: str, label: int, index: int, named_by_label: bool) -> str:
    word = ("normal", "anomaly")[label]
    if layout == "dcase2020":
        return f"{word}_id_{section}_{index:08d}.wav" if named_by_label else f"id_{section}_{index:08d}.wav"
    if named_by_label:
        attributes = "" if layout == "dcase2021" else "_m-n_W_ac_0.03"
        return f"section_{section}_{domain}_test_{word}_{index:04d}{attributes}.wav"
    return f"section_{section}_{f'{domain}_test_' if layout == 'dcase2021' else ''}{index:04d}.wav"


def make(root: Path, layout: str, seed: int = 0, line_end: str = "\n", decisions: bool = True) -> Made:
    """A random submission and its ground truth below root, rows in random order."""
    made = Made(layout, root / "scores", root / "truth", make_clips(layout, seed))
    write_scores(made, line_end, decisions)
    write_truth(made, line_end)
    return made


def write_scores(made: Made, line_end: str = "\n", decisions: bool = True) -> None:
    put(made, made.scores, "anomaly_score", lambda clip: repr(clip.score), line_end)
    if decisions:
        put(made, made.scores, "decision_result", lambda clip: str(clip.decision), line_end)


def write_truth(made: Made, line_end: str = "\n") -> None:
    if made.layout == "dcase2020":
        made.truth.mkdir(parents=True)
        lines = []
        for machine in MACHINES:
            own = sorted((c for c in made.clips if c.machine == machine), key=lambda c: c.name)
            lines += [machine, *(f"{c.name},{('normal', 'anomaly')[c.label]}_{c.name},{c.label}" for c in own)]
        write_lines(made.truth / "eval_data_list.csv", lines, line_end)
        return
    put(made, made.truth / "ground_truth_data", "ground_truth", lambda clip: str(clip.label), line_end)
    if made.layout != "dcase2021":
        codes = {"source": "0", "target": "1"}
        put(made, made.truth / "ground_truth_domain", "ground_truth", lambda clip: codes[clip.domain], line_end)


def put(made: Made, folder: Path, kind: str, value: Callable[[Clip], str], line_end: str) -> None:
    """One file a section, rows shuffled."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {}
    for index in np.random.default_rng(5).permutation(len(made.clips)):
        clip = made.clips[index]
        name = file_name(kind, made.layout, clip.machine, clip.section, clip.domain)
        files.setdefault(name, []).append(f"{clip.name},{value(clip)}")
    for name, lines in files.items():
        write_lines(folder / name, lines, line_end)


def write_lines(path: Path, lines: Iterable[str], line_end: str = "\n") -> None:
    path.write_bytes("".join(line + line_end for line in lines).encode())
