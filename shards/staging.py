"""A folder that appears whole or not at all: everything is written beside it and renamed into place at the end."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asd.data.manifest import MANIFEST_FILE
from asd.errors import UserError
from asd.files.atomic import naming
from asd.files.locks import Lock, lock, warn_of_no_locks

LOCK_FILE = ".lock"


def check_out(out: Path, overwrite: bool) -> None:
    """Raises UserError where `out` holds something that may not be replaced; puts back what a killed run set aside."""
    _recover(out)
    check_taken(out, overwrite)


def check_taken(out: Path, overwrite: bool) -> None:
    """Raises UserError where `out` already holds something that may not be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST_FILE).is_file():
        raise UserError(f"--out {out} exists and is not a packed set: choose another name, or remove it yourself")
    if not overwrite:
        raise UserError(f"--out {out} already holds a packed set: choose another name, or add --overwrite")


@contextmanager
def staged(out: Path, refuse: Callable[[], None]) -> Iterator[Path]:
    """A new folder beside `out` that becomes `out` when the block ends well and vanishes when it does not.

    A set that is already there is replaced only then. Folders left by killed runs are removed first.
    `refuse` raises where `out` may not be replaced; it is asked first, and again once the block is done.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(out)
    refuse()
    folder = out.with_name(f"{out.name}.partial-{secrets.token_hex(4)}")
    folder.mkdir()
    try:
        with naming(out), (folder / LOCK_FILE).open("wb") as file:
            if lock(file.fileno()) == "none":
                warn_of_no_locks(out.parent, "writers of one folder")
            yield folder
            refuse()  # again: another run may have finished a set in the meantime
            _replace(folder, out)  # under the lock: no other run takes the finished folder for a dead one
        (out / LOCK_FILE).unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, out: Path) -> None:
    """Rename folder to out; a set in its place steps aside first, under a name that `_recover` knows."""
    aside = out.with_name(f"{out.name}.replaced-{secrets.token_hex(4)}")
    if out.exists() and any(out.iterdir()):
        out.rename(aside)
    folder.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


def _recover(out: Path) -> None:
    """Undo or finish a replacement that was killed between its two renames."""
    for aside in sorted(out.parent.glob(f"{glob.escape(out.name)}.replaced-*")):
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(out)
            print(f"restored {out}, which a killed run had set aside", file=sys.stderr)


def _remove_stale(out: Path) -> None:
    for folder in sorted(out.parent.glob(f"{glob.escape(out.name)}.partial-*")):
        held = _lock_of(folder)
        if held == "another's":
            raise UserError(f"another run is writing {out} just now ({folder.name}): wait for it, or stop it")
        if held == "none":
            raise UserError(
                f"{folder} is there, and the file system has no locks to tell whether another run is writing it: "
                "remove it yourself where none is, or choose another name"
            )
        shutil.rmtree(folder, ignore_errors=True)
        print(f"removed {folder}, which an interrupted run had left", file=sys.stderr)


def _lock_of(folder: Path) -> Lock:
    """Another's where the run that made the folder still lives: the lock goes with the process, however it ended."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return "ours"
    try:
        return lock(descriptor, wait=False)
    finally:
        os.close(descriptor)
