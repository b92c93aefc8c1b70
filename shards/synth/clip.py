"""One clip, from nothing but its name and the factory's seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
from scipy import fft

from shards.synth.conditions import Surroundings, operated, surroundings
from shards.synth.domains import DOMAINS, KINDS, Setting, settings
from shards.synth.faults import FAULTS, Fault
from shards.synth.hall import factory_noise, noise_height, recorded, room_response
from shards.synth.machine import Machine
from shards.synth.nominal import NOMINAL, TYPES
from shards.synth.signals import SAMPLE_RATE, Signal, amplitude, to_time
from shards.synth.sound import Streams, render_machine
from shards.synth.tolerance import running, unit_of

# At 0 dB, with 40 training and 20 + 20 test clips of 2 s per ID, the distance to the nearest training clip in mean
# log-mel spectra has a mean AUC of 0.68, 0.66, 0.66, 0.66 (seeds 0 to 3); a 41-way classifier of 0.2 M weights trained
# for 18 epochs has 0.81 to 0.85. Seed 0, 12 epochs, 16 + 16 clips: 0.57 and 0.80 at -6 dB, 0.75 and 0.84 at 6 dB.
DEFAULT_SNR_DB = 0.0
FAR_DB = -12.0  # of the machine at the reference microphone, against the near one
ROLES = ("train", "normal", "anomaly")  # train clips, normal test clips, anomalous test clips
_SOURCES = ("shaft", "tones", "flow", "hiss", "bearing", "rattle", "rub", "cycle", "clicks", "travel")
_STREAMS = ("operation", "fault", *_SOURCES, "room", "hall", "level", "gain", "damage", "far room", "far hall")
_KINDS = tuple(KINDS)


@dataclass(frozen=True)
class Clip:
    """Which clip of which factory. Without a domain it is one of DCASE 2020's, from the plain hall."""

    seed: int
    machine_type: str
    machine_id: int  # or section
    role: str
    index: int  # within the role, and the domain
    domain: str = ""
    trained: Literal["", "unnoticed", "known"] = ""  # of an anomaly: it trains as a normal clip, or as a known fault

    @property
    def filed_as(self) -> tuple[str, str]:
        """Split and label by which the set has it."""
        if self.role == "train" or self.trained:
            return "train", "anomaly" if self.trained == "known" else "normal"
        return "test", self.role

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The conditions under which it was recorded."""
        if not self.domain:
            return ()
        return settings(self.machine_type, self.machine_id, self.domain, self.index)

    def stream(self, name: str) -> np.random.Generator:
        """The generator of one part of the clip; it depends on the clip's name, the seed and the part alone."""
        role = ROLES.index(self.role) + (len(ROLES) * (1 + DOMAINS.index(self.domain)) if self.domain else 0)
        key = (self.seed, TYPES.index(self.machine_type), self.machine_id, role, self.index)
        return np.random.default_rng((*key, _STREAMS.index(name)))

    def place(self, setting: Setting) -> np.random.Generator:
        """The generator of a place, a hall or a mount: the same for all clips of the section that have this setting."""
        names = (*KINDS[setting.kind].source, *KINDS[setting.kind].target)
        key = (self.seed, TYPES.index(self.machine_type), self.machine_id, _KINDS.index(setting.kind))
        return np.random.default_rng((*key, names.index(setting.name), 0, 0))  # 7 numbers: no clip's stream


@lru_cache(maxsize=64)
def unit(seed: int, machine_type: str, machine_id: int) -> Machine:
    """The machine that carries this ID in this factory."""
    key = (seed, TYPES.index(machine_type), machine_id)
    return unit_of(NOMINAL[machine_type], np.random.default_rng(key))


def drawn_fault(clip: Clip) -> tuple[Fault, float]:
    """The fault of an anomalous clip and its severity: all faults of the type are equally likely."""
    random = clip.stream("fault")
    faults = FAULTS[clip.machine_type]
    return faults[int(random.integers(len(faults)))], float(random.uniform(0, 1))


def render(clip: Clip, duration_s: float, snr_db: float, microphones: int = 1) -> Signal:
    """(T,) the clip as its role demands; of two microphones (T, 2), near and reference."""
    return render_with(clip, drawn_fault(clip) if clip.role == "anomaly" else None, duration_s, snr_db, microphones)


def render_with(
    clip: Clip, fault: tuple[Fault, float] | None, duration_s: float, snr_db: float, microphones: int = 1
) -> Signal:
    """(T,) or (T, 2) the clip with this fault and severity, or healthy; all other draws are those of the clip.

    The near microphone of two hears what a single one does.
    """
    healthy = unit(clip.seed, clip.machine_type, clip.machine_id)
    machine = running(operated(healthy, clip.settings, clip.place), clip.stream("operation"))
    if fault is not None:
        damage, severity = fault
        machine = damage(machine, severity, clip.stream("damage"))
    samples = round(duration_s * SAMPLE_RATE)
    around = surroundings(clip.settings, clip.place)
    pressures = _pressures(machine, around, clip.stream, fft.next_fast_len(samples, real=True), snr_db)
    heard = [recorded(pressure[:samples], clip.stream("gain")) for pressure in islice(pressures, microphones)]
    return heard[0] if microphones == 1 else np.stack(heard, 1)


def _pressures(
    machine: Machine, around: Surroundings, streams: Streams, samples: int, snr_db: float
) -> Iterator[Signal]:
    """(T,) sound pressure at the near microphone, where the machine alone has an RMS of about 1; then at the reference,
    which the same sounds reach through the room in other ways, the machine's from far off."""
    sound, path = render_machine(machine, streams, samples), around.path(samples)
    noise = factory_noise(streams("hall"), samples) * noise_height(streams("level"), snr_db + around.snr_db)
    noise = noise * around.noise(samples)
    yield to_time(sound * room_response(streams("room"), samples) * path + noise, samples)
    far = np.float32(amplitude(FAR_DB)) * sound * room_response(streams("far room"), samples) * path
    yield to_time(far + noise * room_response(streams("far hall"), samples), samples)
