"""Paths given by users, and checks that an output overwrites no input."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pydantic

from asd.errors import UserError


def user_path(text: str) -> Path:
    """The path that a person means: `~` is a home folder, also where no shell saw it. UserError where there is none."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: there is no such user; for a folder of that name write ./{text}") from None


def user_path_text(text: str) -> str:
    """The same of a setting, which may also be an address."""
    return str(user_path(text)) if text.startswith("~") else text


PathText = Annotated[str, pydantic.AfterValidator(user_path_text)]  # a setting that names a file or folder


def path_text(path: Path) -> str:
    """A path for a file that is UTF-8, also where the locale would write names otherwise."""
    return os.fsencode(path).decode(errors="surrogateescape")


def real_path(path: Path) -> Path:
    """Without links; one that leads round in a circle, where `resolve` raises, stays: to open it says what it is."""
    return Path(os.path.realpath(path))


def check_special(what: str, out: Path) -> None:
    """UserError where an output has the name of a pipe or device, as /dev/stdout: a rename would take its place."""
    if out.exists() and not (out.is_file() or out.is_dir()):
        raise UserError(f"{what} {out} is a pipe or device: name another path")


def check_writable(what: str, folder: Path) -> None:
    """UserError where no file can be made in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{what}: nothing can be written in {folder}: make it writable, or name another")


def check_over(option: str, out: Path, inputs: Iterable[Path]) -> None:
    """UserError where an output is a pipe, device, one of the files or folders that are read, or a folder above one."""
    check_special(option, out)
    out = real_path(out)
    for folder, given in {path.parent: path for path in inputs}.items():  # of many files, few lie in other folders
        if out.is_dir() and out in (real_path(folder), *real_path(folder).parents):
            raise UserError(f"{option} {out} contains the input {given}: name another path")
    for path in inputs:
        if path.name == out.name and real_path(path) == out:
            raise UserError(f"{option} {out} is an input: name another path")


def check_within(option: str, out: Path, folders: Iterable[Path]) -> None:
    """UserError where an output would become a part of a folder that is read."""
    for folder in folders:
        if real_path(folder) in (real_path(out), *real_path(out).parents):
            raise UserError(f"{option} {out} lies in the input folder {folder}: name another path")
