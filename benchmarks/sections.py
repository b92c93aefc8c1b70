"""Generated parts of a page that people write: each stands between two marks and is replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from asd.errors import UserError


def replace_section(page: Path, name: str, body: str) -> None:
    """Put body between the marks of a section; UserError where the page does not have them once, in order."""
    before, _, after = _around(page, name)
    page.write_text(f"{before}\n\n{body.strip()}\n\n{after}", encoding="utf-8")


def read_section(page: Path, name: str) -> str:
    """What stands between the marks now."""
    return _around(page, name)[1]


def _around(page: Path, name: str) -> tuple[str, str, str]:
    """The page up to the first mark, what is between both, and the page from the second one."""
    text = page.read_text(encoding="utf-8")
    begin, end = (f"<!-- {word} {name}: made by a program, see the Makefile -->" for word in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{page} must hold the lines {begin!r} and {end!r} once, in this order")
    before, _, rest = text.partition(begin)
    body, _, after = rest.partition(end)
    return f"{before}{begin}", body, f"{end}{after}"
