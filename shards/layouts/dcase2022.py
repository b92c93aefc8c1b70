"""DCASE 2022 to 2026 Task 2: sections, mixed domains, attributes; evaluation clips tell nothing but a number."""

from __future__ import annotations

import re
from pathlib import Path

from asd.data.manifest import LABEL_UNKNOWN, SPLITS
from shards.layouts.attributes import HIDDEN, with_pairs
from shards.layouts.clip import LABELS, Choices, Corpus, SourceClip, make_key
from shards.layouts.folders import DISAGREE, Misfit

NAME = re.compile(r"section_(\d\d)_(source|target)_(train|test)_(normal|anomaly)_\d{4}(?:_(.*))?\.wav")
EVALUATION_NAME = re.compile(r"section_(\d\d)_\d{4}\.wav")
SUPPLEMENTAL = "supplemental"
MISPLACED = Misfit("do not lie in <machine type>/train or <machine type>/test")
RENAMED = Misfit(
    "lie in test_rename, where the official baseline puts labelled copies of test",
    "put that folder in the place of test, or take it away and give the labels by --ground-truth",
)
MISNAMED = Misfit(
    "are not named section_SS_(source|target)_(train|test)_(normal|anomaly)_NNNN_<attributes>.wav, "
    "in test also section_SS_NNNN.wav"
)


def read(path: Path) -> SourceClip | Misfit:
    """`<any depth>/<type>/(train|test)/section_SS_…`; evaluation tests carry neither label nor domain.

    Everything but the machine type comes from the file name, and the folder must agree. What follows the index is
    taken whole: values hold dots, keys hold hyphens and underscores.
    """
    folder, machine_type = path.parent.name, path.parent.parent.name
    if folder not in SPLITS:
        return RENAMED if folder == "test_rename" else MISPLACED
    key = make_key(machine_type, folder, path.stem)
    if folder == "test" and (hidden := EVALUATION_NAME.fullmatch(path.name)):
        return SourceClip(path, key, machine_type, hidden[1], folder, LABEL_UNKNOWN, path.name)
    match = NAME.fullmatch(path.name)
    if match is None:
        return MISNAMED
    section, domain, split, label, text = match.groups()
    if split != folder:
        return Misfit(DISAGREE)
    attributes = "" if text in (None, HIDDEN) else text
    return SourceClip(path, key, machine_type, section, split, LABELS[label], path.name, domain, attributes)


def read_2025(path: Path) -> SourceClip | Misfit | None:
    """As `read`, and None for what lies in `supplemental`: the clean machine, or its surroundings without it."""
    return None if path.parent.name == SUPPLEMENTAL else read(path)


def arrange(corpus: Corpus, choices: Choices) -> Corpus:
    """Attributes from attributes_SS.csv; what was left out is said."""
    with_pairs(corpus)
    if corpus.left_out:
        corpus.notes["supplemental_left_out"] = len(corpus.left_out)
        corpus.remarks.append(
            f"warning: {len(corpus.left_out)} supplemental recordings (the machine without noise, or noise without the "
            f"machine) are left out, first: {corpus.left_out[0]}"
        )
    return corpus
