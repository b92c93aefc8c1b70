"""Whether explanations name the band and the moment of faults that are known: docs/explain.md.

Normal clips of a synthetic factory, which the detector has not heard, are given a fault. `placed`: hiss of half an
octave, a tone, a rattle that rings in a third of an octave, 6 to 18 dB above what the machine has in that band, for a
quarter to a half of the clip. `machine`: the factory's own damage, all the time; its bands are those in which the
damaged machine differs from the same machine, undamaged, with all other draws the same, by half as much as in the band
that differs most. `--against twin` explains by the very clip without the fault in the place of the nearest kept one:
what is wrong then is not for lack of a like recording, the score rises elsewhere than the level. Counted are those of
which the detector calls the clip an anomaly, and the clip without the fault normal.

    python -m benchmarks.explain --detector detector.pt --seed 0 --faults placed
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asd.detector import Detector, read_detector
from asd.detector.explain import Explanation, explain
from asd.detector.normals import Normals
from asd.detector.picture import BANDS, band_edges, in_decibels, picture_of
from asd.detector.why import as_numbers, scoring
from asd.distributed.start import start_ranks
from asd.files.paths import user_path
from shards.synth.clip import DEFAULT_SNR_DB, Clip, render, render_with
from shards.synth.faults import FAULTS
from shards.synth.signals import SAMPLE_RATE

KINDS = ("hiss", "tone", "rattle")
LOWEST_HZ, HIGHEST_HZ = 300.0, 6000.0  # of the middles of faults
STRIKES_HZ = 25  # of a rattle, mean
FIRST_CLIP = 1000  # of the normal test clips: none that a set of the factory holds


Put = Callable[[Clip, np.ndarray, np.random.Generator], "tuple[np.ndarray, Fault]"]


@dataclass(frozen=True)
class Fault:
    """What was put into a clip, where: in these bands of the picture (M,), from begin to end."""

    kind: str
    bands: np.ndarray
    begin_s: float
    end_s: float


def span_of(random: np.random.Generator, duration_s: float) -> tuple[float, float]:
    length = float(random.uniform(0.25, 0.5)) * duration_s
    begin = float(random.uniform(0, duration_s - length))
    return begin, begin + length


def placed(clip: Clip, healthy: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, Fault]:
    """(T,) int16 with a sound whose band is known, and where it is."""
    kind, count = KINDS[int(random.integers(len(KINDS)))], len(healthy)
    middle_hz = float(np.exp(random.uniform(np.log(LOWEST_HZ), np.log(HIGHEST_HZ))))
    half = {"hiss": 2**0.25, "tone": 1.0, "rattle": 2 ** (1 / 6)}[kind]
    low, high = middle_hz / half, middle_hz * half
    begin_s, end_s = span_of(random, count / SAMPLE_RATE)
    source = random.standard_normal(count)
    if kind == "rattle":
        source *= random.uniform(size=count) < STRIKES_HZ / SAMPLE_RATE
    time_s = np.arange(count) / SAMPLE_RATE
    sound = np.sin(2 * np.pi * middle_hz * time_s) if kind == "tone" else _in_band(source, low, high)
    span = (time_s >= begin_s) & (time_s < end_s)
    own = _in_band(healthy.astype(float), low / 2 ** (1 / 12), high * 2 ** (1 / 12))
    level = own.std() * 10 ** (random.uniform(6, 18) / 20) / max(sound[span].std(), 1e-9)
    first, last = (int(np.searchsorted(borders(), hz)) - 1 for hz in (low, high))
    bands = (np.arange(BANDS) >= first) & (np.arange(BANDS) <= last)
    return _int16(healthy + level * sound * span), Fault(kind, bands, begin_s, end_s)


def machine_fault(clip: Clip, healthy: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, Fault]:
    """(T,) int16 of a damaged machine, and where it differs from itself; all the time."""
    faults = FAULTS[clip.machine_type]
    damage = faults[int(random.integers(len(faults)))]
    duration_s = len(healthy) / SAMPLE_RATE
    damaged = _int16(32767 * render_with(clip, (damage, float(random.uniform())), duration_s, DEFAULT_SNR_DB))
    levels = [in_decibels(*_flat(picture_of(x, SAMPLE_RATE))).mean(1).numpy() for x in (damaged, healthy)]
    difference = np.abs(levels[0] - levels[1])
    bands = difference >= 0.5 * difference.max()
    return damaged, Fault(damage.__name__, bands, 0.0, duration_s)


def borders() -> np.ndarray:
    """(M + 1,) Hz between the bands of a picture."""
    edges = band_edges(SAMPLE_RATE)
    return (edges[1:] + edges[:-1]) / 2


def _in_band(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * ((hertz >= low_hz) & (hertz <= high_hz)), len(samples))


def band_is_right(found: Explanation, fault: Fault) -> bool:
    """Most of the first region's bands are the fault's, each widened by a band on both sides."""
    top = found.regions[0]
    first, last = (int(np.searchsorted(borders(), hz)) for hz in (top.low_hz + 0.1, top.high_hz - 0.1))
    return bool(widened(fault.bands)[first - 1 : last].mean() > 0.5)


def widened(bands: np.ndarray) -> np.ndarray:
    return np.convolve(bands, np.ones(3), mode="same") > 0


def moment_is_right(found: Explanation, fault: Fault) -> bool:
    """The middle of the first band's moment lies in the fault's, and so does more than half of the moment."""
    top = found.regions[0]
    inside = min(top.end_s, fault.end_s) - max(top.begin_s, fault.begin_s)
    middle = (top.begin_s + top.end_s) / 2
    return fault.begin_s <= middle <= fault.end_s and inside > 0.5 * (top.end_s - top.begin_s)


def twin(healthy: np.ndarray, normals: Normals) -> Normals:
    """The clip without the fault (T,) int16 as the only normal recording."""
    picture, decibels = picture_of(healthy, SAMPLE_RATE)
    one = normals.select(torch.zeros(1, dtype=torch.int64))
    return one.model_copy(update={"pictures": picture[None], "decibels": torch.tensor([decibels])})


def tried(detector: Detector, seed: int, each: int, put: Put, by_twin: bool) -> Iterator[dict[str, Any]]:
    """What was found of each fault, against the nearest kept recording or the clip without the fault."""
    file = detector.file
    for own, machine in enumerate(file.classes):
        ours = detector.set_on(own)
        assert ours.threshold is not None
        for number in range(each):
            clip = Clip(seed, machine.machine_type, int(machine.machine_id), "normal", FIRST_CLIP + number)
            healthy = _int16(32767 * render(clip, file.clip_s, DEFAULT_SNR_DB))
            samples, fault = put(clip, healthy, clip.stream("damage"))

            score = scoring(ours)
            before, after = score(np.stack([healthy, samples]))
            row = {"machine": str(machine), "kind": fault.kind, "begin_s": fault.begin_s, "end_s": fault.end_s}
            row |= {"detected": bool(before <= ours.threshold < after), "chance": float(widened(fault.bands).mean())}
            if row["detected"]:
                normals = file.normals_of(own, detector.source)
                found = explain(samples, SAMPLE_RATE, score, twin(healthy, normals) if by_twin else normals)
                row["band"] = bool(found.regions) and band_is_right(found, fault)
                row["moment"] = bool(found.regions) and moment_is_right(found, fault)
                row["why"] = as_numbers(found)
            yield row


def _flat(found: tuple[Any, tuple[float, float]]) -> tuple[Any, float, float]:
    picture, (low, high) = found
    return picture, low, high


def _int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=user_path, required=True, help="trained on clips of the factory")
    parser.add_argument("--seed", type=int, required=True, help="of the factory")
    parser.add_argument("--faults", choices=("placed", "machine"), default="placed")
    parser.add_argument("--against", choices=("nearest", "twin"), default="nearest", help="(default nearest)")
    parser.add_argument("--each", type=int, default=4, help="faults of each machine (default 4)")
    parser.add_argument("--scorer", help="of the detector (default: the primary one)")
    args = parser.parse_args(argv)
    file, rows = read_detector(args.detector), []
    with start_ranks("fp32", 60) as ranks:
        detector = Detector.open(file, args.detector, ranks, 0, args.scorer)
        put = placed if args.faults == "placed" else machine_fault
        for row in tried(detector, args.seed, args.each, put, args.against == "twin"):
            rows.append(row)
            print(json.dumps(row), flush=True)
    heard = [row for row in rows if row["detected"]]
    right = {name: sum(row[name] for row in heard) for name in ("band", "moment")}
    chance = 100 * float(np.mean([row["chance"] for row in heard])) if heard else 0
    print(
        f"{len(heard)} of {len(rows)} faults detected; of these the first band is right for {right['band']} (by chance "
        f"{chance:.0f} %), the moment for {right['moment']}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
