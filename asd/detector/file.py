"""A detector in one file: network, features, fitted scorers, thresholds and class table. It needs no training data.

The file is torch's own format with tensors and plain values only, so `torch.load(weights_only=True)` reads it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
import torch
from torch import Tensor

from asd.data.heard import Heard
from asd.data.manifest import MachineClass
from asd.detector.evidence import Learnt, Tested
from asd.detector.normals import Normals
from asd.distributed.device import Precision
from asd.errors import UserError, printable
from asd.evaluate.embed import Average
from asd.files.atomic import whole
from asd.files.safe_torch import load_plain, short
from asd.metrics.thresholds import ThresholdConfig
from asd.scorers import ScorerConfig, scorer_label
from asd.tasks.system import System
from asd.text.shell import command, option

FORMAT_VERSION: Final = 6
# 1: it does not say how its recordings were heard; up to 2, 3: other names of two and of three settings; up to 4:
# without normals, and of one microphone; up to 5: without what its card says
READ_VERSIONS = (1, 2, 3, 4, 5, 6)
FORMER_NAMES = {"turned": "flipped", "first_only": "fixed_length"}
KIND = "asd detector"
MAX_MELS = 4096  # of a filter bank, which is computed, not read: 500 MB at the longest FFT
WHAT, ADVICE = "detector file", "make one by `python eval.py export`"

Hertz = Annotated[float, pydantic.Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, pydantic.Field(gt=0, le=3600)]


class Software(pydantic.BaseModel, extra="forbid", frozen=True):
    """What made something."""

    versions: dict[str, str]
    git_commit: str | None


class Provenance(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where a detector comes from."""

    run: str
    step: int
    epoch: float
    data: str  # name of the set that it was trained on
    fingerprint: str  # of that set
    trained: Software
    exported: Software


class FittedScorer(pydantic.BaseModel, extra="forbid", frozen=True):
    """A scorer, what it knows of each class, and above which score a clip of a class is called an anomaly."""

    config: ScorerConfig
    state: dict[int, Any]  # see asd.scorers.state
    thresholds: dict[int, pydantic.FiniteFloat]  # none for a class without a normal clip to find it by
    rules: dict[int, str] = {}  # how each of these was found, in words
    doubts: dict[int, str] = {}  # what whoever uses a class's threshold should know, a sentence; none as a rule

    @property
    def label(self) -> str:
        return scorer_label(self.config)


class Calibration(pydantic.BaseModel, extra="forbid", frozen=True):
    """What `eval.py calibrate` did to a machine."""

    machine: str
    when: str  # UTC, such as 2026-05-04T12:00:00+00:00
    recordings: int  # of new normal sound
    windows: int
    kept: bool  # the former normal recordings stayed
    false_alarms: int  # recordings that were alarms and are normal
    missed: int  # recordings of faults that were not found
    by: Software


class DetectorFile(pydantic.BaseModel, extra="forbid", frozen=True, arbitrary_types_allowed=True):
    """What the file holds."""

    kind: Literal["asd detector"] = "asd detector"
    format: Literal[1, 2, 3, 4, 5, 6] = FORMAT_VERSION
    provenance: Provenance
    system: System
    weights: dict[str, Tensor]
    precision: Precision
    average: Average
    reference_weight: float | None = pydantic.Field(None, gt=0, le=10)  # of a second microphone; None: it hears one
    sample_rate: int = pydantic.Field(gt=0, le=1_000_000)
    heard: Heard | None = None  # recordings that it was trained or calibrated on; None: of an older set or version
    classes: tuple[MachineClass, ...] = pydantic.Field(min_length=1)
    added: int = pydantic.Field(default=0, ge=0)  # of the last of these the network knows nothing: calibrated
    machine_of: tuple[
        int, ...
    ] = ()  # of each finer class that the network tells apart; empty: it tells `classes` apart
    flipped: tuple[int, ...]  # classes whose scores count the other way round
    clip_s: Seconds  # length of a usual training clip: what thresholds go by, and windows of longer recordings have
    longest_s: Seconds  # clip of the set; recordings up to this are heard whole, as in evaluation
    fixed_length: bool  # the network takes exactly clip_s: of longer clips it heard the beginning (evaluate.first_s)
    scorers: tuple[FittedScorer, ...] = pydantic.Field(min_length=1)  # the first is the primary one
    threshold_rules: dict[int, ThresholdConfig] = {}  # class → what thresholds were found by; none: an older version
    normals: dict[int, Normals] = {}  # class → some of the normal recordings that its scorers were fitted to
    missed: dict[int, Normals] = {}  # class → recordings of faults that were missed, of which nothing is fitted
    ignored: dict[int, tuple[tuple[Hertz, Hertz], ...]] = {}  # class → bands that are not heard
    calibrations: tuple[Calibration, ...] = ()  # oldest first
    learnt: dict[int, Learnt] = {}  # class → normal clips that it knows; none: an older version
    tested: Tested | None = None  # by labelled test clips of the run, before any calibration

    @pydantic.field_validator("classes")
    @classmethod
    def _can_be_shown(cls, classes: tuple[MachineClass, ...]) -> tuple[MachineClass, ...]:
        if len(set(classes)) < len(classes) or not all(str(own).isprintable() for own in classes):
            raise ValueError("two classes have one name, or a name cannot be printed")
        return classes

    @pydantic.field_validator("machine_of")
    @classmethod
    def _is_of_its_machines(cls, machine_of: tuple[int, ...], info: pydantic.ValidationInfo) -> tuple[int, ...]:
        known = len(info.data.get("classes", ())) - info.data.get("added", 0)
        if machine_of and set(machine_of) != set(range(known)):
            raise ValueError("it names other machines than there are")
        return machine_of

    @pydantic.field_validator("system")
    @classmethod
    def _of_possible_size(cls, system: System) -> System:
        mel = getattr(system.frontend, "mel", system.frontend)
        if getattr(mel, "n_mels", 0) > MAX_MELS:
            raise ValueError(f"it has more than {MAX_MELS} mel bands")
        return system

    @pydantic.field_validator("longest_s")
    @classmethod
    def _is_the_longest(cls, longest_s: float, info: pydantic.ValidationInfo) -> float:
        if longest_s < info.data.get("clip_s", 0):
            raise ValueError("it is below clip_s")
        return longest_s

    @pydantic.field_validator("tested")
    @classmethod
    def _is_of_its_classes(cls, tested: Tested | None, info: pydantic.ValidationInfo) -> Tested | None:
        if tested is not None and not set(tested.without_anomaly) <= set(range(len(info.data.get("classes", ())))):
            raise ValueError("it names a class that there is not")
        return tested

    @pydantic.field_validator("added")
    @classmethod
    def _leaves_one(cls, added: int, info: pydantic.ValidationInfo) -> int:
        if added >= len(info.data.get("classes", ())):
            raise ValueError("the network knows no class")
        return added

    @property
    def learnt_classes(self) -> int:
        """Machines that the network was trained with, the first of `classes`."""
        return len(self.classes) - self.added

    def scorer(self, label: str | None = None) -> FittedScorer:
        """The scorer of a name as in scores.csv, or the primary one."""
        if label is None:
            return self.scorers[0]
        found = {scorer.label: scorer for scorer in self.scorers}
        if label not in found:
            raise UserError(f"the detector has no scorer {label}: it has {', '.join(found)}")
        return found[label]

    def normals_of(self, own: int, source: Path) -> Normals:
        """The normal recordings that the file keeps of a class. UserError where it keeps none."""
        if own not in self.normals:
            raise UserError(
                f"{source} keeps no normal recordings of {self.classes[own]}, as files before format 5 and of "
                "--normals 0: export it again"
            )
        return self.normals[own]

    def class_index(self, machine_type: str | None, machine_id: str | None) -> int:
        """The class of a machine; what is not said must not be needed to tell it."""
        fitting = [
            index
            for index, own in enumerate(self.classes)
            if machine_type in (None, own.machine_type) and machine_id in (None, own.machine_id)
        ]
        known = ", ".join(
            command(*option("--machine", own.machine_type), *option("--id", own.machine_id)) for own in self.classes
        )
        if not fitting:
            raise UserError(f"the detector has no such machine: it has {known}")
        if len(fitting) > 1:
            raise UserError(f"name the machine: {known}")
        return fitting[0]


def write_detector(path: Path, file: DetectorFile) -> None:
    """Write a detector that appears by rename, complete or not at all."""
    buffer = io.BytesIO()  # torch has words of its own for a full disk
    torch.save(_plain(file.model_dump(), {}), buffer)
    with whole(path) as handle:
        handle.write(buffer.getbuffer())


def _plain(value: Any, known: dict[bytes, Tensor]) -> Any:
    """The same value with tensors that own their memory; equal ones, such as the bank of several scorers, are one."""
    if isinstance(value, Mapping):
        return {key: _plain(inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, known) for inner in value]
    if not isinstance(value, Tensor):
        return value
    tensor = value.detach().cpu().contiguous().clone()
    digest = blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # numpy stubs before 3.12
    return known.setdefault(digest.digest(), tensor)


def read_detector(path: Path) -> DetectorFile:
    """A detector from its file. UserError where it is none, of another format version, or damaged."""
    tree = load_plain(path, WHAT, ADVICE)
    tree = tree if isinstance(tree, dict) else {}
    kind, version = tree.get("kind"), tree.get("format")
    if not isinstance(kind, str) or kind != KIND:
        raise UserError(f"{path} is no {WHAT}: {ADVICE}")
    if not isinstance(version, int) or version not in READ_VERSIONS:
        found = version if isinstance(version, int) else "?"
        raise UserError(
            f"{path} is a detector of format {found}, where formats up to {FORMAT_VERSION} are read: export it again"
        )
    if version < FORMAT_VERSION:
        tree = {FORMER_NAMES.get(name, name): value for name, value in tree.items()}
    try:
        return DetectorFile.model_validate(tree)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = printable(".".join(str(step) for step in first["loc"]))[:80]
        raise UserError(f"{path} is damaged: {where}: {short(first['msg'])}; export it again") from None
