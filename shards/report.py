"""The report of packing on stdout: recordings found, warnings, and the packed set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from unicodedata import normalize

from rich.console import Console
from rich.table import Table

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN, MachineClass, ManifestFile
from asd.errors import printable
from asd.text.shell import command, write_word
from asd.text.terminal import open_console, plain
from shards.layouts.clip import SourceClip
from shards.levels import level_lines
from shards.scan import Scan, ScannedClip
from shards.writer import PackedShard, packed_levels

MAX_CLASS_ROWS = 60  # beyond, one row a machine type
MAX_VALUES = 6
SHORT_S = 1.0
CROP_S = 10.0  # of data.crop_s, where a config says nothing else
ONE_SIDED: dict[str, Callable[[set[int]], bool]] = {
    "no test clip": lambda labels: not labels,
    "only unlabelled test clips": lambda labels: labels == {LABEL_UNKNOWN},
    "only normal test clips": lambda labels: labels - {LABEL_UNKNOWN} == {LABEL_NORMAL},
    "only anomalous test clips": lambda labels: labels - {LABEL_UNKNOWN} == {LABEL_ANOMALY},
}
BAD_KINDS = {"channels": "have channels that do not fit", "foreign": "are of a format that cannot be read here"}
COLUMNS = {
    ("train", LABEL_NORMAL): "train",
    ("train", LABEL_ANOMALY): "known\nfaults",  # where there are some
    ("test", LABEL_NORMAL): "test\nnormal",
    ("test", LABEL_ANOMALY): "test\nanomaly",
    ("test", LABEL_UNKNOWN): "test\nunlabelled",
}


def print_scan(found: Scan) -> None:
    """Counts per machine, then a line for everything that a person should know before training on it."""
    console = open_console()
    if found.clips:
        console.print(_counts_table([item.clip for item in found.clips]))
    for line in (*_properties(found.clips), *found.remarks, *_oddities(found)):
        _say(console, line)


def _say(console: Console, line: str) -> None:
    """On one line, however long: a path is there to be copied."""
    console.print(printable(line), soft_wrap=True)


def _counts_table(clips: Sequence[SourceClip]) -> Table:
    by_class = len({clip.machine_class for clip in clips}) <= MAX_CLASS_ROWS
    counts = Counter((_row(clip, by_class), clip.split, clip.label) for clip in clips)
    total = Counter((clip.split, clip.label) for clip in clips)
    columns = {kind: title for kind, title in COLUMNS.items() if total[kind] or kind != ("train", LABEL_ANOMALY)}
    table = Table(title="recordings found")
    table.add_column("machine", overflow="fold")
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
    for row in sorted({_row(clip, by_class) for clip in clips}):
        table.add_row(plain(row), *(str(counts[row, split, label] or "-") for split, label in columns))
    table.add_section()
    table.add_row("all", *(str(total[kind]) for kind in columns))
    return table


def _row(clip: SourceClip, by_class: bool) -> str:
    return "/".join(clip.machine_class) if by_class else clip.machine_type


def _properties(clips: Sequence[ScannedClip]) -> Iterator[str]:
    if not clips:
        return
    headers = [item.header for item in clips]
    yield f"sample rates: {_values(f'{header.rate} Hz' for header in headers)}"
    yield f"lengths: {_values(f'{header.frames / header.rate:.3f} s' for header in headers)}"
    yield f"channels: {_values(str(header.channels) for header in headers)}"
    yield f"sample formats: {_values(header.subtype for header in headers)}"


def _values(words: Iterable[str]) -> str:
    """`16000 Hz (220 clips), 44100 Hz (3)`, the commonest first."""
    counts = Counter(words).most_common()
    listed = ", ".join(f"{word} ({count})" for word, count in counts[:MAX_VALUES])
    more = len(counts) - MAX_VALUES
    return f"{listed}, and {more} other values" if more > 0 else listed


def _oddities(found: Scan) -> Iterator[str]:
    for kind, count in Counter(bad.error.kind for bad in found.bad).items():
        first = next(bad for bad in found.bad if bad.error.kind == kind)
        what = BAD_KINDS.get(kind, f"are {kind}")
        yield f"warning: {count} recordings {what}, first: {first.clip.path}: {first.error.detail}"
    yield from false_headers(found.clips)
    yield from _repeats("warning: {} recordings repeat another one", found.duplicates)
    yield from _repeats("WARNING: {} of these are in both training and test, or have two labels", found.leaking)
    short = [item for item in found.clips if item.header.frames < SHORT_S * item.header.rate]
    if short:
        yield f"warning: {len(short)} recordings are shorter than {SHORT_S:g} s, first: {short[0].clip.path}"
    yield from _other_lengths([item for item in found.clips if item.clip.split == "train"])
    yield from _alike([item.clip for item in found.clips])
    yield from _one_sided([item.clip for item in found.clips])


def false_headers(clips: Sequence[ScannedClip]) -> Iterator[str]:
    """What a pipe, a recorder that lost its power or a size beyond 32 bits leaves."""
    lies = [item for item in clips if item.header.lie]
    if lies:
        first = f"{lies[0].clip.path}: {lies[0].header.lie}"
        yield f"warning: {len(lies)} recordings have a wrong size in their header and are read whole, first: {first}"
    unread = [item for item in clips if item.header.unread]
    if unread:
        first = f"{unread[0].clip.path}: {unread[0].header.unread}"
        yield f"warning: {len(unread)} recordings hold more than their header says, which is not read, first: {first}"


def _other_lengths(training: Sequence[ScannedClip]) -> Iterator[str]:
    """What training will make of them: the config comes later, and may choose another crop."""
    seconds = [item.header.frames / item.header.rate for item in training]
    short = [item for item, length_s in zip(training, seconds, strict=True) if length_s < CROP_S]
    spread = f"{min(seconds, default=0):.3f} to {max(seconds, default=0):.3f} s"
    if short:
        yield (
            f"warning: {len(short)} of {len(training)} training recordings are shorter than data.crop_s ({CROP_S:g} s "
            f"unless set; all: {spread}), first: {short[0].clip.path}: training repeats them to fill a crop"
        )
    elif len(set(seconds)) > 1:
        yield f"warning: training recordings last {spread}: a part of those longer than data.crop_s is drawn each epoch"


def _alike(clips: Sequence[SourceClip]) -> Iterator[str]:
    """Machines whose names look the same to some systems and people, and are different classes here."""
    names: dict[str, set[str]] = {}
    for name in {"/".join(clip.machine_class) for clip in clips}:
        names.setdefault(normalize("NFKC", name).casefold(), set()).add(name)
    for alike in (sorted(group) for group in names.values() if len(group) > 1):
        yield f"warning: {' and '.join(alike)} differ in case or accent encoding alone and count as different machines"


def _repeats(text: str, pairs: Sequence[tuple[SourceClip, SourceClip]]) -> Iterator[str]:
    if pairs:
        yield f"{text.format(len(pairs))}, first: {pairs[0][0].path} = {pairs[0][1].path}"


def _one_sided(clips: Sequence[SourceClip]) -> Iterator[str]:
    """Classes of which no AUC can be computed: not wrong, but a surprise in the report."""
    labels: dict[tuple[str, str], set[int]] = {clip.machine_class: set() for clip in clips}
    for clip in clips:
        if clip.split == "test":
            labels[clip.machine_class].add(clip.label)
    for what, fits in ONE_SIDED.items():
        lacking = [
            MachineClass(machine_type=t, machine_id=i) for (t, i), found in sorted(labels.items()) if fits(found)
        ]
        if lacking:
            yield f"warning: {len(lacking)} classes have {what}, so no AUC: {compact(lacking)}"


def compact(classes: Sequence[MachineClass]) -> str:
    """`fan/00 02, pump/04`"""
    groups = groupby(sorted(classes, key=str), key=lambda c: c.machine_type)
    return ", ".join(f"{machine_type}/{' '.join(c.machine_id for c in group)}" for machine_type, group in groups)


def print_packed(out: Path, file: ManifestFile, shards: Sequence[PackedShard], wall_s: float) -> None:
    """What was made and what to do with it."""
    console = open_console()
    console.print(_packed_table(file, shards, wall_s))
    for line in level_lines(sorted(packed_levels(shards), key=lambda clip: clip.name)):
        _say(console, line)
    _say(console, f"{len(file.classes)} CLASSES: {compact(file.classes)}")
    _say(console, f"packed into {out}")
    _say(console, f"check it:       python -m shards.verify {command(out)}")
    _say(console, f"train on it:    {_training_command(out, file)}")


def _training_command(out: Path, file: ManifestFile) -> str:
    """Own recordings are for the config of own machines, which needs no second one to tell the first from."""
    word = write_word("data.shards", str(out))
    if file.layout != "table":
        return command("torchrun", "--standalone", "--nproc_per_node=2", "train_ddp.py", word)
    return command("python", "train_ddp.py", "--config", "configs/own_machines.yaml", word)


def _packed_table(file: ManifestFile, shards: Sequence[PackedShard], wall_s: float) -> Table:
    clips = sum(shard.clips for shard in file.shards)
    seconds = sum(item.frames for shard in shards for item in shard.clips) / file.sample_rate
    table = Table(show_header=False, title=plain(file.name))
    table.add_row("classes", str(len(file.classes)))
    table.add_row("clips", f"{clips:,}")
    table.add_row("hours", f"{seconds / 3600:.2f}")
    table.add_row("MiB", f"{sum(shard.bytes for shard in file.shards) / 2**20:,.1f}")
    table.add_row("shards", str(len(file.shards)))
    for name, count in file.notes.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    table.add_row("clips/s", f"{clips / wall_s:,.0f}")
    return table
