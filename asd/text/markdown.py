"""Markdown in which names are names: what a machine, a run or a file is called makes no emphasis, link or column."""

from __future__ import annotations

import re
from collections.abc import Sequence

from asd.errors import printable

# An underscore within a word is one; `<` would begin HTML.
SIGNS = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])")


def escaped(name: object) -> str:
    """A name, shown as it is."""
    return SIGNS.sub(lambda sign: f"\\{sign[0]}", printable(str(name)))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Words left-aligned in the first so many columns, numbers right-aligned in the others. Names in it: `escaped`."""
    rule = [":--" if column < words else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])
