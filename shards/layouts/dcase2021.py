"""DCASE 2021 Task 2: sections, and test clips of the two domains in two folders."""

from __future__ import annotations

import re
from pathlib import Path

from shards.layouts.clip import LABELS, SourceClip, make_key
from shards.layouts.folders import DISAGREE, Misfit

TRAIN_NAME = re.compile(r"section_(\d\d)_(source|target)_train_(normal|anomaly)_\d{4}(?:_(.*))?\.wav")
TEST_NAME = re.compile(r"section_(\d\d)_(source|target)_test_(?:(normal|anomaly)_)?\d{4}()\.wav")
FOLDERS = {
    ("train", "source"): "train",
    ("train", "target"): "train",
    ("test", "source"): "source_test",
    ("test", "target"): "target_test",
}
MISPLACED = Misfit("do not lie in <machine type>/train, <machine type>/source_test or <machine type>/target_test")
MISNAMED = Misfit(
    "are not named section_SS_(source|target)_train_(normal|anomaly)_NNNN_<text>.wav or "
    "section_SS_(source|target)_test_(normal|anomaly)_NNNN.wav, the label left out in an evaluation set"
)


def read(path: Path) -> SourceClip | Misfit:
    """`<any depth>/<type>/(train|source_test|target_test)/section_SS_…`; evaluation tests carry no label.

    Everything but the machine type comes from the file name, and the folder must agree. The text after the index of a
    training clip is kept whole: it is not made of keys and values.
    """
    folder, machine_type = path.parent.name, path.parent.parent.name
    if folder not in FOLDERS.values():
        return MISPLACED
    train, test = TRAIN_NAME.fullmatch(path.name), TEST_NAME.fullmatch(path.name)
    match, split = (train, "train") if train else (test, "test")
    if match is None:
        return MISNAMED
    section, domain, label, text = match.groups()
    if FOLDERS[split, domain] != folder:
        return Misfit(DISAGREE)
    key = make_key(machine_type, split, path.stem)
    return SourceClip(path, key, machine_type, section, split, LABELS[label], path.name, domain, text or "")
