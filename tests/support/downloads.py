"""Downloads from a server of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.errors import UserError
from shards.download import __main__ as download
from shards.download.corpora import RECORDS
from tests.support.zenodo import Stored, Zenodo

DEV, ADDITIONAL, EVAL, TRUTH = RECORDS["dcase2020"].values()


FILE = "dev_data_fan.zip"


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def run(zenodo: Zenodo, out: Path, *more: str, corpus: str = "dcase2020", parts: tuple[str, ...] = ("dev",)) -> None:
    chosen = [word for part in parts for word in ("--part", part)]
    assert download.main([corpus, "--out", str(out), "--url", zenodo.url, *chosen, *more]) == 0


def refused(zenodo: Zenodo, out: Path, *more: str, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        run(zenodo, out, *more, **options)
    return str(error.value)


def files_in(folder: Path) -> list[str]:
    """Every file that is not this command's own note or lock."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    return sorted(str(path) for path in found if not path.name.startswith("."))


def assert_whole(out: Path) -> None:
    assert files_in(out) == ["dev/fan/test/b.wav", "dev/fan/train/a.wav"]
    assert (out / "dev/fan/train/a.wav").read_bytes() == noise(150_000)
    assert (out / "dev/fan/test/b.wav").read_bytes() == noise(50_000, 1)


def part_of(out: Path, stored: Stored, content: bytes) -> Path:
    """A beginning that an earlier run left."""
    path = out / "archives" / "dev" / f"{FILE}.{stored.md5[:8]}.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path
