"""Which clips each step of each epoch trains on: pure functions of (clips, seed, epoch, global batch).

Ranks only slice what stands here, so the global batches are the same for any number of them and the position of a run
is (epoch, step). Legend: N clips of a stream, S steps of an epoch, B global batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from asd.data.manifest import Manifest
from asd.errors import UserError

# Rows of a global batch are laid out in blocks of this many runs, so that the clips of a mixing group (8 neighbouring
# rows by default) come from different runs while each rank still reads consecutive clips.
RUNS_PER_BLOCK = 8


@dataclass(frozen=True)
class Stream:
    """A named source of clips with its share of every global batch.

    draw: `shuffle`, round after round. Of a second stream also `within`: shuffled, too, its rows lie evenly spread
    among those of the first one, mix with them, and any number of ranks can share them; `same_class`: each row has the
    class of the first stream's row beside it; `one_class`: no rows of its own, but in each step it takes the place of
    the first stream's rows of one class. These two draw with repetition. With `parts`, `same_class` draws a row from
    part 1 with probability `share`, else from part 0; from the other part where this one has no clip of the class.
    """

    name: str
    clips: np.ndarray  # (N,) clip indices in shard order
    batch: int  # clips of it in a global batch
    classes: np.ndarray | None = None  # (N,) class of each clip, for draws by class
    draw: Literal["shuffle", "same_class", "one_class", "within"] = "shuffle"
    parts: np.ndarray | None = None  # (N,) 0 or 1
    share: float = 1.0

    @property
    def keys(self) -> np.ndarray | None:
        """What draws by class tell clips apart by, (N,): the class, or class and part."""
        return self.classes if self.parts is None or self.classes is None else 2 * self.classes + self.parts


@dataclass(frozen=True)
class Windows:
    """Shuffles a few whole shards at a time, others together in every epoch, so that few must be at hand at once."""

    shards: np.ndarray  # (clips of the set,) the shard of each
    clips: int  # of a window: as many shards as hold them

    def of(self, used: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """The window of each clip of the set, (clips,), by time; of equal size, counted in clips that are `used`."""
        counts = np.bincount(self.shards, weights=used).astype(np.int64)
        rng = np.random.default_rng([seed, zlib.crc32(b"windows"), epoch])
        order = rng.permutation(np.flatnonzero(counts))
        before = np.cumsum(counts[order]) - counts[order]
        windows = -(-int(counts.sum()) // self.clips)
        found = np.zeros(len(counts), dtype=np.int64)
        found[order] = before * windows // counts.sum()
        return found[self.shards]


@dataclass(frozen=True)
class Plan:
    """The order of training. The first stream sets the steps of an epoch; the others go round as often as needed.

    With windows, the other streams, too, take their rows from the window of a step: all of them where it has none,
    and draws by class also clips of the classes that it lacks.
    """

    streams: tuple[Stream, ...]
    seed: int
    run_length: int
    windows: Windows | None = None  # None: all clips are shuffled among each other

    @property
    def steps_per_epoch(self) -> int:
        return len(self.streams[0].clips) // self.streams[0].batch

    def epoch(self, epoch: int) -> dict[str, np.ndarray]:
        """Clip indices of every step by stream, each (S, its batch). No clip twice in a shuffled pass over a stream."""
        first, *others = self.streams
        window = self._window_of_clips(epoch)
        order = self._order(first, epoch) if window is None else self._windowed_order(first, epoch, window)
        ordered = order[: self.steps_per_epoch * first.batch].reshape(-1, first.batch)
        plans = {first.name: _spread_runs(ordered, self.run_length)}
        for stream in others:
            beside = plans[first.name]
            parts = [
                self._drawn(seen, beside[begin:end], epoch, begin)
                for begin, end, seen in _stretches(stream, ordered[:, 0], window)
            ]
            plans[first.name if stream.draw == "one_class" else stream.name] = np.concatenate(parts)
        for stream in others:
            if stream.draw == "within":
                at = np.arange(stream.batch) * first.batch // stream.batch
                plans[first.name] = np.insert(plans[first.name], at, plans.pop(stream.name), axis=1)
        return plans

    def _window_of_clips(self, epoch: int) -> np.ndarray | None:
        if self.windows is None:
            return None
        used = np.zeros(len(self.windows.shards), dtype=bool)
        for stream in self.streams:
            used[stream.clips] = True
        return self.windows.of(used, self.seed, epoch)

    def _drawn(self, stream: Stream, beside: np.ndarray, epoch: int, begin: int) -> np.ndarray:
        """Rows of a further stream in the steps from `begin` on; beside: (steps, B) rows of the first stream there."""
        if stream.draw in ("shuffle", "within"):
            at = (epoch * self.steps_per_epoch + begin) * stream.batch
            clips = self._cycle(stream, at, len(beside) * stream.batch)
            return _spread_runs(clips.reshape(-1, stream.batch), self.run_length)
        classes = class_of(self.streams[0], beside)
        drawn = self._of_class(stream, classes, epoch, begin)
        if stream.draw == "same_class":
            return drawn
        chosen = self._one_class(stream, np.arange(begin, begin + len(beside)), epoch)
        return np.where(classes == chosen[:, None], drawn, beside)

    def _of_class(self, stream: Stream, classes: np.ndarray, epoch: int, begin: int) -> np.ndarray:
        """For every row a clip of the stream of the wanted class, (S, B) → (S, B); any clip where it has none."""
        keys = stream.keys
        assert keys is not None
        order = np.argsort(keys, kind="stable")
        counts = np.bincount(keys, minlength=2 * int(classes.max()) + 2)
        begins = np.cumsum(counts) - counts
        rows = begin * classes.shape[1] + np.arange(classes.size).reshape(classes.shape)
        wanted = classes
        if stream.parts is not None:
            wanted = 2 * classes + (uniform(self.seed ^ zlib.crc32(b"part"), epoch, rows) < stream.share)
            wanted = np.where(counts[wanted] > 0, wanted, wanted ^ 1)
        draw = uniform(self.seed ^ zlib.crc32(stream.name.encode()), epoch, rows)
        position = begins[wanted] + (draw * counts[wanted]).astype(np.int64)
        return stream.clips[order[np.minimum(position, len(order) - 1)]]

    def _one_class(self, stream: Stream, steps: np.ndarray, epoch: int) -> np.ndarray:
        """The class of each step, (S,), among those that the stream has clips of."""
        found = np.unique(stream.classes) if stream.classes is not None else np.empty(0, dtype=np.int64)
        draw = uniform(self.seed ^ zlib.crc32(b"one class"), epoch, steps)
        return found[(draw * len(found)).astype(np.int64)]

    def _order(self, stream: Stream, round_: int) -> np.ndarray:
        """All clips of a stream once, as shuffled runs of neighbours; the phase of the cut differs per round."""
        rng = np.random.default_rng([self.seed, zlib.crc32(stream.name.encode()), round_])
        count = len(stream.clips)
        rolled = np.roll(stream.clips, -int(rng.integers(count)))
        whole = count - count % self.run_length
        runs = rolled[:whole].reshape(-1, self.run_length)
        return np.concatenate([rng.permutation(runs).reshape(-1), rolled[whole:]])

    def _windowed_order(self, stream: Stream, epoch: int, window: np.ndarray) -> np.ndarray:
        """All clips of a stream once, window by window, as shuffled runs that end with their shard at the latest."""
        assert self.windows is not None
        rng = np.random.default_rng([self.seed, zlib.crc32(stream.name.encode()), epoch])
        shards = self.windows.shards[stream.clips]
        phase = rng.integers(self.run_length, size=int(shards.max()) + 1)[shards]
        pieces = (np.arange(len(shards)) + phase) // self.run_length
        begins = np.flatnonzero((np.diff(shards, prepend=-1) != 0) | (np.diff(pieces, prepend=-1) != 0))
        order = np.lexsort((rng.permutation(len(begins)), window[stream.clips[begins]]))
        lengths = np.diff(begins, append=len(shards))[order]
        return stream.clips[np.arange(len(shards)) + np.repeat(begins[order] - np.cumsum(lengths) + lengths, lengths)]

    def _cycle(self, stream: Stream, begin: int, length: int) -> np.ndarray:
        """Entries begin … begin+length of the endless sequence of rounds over a stream."""
        count = len(stream.clips)
        rounds = range(begin // count, (begin + length - 1) // count + 1)
        endless = np.concatenate([self._order(stream, round_) for round_ in rounds])
        offset = begin - rounds.start * count
        return endless[offset : offset + length]


def class_of(stream: Stream, clips: np.ndarray) -> np.ndarray:
    """Classes of clips (any shape) of a stream."""
    assert stream.classes is not None
    return stream.classes[np.searchsorted(stream.clips, clips)]


def _stretches(stream: Stream, first_clips: np.ndarray, window: np.ndarray | None) -> Iterator[tuple[int, int, Stream]]:
    """(first step, step behind the last, what the stream has there) of each window; first_clips: (S,) of its steps."""
    steps = len(first_clips)
    if window is None:
        yield 0, steps, stream
        return
    of_step = window[first_clips]
    bounds = [0, *(np.flatnonzero(np.diff(of_step)) + 1).tolist(), steps]
    for begin, end in pairwise(bounds):
        yield begin, end, _seen(stream, window[stream.clips] == of_step[begin])


def _seen(stream: Stream, here: np.ndarray) -> Stream:
    """A stream's clips `here` (N,), and what must come from elsewhere."""
    keys = stream.keys
    if stream.draw in ("same_class", "one_class") and keys is not None:
        here = here | ~np.isin(keys, keys[here])
    if not here.any():
        return stream
    classes, parts = (None if x is None else x[here] for x in (stream.classes, stream.parts))
    return replace(stream, clips=stream.clips[here], classes=classes, parts=parts)


def make_plan(streams: Sequence[Stream], seed: int, run_length: int, windows: Windows | None = None) -> Plan:
    """A plan, refused where the first stream cannot fill one batch; the others go round as often as it takes."""
    first = streams[0]
    if len(first.clips) < first.batch:
        rows = f"a global batch of {first.batch}"
        if len(streams) > 1:
            rows = f"the {first.batch} rows of a global batch that are theirs"
        raise UserError(
            f"{len(first.clips)} training clips cannot fill {rows}: lower train.global_batch or pack more clips"
        )
    return Plan(tuple(streams), seed, run_length, windows)


def _spread_runs(steps: np.ndarray, run_length: int) -> np.ndarray:
    """Permute the rows of each (S, B) batch so that neighbours come from different runs."""
    position = np.arange(steps.shape[1])
    block = position // (run_length * RUNS_PER_BLOCK)
    order = np.lexsort((position // run_length, position % run_length, block))
    return steps[:, order]


def rank_slice(rows: np.ndarray, rank: int, world_size: int) -> np.ndarray:
    """This rank's consecutive part of the rows of a global batch, (B,) → (B / world_size,)."""
    share = len(rows) // world_size
    return rows[rank * share : (rank + 1) * share]


def crop_starts(seed: int, epoch: int, clips: np.ndarray, frames: np.ndarray, length: int) -> np.ndarray:
    """First sample of each clip's training crop: a function of (seed, epoch, clip index) alone."""
    if (frames <= length).all():  # nothing to draw, and this runs in the training thread
        return np.zeros(clips.shape, dtype=np.int64)
    room = np.maximum(frames - length, 0) + 1
    return (uniform(seed, epoch, clips) * room).astype(np.int64)


def uniform(seed: int, epoch: int, values: np.ndarray) -> np.ndarray:
    """One number in [0, 1) for every (seed, epoch, value): splitmix64 (Steele et al. 2014), vectorised."""
    state = np.asarray(values).astype(np.uint64)
    with np.errstate(over="ignore"):
        for word in (seed, epoch):
            state = _splitmix64(state ^ _splitmix64(np.uint64(word)))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _splitmix64(x: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def equal_length_batches(frames: np.ndarray, samples: int) -> list[np.ndarray]:
    """Evaluation batches: positions of clips of one exact length, at most `samples` audio samples a batch.

    A function of the clips alone, so that a clip has the same batch mates on any number of ranks. In the order of their
    first clips: all lengths together go through the shards once.
    """
    order = np.argsort(frames, kind="stable")
    edges = np.flatnonzero(np.diff(frames[order])) + 1
    batches = []
    for group in np.split(order, edges):
        size = max(1, samples // int(frames[group[0]])) if len(group) else 1
        batches += [group[at : at + size] for at in range(0, len(group), size)]
    return sorted(batches, key=lambda batch: int(batch[0]))


def windows_of(manifest: Manifest, clips: int | None) -> Windows | None:
    """Windows of so many clips (`data.window`) over a set's shards; None: no windows."""
    return None if clips is None else Windows(manifest.column("shard"), clips)
