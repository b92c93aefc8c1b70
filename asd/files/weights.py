"""Files of weights that a user brings: safetensors, or torch's own format read without running any code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from asd.errors import UserError
from asd.files.safe_torch import load_plain, short

SAFETENSORS = ".safetensors"


def read_weights(path: Path, what: str, advice: str) -> object:
    """What a file holds: a dict of tensors from safetensors, a tree of tensors and plain values from torch's format.

    UserError where it is missing, damaged or something else; what: what it should be; advice: how to come by one.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: {advice}")
    if path.suffix != SAFETENSORS:
        return load_plain(path, what, advice)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no {what} ({short(error)}): {advice}") from None


def read_description(path: Path, what: str, advice: str) -> dict[str, Any]:
    """The JSON object that describes the network of a file of weights. UserError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no description of a {what} ({short(error)}): {advice}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no description of a {what} (no JSON object): {advice}")
    return found
