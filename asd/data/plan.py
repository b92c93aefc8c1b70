"""Which clips each step of each epoch trains on: pure functions of (clips, seed, epoch, global batch).

Ranks only slice what stands here, so the global batches are the same for any number of them and the position of a run
is (epoch, step). Legend: N clips of a stream, S steps of an epoch, B global batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asd.errors import UserError

# Rows of a global batch are laid out in blocks of this many runs, so that the clips of a mixing group (8 neighbouring
# rows by default) come from different runs while each rank still reads consecutive clips.
RUNS_PER_BLOCK = 8


@dataclass(frozen=True)
class Stream:
    """A named source of clips with its share of every global batch.

    draw: `shuffle`, round after round. Of a second stream also `same_class`: each row has the class of the first
    stream's row beside it; `one_class`: no rows of its own, but in each step it takes the place of the first stream's
    rows of one class. These two draw with repetition.
    """

    name: str
    clips: np.ndarray  # (N,) clip indices in shard order
    batch: int  # clips of it in a global batch
    classes: np.ndarray | None = None  # (N,) class of each clip, for draws by class
    draw: Literal["shuffle", "same_class", "one_class"] = "shuffle"


@dataclass(frozen=True)
class Plan:
    """The order of training. The first stream sets the steps of an epoch; the others go round as often as needed."""

    streams: tuple[Stream, ...]
    seed: int
    run_length: int

    @property
    def steps_per_epoch(self) -> int:
        return len(self.streams[0].clips) // self.streams[0].batch

    def epoch(self, epoch: int) -> dict[str, np.ndarray]:
        """Clip indices of every step by stream, each (S, its batch). No clip twice in a shuffled pass over a stream."""
        first, *others = self.streams
        steps = self.steps_per_epoch
        plans = {first.name: self._laid_out(self._order(first, epoch)[: steps * first.batch], first)}
        for stream in others:
            if stream.draw == "shuffle":
                ordered = self._cycle(stream, epoch * steps * stream.batch, steps * stream.batch)
                plans[stream.name] = self._laid_out(ordered, stream)
                continue
            beside = plans[first.name]
            classes = class_of(first, beside)
            drawn = self._of_class(stream, classes, epoch)
            if stream.draw == "same_class":
                plans[stream.name] = drawn
            else:
                chosen = self._one_class(stream, steps, epoch)
                plans[first.name] = np.where(classes == chosen[:, None], drawn, beside)
        return plans

    def _laid_out(self, clips: np.ndarray, stream: Stream) -> np.ndarray:
        """Clips of an epoch in order → (S, B), neighbours from different runs."""
        return _spread_runs(clips.reshape(-1, stream.batch), self.run_length)

    def _of_class(self, stream: Stream, classes: np.ndarray, epoch: int) -> np.ndarray:
        """For every row a clip of the stream of the wanted class, (S, B) → (S, B); any clip where it has none."""
        assert stream.classes is not None
        order = np.argsort(stream.classes, kind="stable")
        counts = np.bincount(stream.classes, minlength=int(classes.max()) + 1)
        begins = np.cumsum(counts) - counts
        rows = np.arange(classes.size).reshape(classes.shape)
        draw = uniform(self.seed ^ zlib.crc32(stream.name.encode()), epoch, rows)
        position = begins[classes] + (draw * counts[classes]).astype(np.int64)
        return stream.clips[order[np.minimum(position, len(order) - 1)]]

    def _one_class(self, stream: Stream, steps: int, epoch: int) -> np.ndarray:
        """The class of each step, (S,), among those that the stream has clips of."""
        found = np.unique(stream.classes) if stream.classes is not None else np.empty(0, dtype=np.int64)
        draw = uniform(self.seed ^ zlib.crc32(b"one class"), epoch, np.arange(steps))
        return found[(draw * len(found)).astype(np.int64)]

    def _order(self, stream: Stream, round_: int) -> np.ndarray:
        """All clips of a stream once, as shuffled runs of neighbours; the phase of the cut differs per round."""
        rng = np.random.default_rng([self.seed, zlib.crc32(stream.name.encode()), round_])
        count = len(stream.clips)
        rolled = np.roll(stream.clips, -int(rng.integers(count)))
        whole = count - count % self.run_length
        runs = rolled[:whole].reshape(-1, self.run_length)
        return np.concatenate([rng.permutation(runs).reshape(-1), rolled[whole:]])

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


def make_plan(streams: Sequence[Stream], seed: int, run_length: int) -> Plan:
    """A plan, refused where the first stream cannot fill one batch; the others go round as often as it takes."""
    first = streams[0]
    if len(first.clips) < first.batch:
        rows = f"a global batch of {first.batch}"
        if len(streams) > 1:
            rows = f"the {first.batch} rows of a global batch that are theirs"
        raise UserError(
            f"{len(first.clips)} training clips cannot fill {rows}: lower train.global_batch or pack more clips"
        )
    return Plan(tuple(streams), seed, run_length)


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


def split_validation(
    keys: Sequence[str], class_index: np.ndarray, seed: int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Split clips into (training, validation) positions, both ascending.

    In every class the clips with the lowest hash of (seed, key) validate: fraction of them, rounded, at least one
    where the class has two or more clips, never all.
    """
    hashes = np.array([zlib.crc32(key.encode()) for key in keys], dtype=np.uint64)
    order = np.lexsort((uniform(seed, 0, hashes), class_index))
    _, starts, counts = np.unique(class_index[order], return_index=True, return_counts=True)
    held = np.zeros(len(keys), dtype=bool)
    for start, count in zip(starts, counts, strict=True):
        wanted = max(round(fraction * count), 1) if fraction > 0 else 0
        held[order[start : start + min(wanted, count - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


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

    A function of the clips alone, so that a clip has the same batch mates on any number of ranks.
    """
    order = np.argsort(frames, kind="stable")
    edges = np.flatnonzero(np.diff(frames[order])) + 1
    batches = []
    for group in np.split(order, edges):
        size = max(1, samples // int(frames[group[0]])) if len(group) else 1
        batches += [group[at : at + size] for at in range(0, len(group), size)]
    return batches
