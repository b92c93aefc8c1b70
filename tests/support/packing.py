"""Packing a corpus."""

from __future__ import annotations

from pathlib import Path

from asd.data.manifest import Manifest, load_manifest
from shards import pack, verify


def run(*arguments: object) -> None:
    assert pack.main([str(argument) for argument in arguments]) == 0


def pack_dcase(corpus: Path, out: Path, *more: object) -> Manifest:
    run("--layout", "dcase2020", "--source", corpus, "--out", out, *more)
    manifest = load_manifest(out)
    assert verify.verify(manifest) == []
    return manifest


def assert_nothing_left(out: Path) -> None:
    assert not out.exists()
    assert [path for path in out.parent.iterdir() if path.name.startswith(out.name)] == []
