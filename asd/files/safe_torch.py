"""Files of torch's own format from anybody: reading one runs no code, writes nothing, and takes no more memory than the
file is large, whatever it says of itself."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from asd.errors import UserError, printable

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8)


def load_plain(path: Path, what: str, advice: str) -> object:
    """Tensors on the CPU, mapped from the file, and plain Python values in dicts, lists and tuples.

    UserError where the file is no such archive or damaged; what: what it should be; advice: how to come by one.
    """
    check_archive(path, what, advice)
    try:
        tree: object = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # what a hostile pickle makes the unpickler raise may be anything
        raise UserError(f"{path} is no {what} ({short(error)}): {advice}") from None
    if problem := next(filter(None, map(_strange, _inside(tree))), None):
        raise UserError(f"{path} is no {what} (it holds {problem}): {advice}")
    return tree


def check_archive(path: Path, what: str, advice: str) -> None:
    """torch trusts an archive's own words on sizes and does not look at checksums: this does both. Raises UserError."""
    if path.exists() and not path.is_file():  # to read a pipe would wait for its writer, a device may have no end
        raise UserError(f"{path} is no {what} but a folder, pipe or device: {advice}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(e.compress_type == zipfile.ZIP_STORED and e.file_size == e.compress_size for e in entries)
            if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise UserError(f"{path} is no {what} (it is not stored as torch does it): {advice}")
            damaged = archive.testzip()
    except (OSError, UserError):
        raise
    except Exception as error:  # zipfile raises half a dozen kinds
        raise UserError(f"{path} is no {what}, or only a part of one ({short(error)}): {advice}") from None
    if damaged is not None:
        raise UserError(f"{path} is damaged (checksum of {printable(damaged)[:80]}): copy it again")


def _inside(tree: object) -> list[object]:
    """All values that a tree of dicts, lists and tuples holds, each one once, however often it is referred to."""
    found: dict[int, object] = {}
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
    return list(found.values())


def _strange(value: object) -> str | None:
    """What is wrong with a value of a file; a tensor must lie in the file as it is, one number behind the other."""
    if type(value) is Tensor:
        plain = value.layout == torch.strided and value.device.type == "cpu" and value.dtype in DTYPES
        return None if plain and value.is_contiguous() else "a tensor that is not plain"
    if value is None or isinstance(value, bool | int | float | str | dict | list | tuple):
        return None
    return f"a {printable(type(value).__name__)}"


def short(error: object) -> str:
    """The first line of what a library said."""
    return printable(next(iter(str(error).splitlines()), "") or type(error).__name__)[:120].rstrip(".: ")
