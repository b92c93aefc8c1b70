"""The layouts of DCASE 2020, 2021, 2022 and 2026 Task 2: which machines there are, in which folders, by which names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shards.synth.clip import Clip
from shards.synth.domains import attributes, free_text

MACHINE_IDS_2020: dict[str, tuple[int, ...]] = {
    "ToyCar": tuple(range(1, 8)),
    "ToyConveyor": tuple(range(1, 7)),
    **{machine_type: tuple(range(7)) for machine_type in ("fan", "pump", "slider", "valve")},
}
TYPES_2021 = ("ToyCar", "ToyTrain", "fan", "gearbox", "pump", "slider", "valve")
TYPES_2022 = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
TYPES_2026 = ("ToyCar", "bearing", "fan", "gearbox", "slider", "valve")
MIN_TARGET_CLIPS = 3


@dataclass(frozen=True)
class Layout:
    """One year's layout."""

    machine_types: tuple[str, ...]
    path: Callable[[Clip], str]  # of a clip, below the root of the set
    target_share: float | None  # of the training clips; None: the year knows no domains
    has_attributes: bool  # whether attributes_SS.csv lie beside the clips
    num_sections: int = 3  # of every machine type, where nothing else is said
    microphones: int = 1

    def machine_ids(self, num_sections: int) -> dict[str, tuple[int, ...]]:
        """The IDs or sections of every machine type."""
        if self.target_share is None:
            return MACHINE_IDS_2020
        return {machine_type: tuple(range(num_sections)) for machine_type in self.machine_types}

    def target_clips(self, train_clips: int) -> int:
        """How many of the training clips of a section are of the target domain: the year's share, but some."""
        return 0 if self.target_share is None else max(MIN_TARGET_CLIPS, round(self.target_share * train_clips))


def path_2020(clip: Clip) -> str:
    split, label = clip.filed_as
    return f"{clip.machine_type}/{split}/{label}_id_{clip.machine_id:02d}_{clip.index:08d}.wav"


def path_2021(clip: Clip) -> str:
    """Test clips of either domain have a folder of their own, and names that say nothing of the conditions."""
    if clip.filed_as[0] == "train":
        text = free_text(clip.machine_type, clip.settings)
        return f"{clip.machine_type}/train/{_section_name(clip)}_{text}.wav"
    return f"{clip.machine_type}/{clip.domain}_test/{_section_name(clip)}.wav"


def path_2022(clip: Clip) -> str:
    split, _ = clip.filed_as
    pairs = "_".join(f"{key}_{value}" for key, value in attributes(clip.settings))
    return f"{clip.machine_type}/{split}/{_section_name(clip)}_{pairs}.wav"


def _section_name(clip: Clip) -> str:
    split, label = clip.filed_as
    return f"section_{clip.machine_id:02d}_{clip.domain}_{split}_{label}_{clip.index:04d}"


LAYOUTS = {
    "dcase2020": Layout(tuple(MACHINE_IDS_2020), path_2020, target_share=None, has_attributes=False),
    "dcase2021": Layout(TYPES_2021, path_2021, target_share=3 / 1003, has_attributes=False),
    "dcase2022": Layout(TYPES_2022, path_2022, target_share=10 / 1000, has_attributes=True),
    "dcase2026": Layout(
        TYPES_2026, path_2022, target_share=10 / 1000, has_attributes=True, num_sections=1, microphones=2
    ),
}
