"""Words of a command line, to run or to paste."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

NO_OPTION = re.compile(r"-\d")  # which a command line takes for a value


# ---- writing -------------------------------------------------------------------------------------------------------


def write_word(key: str, value: str | Sequence[str]) -> str:
    """`key=value` of a text or a list of texts, as `load_config` reads it back."""
    if isinstance(value, str):
        return f"{key}={value}"
    return f"{key}=[{', '.join(_quoted(item) for item in value)}]"


def _quoted(item: str) -> str:
    """An item of a yaml list, in quotes where it needs them."""
    if re.fullmatch(r"\w[\w.-]*", item):
        return item
    return re.sub(r"[^ -~\w]", lambda sign: f"\\U{ord(sign[0]):08x}", json.dumps(item, ensure_ascii=False))


def option(name: str, value: object) -> list[str]:
    """An option and its value on a command line, where the value may begin with a dash."""
    dashed = str(value).startswith("-") and not NO_OPTION.match(str(value))
    return [f"{name}={value}"] if dashed else [name, str(value)]


def command(*words: object) -> str:
    """A command to paste: a shell takes it apart into just these words."""
    return shlex.join(map(str, words))
