"""Corpus layouts: from folders, or a list, to clip rows. The table of layouts stands in docs/data.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from asd.errors import UserError
from shards.layouts import dcase2020, dcase2021, dcase2022, mimii
from shards.layouts.clip import Choices, Corpus, check_repeated_keys
from shards.layouts.folders import FolderLayout, MisfitError
from shards.layouts.table import read_tables

LAYOUTS: dict[str, Callable[[Sequence[Path], Choices], Corpus]] = {
    "dcase2020": FolderLayout(dcase2020.read),
    "dcase2021": FolderLayout(dcase2021.read),
    "dcase2022": FolderLayout(dcase2022.read, dcase2022.arrange),
    "dcase2023": FolderLayout(dcase2022.read, dcase2022.arrange),
    "dcase2024": FolderLayout(dcase2022.read, dcase2022.arrange),
    "dcase2025": FolderLayout(dcase2022.read_2025, dcase2022.arrange),
    "dcase2026": FolderLayout(dcase2022.read, dcase2022.arrange),
    "mimii": FolderLayout(mimii.read, mimii.draw_test),
    "table": read_tables,
}


def find_clips(layout: str, sources: Sequence[Path], choices: Choices | None = None) -> Corpus:
    """The clips of all sources. Raises UserError where names or places do not fit the layout, or a clip comes twice."""
    try:
        corpus = LAYOUTS[layout](sources, choices or Choices())
    except MisfitError as error:
        raise UserError(f"{error}{_hint(error.paths)}") from None
    if not corpus.clips:
        raise UserError(f"none of the recordings is for training or test: {' '.join(corpus.remarks)}")
    check_repeated_keys(corpus.clips)
    return corpus


def _hint(paths: Sequence[Path]) -> str:
    """The layouts that all of these files fit, to be said after what they do not fit."""
    names = [
        name for name, layout in LAYOUTS.items() if isinstance(layout, FolderLayout) and all(map(layout.fits, paths))
    ]
    if not names:
        return "; recordings of no known layout can be described in a csv: --layout table"
    return f"; they fit --layout {' or '.join(names)}{', by their year' if len(names) > 1 else ''}"
