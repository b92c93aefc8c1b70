"""The files of an evaluation: embeddings and how to score them, then scores, decisions and a report.

Light to import: training looks here at what the scoring process, another one, has done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pydantic
import torch
from safetensors.torch import load_file

from asd.data.manifest import Manifest, load_manifest
from asd.data.recordings import left_out_with
from asd.data.subset import restrict
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.metrics.thresholds import GammaConfig, ThresholdConfig
from asd.report import REPORT_FILE, Validation
from asd.run_folder.checkpoint import save_tensors
from asd.scorers import EmbeddingTable, ScorerConfig
from asd.scorers.embeddings import View
from asd.scorers.residuals import ResidualMoments

EMBEDDINGS_FILE = "embeddings.safetensors"
CALIBRATION_FILE = "calibration.csv"
EVALUATION_FILE = "evaluation.json"
FAULTS = "known_faults"  # begins the names of their tensors


class Evaluation(pydantic.BaseModel, extra="forbid", frozen=True):
    """evaluation.json: what was embedded and how it is to be scored."""

    format: Literal[1] = 1
    run: str
    run_folder: str = ""  # as training, or eval.py, was given it
    step: int
    epoch: float
    checkpoint: str
    shards: str
    fingerprint: str
    machine_types: tuple[str, ...] = ()  # what the run was restricted to
    machine_ids: tuple[str, ...] = ()
    select: str
    scorers: tuple[ScorerConfig, ...]
    flip: tuple[str, ...] = ()  # classes whose scores are inverted
    threshold: ThresholdConfig = GammaConfig()
    validation: Validation | None
    fit_clips: int
    fit_held_out: bool = False  # they are held-out ones, too
    untrained: str | None = None  # why nothing was trained, where the config would have trained
    unreadable_clips: int
    views: dict[str, View] = {}  # parts of the embedding: first column, the one behind the last, bands
    logit_scale: float | None = None  # logits are this times the cosine to a class centre; None: they are no cosines
    embed_s: float


def write_embeddings(
    folder: Path, evaluation: Evaluation, fit: EmbeddingTable, validation: EmbeddingTable, test: EmbeddingTable
) -> None:
    """Write everything that scoring needs; evaluation.json is written last and marks the folder as ready."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (REPORT_FILE, EVALUATION_FILE):
        (folder / stale).unlink(missing_ok=True)
    parts = {"fit": fit, "validation": validation, "test": test}
    parts |= {} if fit.known_faults is None else {FAULTS: fit.known_faults}
    tensors = {name: tensor for part, clips in parts.items() for name, tensor in clips.to_tensors(part).items()}
    tensors |= fit.residuals.to_tensors() if fit.residuals is not None else {}
    save_tensors(tensors, folder / EMBEDDINGS_FILE)
    write_whole(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=1))


def read_evaluation(folder: Path) -> Evaluation | None:
    """What was embedded there, None where the embedding did not finish."""
    try:
        return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None


def remove_evaluation(folder: Path) -> None:
    """Remove the folder of an evaluation; what a kill leaves of it is no evaluation any more."""
    (folder / EVALUATION_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def read_embeddings(
    folder: Path, shards: Path | None = None
) -> tuple[Evaluation, Manifest, EmbeddingTable, EmbeddingTable, EmbeddingTable]:
    """What `write_embeddings` wrote, with the set that it is of.

    shards: where that set, or the cache of it, lies on this machine; None: the folder that evaluation.json names.
    """
    evaluation = read_evaluation(folder)
    if evaluation is None:
        raise UserError(f"{folder} holds no {EVALUATION_FILE}: embed the checkpoint first")
    here = shards or Path(evaluation.shards)
    manifest = restrict(load_manifest(here), evaluation.machine_types, evaluation.machine_ids)
    if manifest.fingerprint != evaluation.fingerprint:
        raise UserError(f"{here} is another data set than the one that {folder} was embedded from")
    tensors = load_file(folder / EMBEDDINGS_FILE)
    fit, validation, test = (
        EmbeddingTable.from_tensors(tensors, name, evaluation.views) for name in ("fit", "validation", "test")
    )
    faults = (
        EmbeddingTable.from_tensors(tensors, FAULTS, evaluation.views) if f"{FAULTS}.clip_index" in tensors else None
    )
    fit = replace(fit, residuals=ResidualMoments.from_tensors(tensors), known_faults=faults)
    fit, validation = in_recordings(manifest, fit, validation)
    return evaluation, manifest, fit, replace(validation, held_out=torch.ones_like(validation.clip_index)), test


def in_recordings(manifest: Manifest, *parts: EmbeddingTable) -> Iterator[EmbeddingTable]:
    """The same training clips, each to be left out with all clips of its recording."""
    recording = torch.from_numpy(left_out_with(manifest))
    for part in parts:
        yield replace(part, recording=recording[part.clip_index])


def check_foreign(out: Path, ours: str) -> None:
    """Refuse, before any work, to write over what is no evaluation."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    left = {EMBEDDINGS_FILE}  # by a command that was killed
    if out.is_dir() and not (out / ours).is_file() and any(path.name not in left for path in out.iterdir()):
        raise UserError(f"--out {out} holds other files: name a new or empty folder")
