"""Checkpoints are directories that appear by rename: each is complete or does not exist.

`checkpoints/step_00001200/` holds model.safetensors, averaged.safetensors (train.ema), optimizer.pt, scaler.pt (fp16),
state.json, config.yaml, meta.json, SHA256SUMS (as `sha256sum --check` takes it) and COMPLETE, which lists the size of
every other file.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError
from asd.files.atomic import discard
from asd.files.checksum import sha256_of
from asd.files.safe_torch import check_archive, short

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
STEP_NAME = re.compile(r"step_(\d{8})")
COMPLETE = "COMPLETE"
SUMS = "SHA256SUMS"


class CheckpointConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """When to save beside the evaluations, and what to keep beside the newest, the best and the unscored."""

    every_steps: pydantic.PositiveInt | None = None  # None: at the end of every epoch
    keep_last: pydantic.PositiveInt = 2  # checkpoints, the newest ones
    keep_every_steps: pydantic.PositiveInt | None = None  # also keep every N-th step for good


@dataclass(frozen=True)
class Payload:
    """What a checkpoint holds."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any] | None
    state: dict[str, Any]
    meta: dict[str, Any]
    config_yaml: str
    averaged: dict[str, Tensor] | None = None  # of train.ema: what others take in place of these tensors of the model


def step_path(root: Path, step: int) -> Path:
    return root / f"step_{step:08d}"


def save(root: Path, step: int, payload: Payload) -> Path:
    """Write a checkpoint so that it is whole or not there; a failed save leaves nothing behind.

    One that is complete is never touched: the same step of the same run holds the same state.
    """
    final = step_path(root, step)
    if is_complete(final):
        return final
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".partial_{final.name}_{os.getpid()}"
    try:
        _write_files(partial, payload)
        discard(final)  # only ever an incomplete one
        partial.rename(final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(root)
    return final


def _write_files(folder: Path, payload: Payload) -> None:
    folder.mkdir()
    for name, tensors in (("model", payload.model), ("averaged", payload.averaged)):
        if tensors is not None:
            plain = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
            save_tensors(plain, folder / f"{name}.safetensors")
    with _one_kind_of_error(folder):
        torch.save(payload.optimizer, folder / "optimizer.pt")
        if payload.scaler is not None:
            torch.save(payload.scaler, folder / "scaler.pt")
    (folder / "state.json").write_text(json.dumps(payload.state, indent=1), encoding="utf-8")
    (folder / "meta.json").write_text(json.dumps(payload.meta, indent=1), encoding="utf-8")
    (folder / "config.yaml").write_text(payload.config_yaml, encoding="utf-8")
    (folder / SUMS).write_text(
        "".join(f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir())), encoding="utf-8"
    )
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / COMPLETE).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file; OSError where it cannot be written."""
    try:
        with _one_kind_of_error(path.parent):
            save_file(tensors, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _one_kind_of_error(folder: Path) -> Iterator[None]:
    """safetensors and torch report a full disk each in its own words; both become an OSError that names the folder."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        free = shutil.disk_usage(folder).free / 2**20
        raise OSError(errno.ENOSPC, f"cannot write, {free:.0f} MiB free ({error})", str(folder)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def complete_steps(root: Path) -> list[int]:
    """Steps of all complete checkpoints, ascending; what is not complete is named on stderr and skipped."""
    steps = []
    for step in all_steps(root):
        path = step_path(root, step)
        if is_complete(path):
            steps.append(step)
        else:
            log.warning(f"checkpoint {path} is not complete: skipped")
    return steps


def all_steps(root: Path) -> list[int]:
    """Steps of all checkpoints (or evaluations) in a folder, ascending, complete or not."""
    return sorted(int(match[1]) for path in root.glob("step_*") if (match := STEP_NAME.fullmatch(path.name)))


def is_complete(folder: Path) -> bool:
    """Whether every file that COMPLETE lists is there at its full size."""
    try:
        sizes = _read_table(folder / COMPLETE)
        return all(_is_plain(folder, name) and (folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _is_plain(folder: Path, name: str) -> bool:
    """Whether a name is that of a file in the folder, and of nothing that never ends, such as a pipe."""
    return Path(name).name == name and (folder / name).is_file()


def _read_table(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ValueError where it holds something else."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "it is no file", str(path))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return found


def load(folder: Path, device: torch.device) -> Payload:
    """Read a complete checkpoint; nothing in it is executed, and it takes no more memory than its files are large.

    Raises UserError where it is damaged, or none.
    """
    model = load_weights(folder)
    scaler = folder / "scaler.pt"
    with _one_refusal(folder):
        return Payload(
            model=model,
            optimizer=_load_plain(folder / "optimizer.pt", device),
            scaler=_load_plain(scaler, torch.device("cpu")) if scaler.exists() else None,
            state=_read_table(folder / "state.json"),
            meta=_read_meta(folder / "meta.json"),
            config_yaml=(folder / "config.yaml").read_text(encoding="utf-8"),
            averaged=_load_averaged(folder),
        )


def _read_meta(path: Path) -> dict[str, Any]:
    found = _read_table(path)
    for name in ("step", "epoch", "world_size"):
        if not isinstance(found.get(name), int | float):
            raise ValueError(f"{path.name} has no number as {name}")
    classes = found.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(own, str) for own in classes):
        raise ValueError(f"{path.name} has no list of names as classes")
    return found


def load_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that training goes on with, of a complete checkpoint alone. Raises UserError as `load` does."""
    if not is_complete(folder):
        raise UserError(f"{folder} is not a complete checkpoint: choose another one")
    with _one_refusal(folder):
        _check_sums(folder)
        return load_file(folder / "model.safetensors")


def _load_averaged(folder: Path) -> dict[str, Tensor] | None:
    path = folder / "averaged.safetensors"
    return load_file(path) if path.exists() else None


def is_sound(folder: Path) -> bool:
    """Whether a checkpoint is complete and as it was saved."""
    with suppress(UserError):
        load_weights(folder)
        return True
    return False


def load_network(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and meta.json of a complete checkpoint: what it gives to others. Raises UserError as `load` does.

    The weights are the averaged ones where the run averaged them (train.ema).
    """
    weights = load_weights(folder)
    with _one_refusal(folder):
        return weights | (_load_averaged(folder) or {}), _read_meta(folder / "meta.json")


@contextmanager
def _one_refusal(folder: Path) -> Iterator[None]:
    """The many ways in which files can be damaged, as one UserError."""
    try:
        yield
    except (UserError, ValueError, RuntimeError, EOFError, SafetensorError) as error:
        raise UserError(f"{folder} cannot be read ({short(str(error).removeprefix(f'{folder}/'))})") from None


def _check_sums(folder: Path) -> None:
    """Raises ValueError for a file that is not what was saved; checkpoints from before there were sums have none."""
    sums = folder / SUMS
    for line in sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else ():
        digest, _, name = line.partition("  ")
        if not _is_plain(folder, name) or sha256_of(folder / name) != digest:
            raise ValueError(f"{name} is not what was saved: its sha256 differs")


def _load_plain(path: Path, device: torch.device) -> dict[str, Any]:
    """A table of tensors and plain values that torch saved."""
    check_archive(path, "state that torch saved", "choose another checkpoint")
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(f"{path.name} holds more than tensors and plain values") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return found
