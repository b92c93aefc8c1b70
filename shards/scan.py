"""Checks every recording before anything is written: headers, warnings, and what must be refused."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from asd.audio.header import BadFileError, Header, read_header
from asd.audio.recording import Target, channel_words, check_channels, check_rate
from asd.data.manifest import LABEL_NORMAL, LABEL_UNKNOWN
from asd.errors import UserError
from shards.layouts.clip import Corpus, SourceClip
from shards.progress import clip_bar

SCAN_THREADS = 8
CLIPS_A_TASK = 16  # handing a clip to a thread takes as long as reading its header
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BadClip:
    """A recording that cannot be packed, and why."""

    clip: SourceClip
    error: BadFileError


@dataclass(frozen=True, slots=True)
class ScannedClip:
    """A recording that can be opened."""

    clip: SourceClip
    header: Header


@dataclass
class Scan:
    """All recordings of the sources: the good with their headers, the bad with their reasons, and the repeated."""

    clips: list[ScannedClip]
    bad: list[BadClip] = field(default_factory=list)
    duplicates: list[tuple[SourceClip, SourceClip]] = field(default_factory=list)  # identical audio
    remarks: list[str] = field(default_factory=list)  # of the layout, to be shown
    notes: dict[str, int] = field(default_factory=dict)  # of the layout, for the manifest

    @property
    def leaking(self) -> list[tuple[SourceClip, SourceClip]]:
        """Identical audio in both training and test, or under different labels."""
        return [(a, b) for a, b in self.duplicates if a.split != b.split or a.label != b.label]


def scan(corpus: Corpus, target: Target, threads: int = SCAN_THREADS) -> Scan:
    """Read every header, in threads; sort out what cannot be packed; find identical audio."""
    clips = corpus.clips
    result = Scan([], remarks=[*corpus.listed, *corpus.remarks], notes=corpus.notes)
    with clip_bar("scanning", len(clips)) as bar, ThreadPoolExecutor(threads) as pool:
        parts = [clips[at : at + CLIPS_A_TASK] for at in range(0, len(clips), CLIPS_A_TASK)]
        for found in pool.map(lambda part: [_scanned(clip, target) for clip in part], parts):
            result.clips += [item for item in found if isinstance(item, ScannedClip)]
            result.bad += [item for item in found if isinstance(item, BadClip)]
            bar.advance(len(found))
    result.duplicates = find_duplicates(result.clips)
    return result


def _scanned(clip: SourceClip, target: Target) -> ScannedClip | BadClip:
    try:
        header = read_header(clip.path)
        check_channels(header, target)
        check_rate(header, target)
    except BadFileError as error:
        return BadClip(clip, error)
    return ScannedClip(clip, header)


def find_duplicates(clips: Sequence[ScannedClip], threads: int = SCAN_THREADS) -> list[tuple[SourceClip, SourceClip]]:
    """Pairs (first, repeat) of identical audio: candidates by length and checksum, confirmed by reading them whole."""
    probes = Counter(_probe(item) for item in clips)
    candidates = [item for item in clips if probes[_probe(item)] > 1]
    if not candidates:
        return []
    first_of: dict[tuple[int | bytes, ...], SourceClip] = {}
    pairs = []
    with clip_bar("comparing", len(candidates)) as bar, ThreadPoolExecutor(threads) as pool:
        for item, digest in zip(candidates, pool.map(_audio_hash, candidates), strict=True):
            first = first_of.setdefault((*_probe(item), digest), item.clip)
            if first is not item.clip:
                pairs.append((first, item.clip))
            bar.advance()
    return pairs


def _probe(item: ScannedClip) -> tuple[int, ...]:
    return item.header.frames, item.header.rate, item.header.channels, item.header.probe


def _audio_hash(item: ScannedClip) -> bytes:
    """Of the samples of a plain WAV, of the whole file otherwise."""
    path, header = item.clip.path, item.header
    left = 2 * header.channels * header.frames if header.data_offset >= 0 else path.stat().st_size
    digest = hashlib.blake2b()
    with path.open("rb") as handle:
        handle.seek(max(header.data_offset, 0))
        while left > 0 and (block := handle.read(min(left, READ_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.digest()


def check_unfit(result: Scan, target: Target, resample: bool, skip_bad: bool) -> None:
    """Raises UserError for the first reason why this scan cannot become a set."""
    if not skip_bad:
        _check_bad(result.bad, len(result.clips) + len(result.bad), target)
    if not result.clips:
        raise UserError(f"none of the {len(result.bad)} recordings can be packed, first: {_reason(result.bad[0])}")
    if not resample:
        _check_rates(result.clips, target.sample_rate)
    _check_unlabelled_training(result.clips)
    _check_told(result.duplicates)
    check_untrained(result.clips)


def _check_bad(bad: Sequence[BadClip], total: int, target: Target) -> None:
    if not bad:
        return
    kind = bad[0].error.kind
    same = [item for item in bad if item.error.kind == kind]
    what, advice = f"are {kind}", "copy them again"
    if kind == "unreadable":
        advice = "make them readable, or replace them"
    elif kind == "foreign":
        what, advice = "are of a format that cannot be read here", "convert all of them"
    elif kind == "channels" and target.channel is None:
        what = "have other channels than one"
        advice = "choose --channel N, --channel average, or of two microphones --channel NEAR,REFERENCE"
    elif kind == "channels":
        what = f"have no channel {channel_words(target.channel)}"
        advice = "choose another --channel, or --channel average"
    raise UserError(
        f"{len(same)} of {total} recordings {what}, first: {_reason(same[0])}; {advice}, "
        "or leave them out by --skip-bad"
    )


def _reason(bad: BadClip) -> str:
    return f"{bad.clip.path}: {bad.error.detail}"


def _check_rates(clips: Sequence[ScannedClip], sample_rate: int) -> None:
    other = [item for item in clips if item.header.rate != sample_rate]
    if other:
        rates = _rates(clips)
        named = ", ".join(f"{rate} Hz: {count}" for rate, count in sorted(_rates(other).items()))
        as_they_are = f" or --sample-rate {other[0].header.rate} (as they are)" if len(rates) == 1 else ""
        raise UserError(
            f"{len(other)} of {len(clips)} recordings are not at {sample_rate} Hz ({named}), first: "
            f"{other[0].clip.path}; add --resample (brings all to {sample_rate} Hz){as_they_are}"
        )


def _rates(clips: Iterable[ScannedClip]) -> Counter[int]:
    return Counter(item.header.rate for item in clips)


def _check_unlabelled_training(clips: Sequence[ScannedClip]) -> None:
    wrong = [item.clip for item in clips if item.clip.split == "train" and item.clip.label == LABEL_UNKNOWN]
    if wrong:
        raise UserError(
            f"{len(wrong)} training clips have no label, first: {wrong[0].path}; training clips are normal, or known "
            "faults: move them to test"
        )


def _check_told(duplicates: Sequence[tuple[SourceClip, SourceClip]]) -> None:
    """Raises UserError where a test clip is one of the known faults."""
    same: dict[Path, list[SourceClip]] = {}
    for first, repeat in duplicates:
        same.setdefault(first.path, [first]).append(repeat)
    for clips in same.values():
        told = next((clip for clip in clips if clip.is_known_fault), None)
        tested = next((clip for clip in clips if clip.split == "test"), None)
        if told is not None and tested is not None:
            raise UserError(
                f"{told.path} is a known fault of training, and {tested.path} of the test is the same sound: the test "
                "must not hold what training was told: take one of them away"
            )


def check_untrained(clips: Sequence[ScannedClip]) -> None:
    """Raises UserError where a class has test clips and nothing to learn it from."""
    trained = {c.machine_class for c in (item.clip for item in clips) if (c.split, c.label) == ("train", LABEL_NORMAL)}
    untrained = Counter(item.clip.machine_class for item in clips if item.clip.machine_class not in trained)
    if untrained:
        names = ", ".join(f"{t}/{i} ({count} clips)" for (t, i), count in sorted(untrained.items())[:5])
        raise UserError(
            f"{len(untrained)} classes have no normal training clip: {names}; add the folder with their "
            "training recordings as one more --source, or take their clips away"
        )
