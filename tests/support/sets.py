"""Small packed sets of synthetic recordings, written in DCASE 2020 layout and packed by the real packer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import Manifest
from shards import pack

SAMPLE_RATE = 16_000
CLASSES = (("fan", "00"), ("fan", "02"), ("pump", "00"), ("valve", "04"))
SECTIONS = tuple((machine, section) for machine in ("fan", "valve") for section in ("00", "01", "02"))


def make_set(
    folder: Path,
    classes: Sequence[tuple[str, str]] = CLASSES,
    train: int = 24,
    test: int = 4,
    seconds: float | Sequence[float] = 1.0,
    codec: str = "pcm16",
    shard_mib: int = 1,
    seed: int = 0,
    faults: int = 0,
) -> Path:
    """A packed set in folder/shards: `train` clips a class, `test` normal and as many anomalous ones, of which `faults`
    are known to training instead.

    The recordings it was made from lie in folder/recordings. seconds may differ by class.
    """
    recordings, shards = folder / "recordings", folder / "shards"
    write_recordings(recordings, classes, train, test, seconds, seed)
    for machine_type, machine_id in classes:
        for number in range(faults):
            name = f"anomaly_id_{machine_id}_{number:08d}.wav"
            (recordings / machine_type / "test" / name).rename(recordings / machine_type / "train" / name)
    words = f"--layout dcase2020 --source {recordings} --out {shards} --codec {codec} --shard-mib {shard_mib}"
    assert pack.main([*words.split(), "--seed", str(seed), "--workers", "1"]) == 0
    return shards


def make_stereo_set(folder: Path, codec: str = "pcm16", train: int = 12, test: int = 3) -> Path:
    """A packed set in folder/shards of near and reference microphone, of clips of 0.5, 0.7 and 1 s by class.

    The reference hears the machine ten times quieter, and noise. folder/recordings has the stereo recordings,
    folder/near is the set of the near microphone alone, with its clips in the same order.
    """
    recordings, rng = folder / "recordings", np.random.default_rng(5)
    write_recordings(recordings, CLASSES[:3], train, test, (0.5, 0.7, 1.0), seed=0)
    for path in sorted(recordings.rglob("*.wav")):
        near, rate = soundfile.read(path)
        far = 0.1 * near + 0.05 * rng.standard_normal(len(near))
        soundfile.write(path, np.stack([near, far], 1), rate, subtype="PCM_16")
    for out, channel in (("shards", "0,1"), ("near", "0")):
        words = f"--layout dcase2020 --source {recordings} --out {folder / out} --channel {channel} --codec {codec}"
        assert pack.main([*words.split(), "--workers", "1"]) == 0
    return folder / "shards"


def write_recordings(
    folder: Path,
    classes: Sequence[tuple[str, str]],
    train: int,
    test: int,
    seconds: float | Sequence[float],
    seed: int,
) -> None:
    """<type>/train/normal_id_<ID>_<number>.wav and <type>/test/{normal,anomaly}_id_<ID>_<number>.wav, PCM16 mono."""
    lengths = np.broadcast_to(np.asarray(seconds, dtype=float), len(classes))
    for index, ((machine_type, machine_id), length) in enumerate(zip(classes, lengths, strict=True)):
        rng = np.random.default_rng([seed, index])
        for split, condition, count in (
            ("train", "normal", train),
            ("test", "normal", test),
            ("test", "anomaly", test),
        ):
            place = folder / machine_type / split
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                sound = machine_sound(index, round(length * SAMPLE_RATE), rng, condition == "anomaly")
                name = f"{condition}_id_{machine_id}_{number:08d}.wav"
                soundfile.write(place / name, sound, SAMPLE_RATE, subtype="PCM_16")


def make_domain_set(folder: Path, source: int = 16, target: int = 3, test: int = 2, seconds: float = 0.5) -> Path:
    """A packed set in folder/shards of two machine types with three sections each, listed in a table.

    Training clips of every section: `source` of the source and `target` of the target domain (half a tone higher);
    test clips of each domain: `test` normal and as many anomalous ones.
    """
    recordings, shards = folder / "recordings", folder / "shards"
    recordings.mkdir(parents=True)
    with (recordings / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "machine_type", "machine_id", "split", "label", "domain"))
        for index, (machine, section) in enumerate(SECTIONS):
            rng = np.random.default_rng([1, index])
            for domain, train in (("source", source), ("target", target)):
                for split, label, count in (
                    ("train", "normal", train),
                    ("test", "normal", test),
                    ("test", "anomaly", test),
                ):
                    for number in range(count):
                        name = f"{machine}_{section}_{domain}_{split}_{label}_{number:02d}.wav"
                        shift = 0.25 if domain == "target" else 0.0
                        sound = machine_sound(index + shift, round(seconds * SAMPLE_RATE), rng, label == "anomaly")
                        soundfile.write(recordings / name, sound, SAMPLE_RATE, subtype="PCM_16")
                        table.writerow((name, machine, section, split, label, domain))
    words = f"--layout table --source {recordings / 'clips.csv'} --out {shards} --shard-mib 1 --seed 0 --workers 1"
    assert pack.main(words.split()) == 0
    return shards


def machine_sound(index: float, samples: int, rng: np.random.Generator, anomalous: bool) -> np.ndarray:
    """Three harmonics of a speed that tells the class, in noise; anomalies add a whistle. (samples,) in [-1, 1]."""
    time = np.arange(samples) / SAMPLE_RATE
    speed = 200 * 1.25**index * (1 + 0.01 * rng.standard_normal())
    phases = rng.uniform(0, 2 * np.pi, size=3)
    sound = sum(0.1 / k * np.sin(2 * np.pi * k * speed * time + phases[k - 1]) for k in (1, 2, 3))
    sound += 0.03 * rng.standard_normal(samples)
    if anomalous:
        sound += 0.05 * np.sin(2 * np.pi * rng.uniform(2500, 5000) * time)
    return np.clip(sound, -1, 1)


def with_recordings(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same set, its clips cut from these recordings."""
    position = manifest.table.schema.get_field_index("recording")
    column = manifest.table.set_column(position, CLIPS_SCHEMA.field("recording"), pa.array(names, pa.string()))
    return replace(manifest, table=column)
