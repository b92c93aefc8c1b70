"""Labels of evaluation sets, joined from the official evaluators' files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from asd.data.manifest import LABEL_UNKNOWN
from asd.dcase.ground_truth import Clip, Truth, read_ground_truth
from asd.errors import UserError
from shards.layouts.clip import Corpus, SourceClip, first_few

Machine = tuple[str, str]  # machine type, machine ID or section


def join_ground_truth(corpus: Corpus, places: Sequence[Path]) -> Corpus:
    """The corpus with label and domain of every unlabelled test clip of the machines that have ground truth.

    Machines without stay unlabelled, and a remark says so. Raises UserError where a name of a machine is in its ground
    truth or among its clips alone, where a domain contradicts a name, or where nothing fits at all.
    """
    truth = read_ground_truth(places)
    asked = _unlabelled(corpus)
    both = _machines(truth) & _machines(asked)
    if not both:
        raise UserError(
            f"the ground truth is of {_named(_machines(truth))}, for which these recordings have no unlabelled test "
            "clip: give the files of their year, or leave out --ground-truth"
        )
    _check_alone(truth, asked, both, "names in the ground truth are no unlabelled test clips")
    _check_alone(asked, truth, both, "unlabelled test clips are not in the ground truth of their machine")
    joined = truth.keys() & asked.keys()
    for name in joined:
        corpus.clips[asked[name]] = _labelled(corpus.clips[asked[name]], truth[name])
    corpus.notes["labels_joined"] = len(joined)
    corpus.remarks += _remarks(truth, asked, both)
    return corpus


def _unlabelled(corpus: Corpus) -> dict[Clip, int]:
    """Where the clips without a label are."""
    return {
        (*clip.machine_class, clip.file_name): index
        for index, clip in enumerate(corpus.clips)
        if clip.label == LABEL_UNKNOWN
    }


def _labelled(clip: SourceClip, truth: Truth) -> SourceClip:
    if clip.domain not in ("", truth.domain):
        raise UserError(
            f"the ground truth puts {clip.path} into the domain {truth.domain!r}, its name into {clip.domain!r}"
        )
    return replace(clip, label=truth.label, domain=truth.domain)


def _machines(clips: Iterable[Clip]) -> set[Machine]:
    return {(machine_type, machine_id) for machine_type, machine_id, _ in clips}


def _named(machines: Collection[Machine]) -> str:
    return first_few("/".join(machine) for machine in sorted(machines))


def _check_alone(these: Iterable[Clip], those: Collection[Clip], both: set[Machine], what: str) -> None:
    alone = sorted("/".join(clip) for clip in these if clip[:2] in both and clip not in those)
    if alone:
        raise UserError(f"{len(alone)} {what}: {first_few(alone)}; both must be of one year, and whole")


def _remarks(truth: Collection[Clip], asked: Iterable[Clip], both: set[Machine]) -> Iterator[str]:
    left = [clip for clip in asked if clip[:2] not in both]
    unused = _machines(truth) - both
    yield f"ground truth: {sum(clip[:2] in both for clip in truth)} labels for {len(both)} machines"
    if left:
        names = _named(_machines(left))
        yield f"warning: {len(left)} clips have no ground truth and stay unlabelled, those of {names}"
    if unused:
        yield f"warning: ground truth of {len(unused)} machines without an unlabelled clip here: {_named(unused)}"
