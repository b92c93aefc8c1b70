"""One clip, from nothing but its name and the factory's seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from shards.synth.faults import FAULTS, Fault
from shards.synth.hall import factory_noise, noise_height, recorded, room_response
from shards.synth.machine import Machine
from shards.synth.nominal import NOMINAL
from shards.synth.signals import SAMPLE_RATE, Signal, to_time
from shards.synth.sound import Streams, render_machine
from shards.synth.tolerance import running, unit_of

# At 0 dB, with 40 training and 20 + 20 test clips of 2 s per ID, the distance to the nearest training clip in mean
# log-mel spectra has a mean AUC of 0.68, 0.66, 0.66, 0.66 (seeds 0 to 3); a 41-way classifier of 0.2 M weights trained
# for 18 epochs has 0.81 to 0.85. Seed 0, 12 epochs, 16 + 16 clips: 0.57 and 0.80 at -6 dB, 0.75 and 0.84 at 6 dB.
DEFAULT_SNR_DB = 0.0
KINDS = ("train", "normal", "anomaly")  # train clips, normal test clips, anomalous test clips
MACHINE_IDS: dict[str, tuple[int, ...]] = {
    "ToyCar": tuple(range(1, 8)),
    "ToyConveyor": tuple(range(1, 7)),
    **{machine_type: tuple(range(7)) for machine_type in ("fan", "pump", "slider", "valve")},
}
_TYPES = tuple(MACHINE_IDS)
_SOURCES = ("shaft", "tones", "flow", "hiss", "bearing", "rattle", "rub", "cycle", "clicks", "travel")
_STREAMS = ("operation", "fault", *_SOURCES, "room", "hall", "level", "gain", "damage")


@dataclass(frozen=True)
class Clip:
    """Which clip of which factory."""

    seed: int
    machine_type: str
    machine_id: int
    kind: str
    index: int

    @property
    def path(self) -> str:
        """Where DCASE 2020 keeps it, below the root of the set."""
        split, label = ("train", "normal") if self.kind == "train" else ("test", self.kind)
        return f"{self.machine_type}/{split}/{label}_id_{self.machine_id:02d}_{self.index:08d}.wav"

    def stream(self, name: str) -> np.random.Generator:
        """The generator of one part of the clip; it depends on the clip's name, the seed and the part alone."""
        key = (self.seed, _TYPES.index(self.machine_type), self.machine_id, KINDS.index(self.kind), self.index)
        return np.random.default_rng((*key, _STREAMS.index(name)))


@lru_cache(maxsize=64)
def unit(seed: int, machine_type: str, machine_id: int) -> Machine:
    """The machine that carries this ID in this factory."""
    key = (seed, _TYPES.index(machine_type), machine_id)
    return unit_of(NOMINAL[machine_type], np.random.default_rng(key))


def drawn_fault(clip: Clip) -> tuple[Fault, float]:
    """The fault of an anomalous clip and its severity: all faults of the type are equally likely."""
    random = clip.stream("fault")
    faults = FAULTS[clip.machine_type]
    return faults[int(random.integers(len(faults)))], float(random.uniform(0, 1))


def render(clip: Clip, duration_s: float, snr_db: float) -> Signal:
    """(T,) the clip as its kind demands."""
    return render_with(clip, drawn_fault(clip) if clip.kind == "anomaly" else None, duration_s, snr_db)


def render_with(clip: Clip, fault: tuple[Fault, float] | None, duration_s: float, snr_db: float) -> Signal:
    """(T,) the clip with this fault and severity, or healthy; all other draws are those of the clip."""
    machine = running(unit(clip.seed, clip.machine_type, clip.machine_id), clip.stream("operation"))
    if fault is not None:
        damage, severity = fault
        machine = damage(machine, severity, clip.stream("damage"))
    samples = round(duration_s * SAMPLE_RATE)
    pressure = _pressure(machine, clip.stream, fft.next_fast_len(samples, real=True), snr_db)
    return recorded(pressure[:samples], clip.stream("gain"))


def _pressure(machine: Machine, streams: Streams, samples: int, snr_db: float) -> Signal:
    """(T,) sound pressure at the microphone; the machine alone has an RMS of about 1."""
    sound = render_machine(machine, streams, samples) * room_response(streams("room"), samples)
    noise = factory_noise(streams("hall"), samples) * noise_height(streams("level"), snr_db)
    return to_time(sound + noise, samples)
