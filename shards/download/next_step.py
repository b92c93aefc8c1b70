"""What to run once the recordings are there: the packer's command line for exactly the parts that are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asd.text.shell import command
from shards.download.corpora import GROUND_TRUTH, RECORDINGS, RECORDS

# 2026 is stereo: left the near microphone, right the reference.
MORE = {"dcase2026": ["--channel", "0,1"]}


def next_lines(corpus: str, out: Path) -> list[str]:
    """Lines to print. Evaluation clips wait for additional training clips, without which the packer refuses them."""
    parts = [part for part in (*RECORDINGS, GROUND_TRUTH) if _holds_something(out / part)]
    lines = []
    if "eval" in parts and "additional" not in parts:
        parts.remove("eval")
        lines.append("the eval recordings need their training recordings: download --part additional as well")
    if "eval" in parts and GROUND_TRUTH not in parts and GROUND_TRUTH in RECORDS[corpus]:
        lines.append(f"the eval recordings have no labels: --part {GROUND_TRUTH} downloads them")
    if any(part in parts for part in RECORDINGS):
        lines.append(f"next: {pack_command(corpus, out, parts)}")
    return lines


def pack_command(corpus: str, out: Path, parts: Sequence[str]) -> str:
    """As a shell takes it, whatever the folder is called."""
    place = out if out.name not in ("", "..") else out.resolve()
    words = [word for part in parts if part in RECORDINGS for word in ("--source", str(place / part))]
    if "eval" in parts and GROUND_TRUTH in parts:
        words += ["--ground-truth", str(place / GROUND_TRUTH)]
    packed = str(place.with_name(f"{place.name}_packed"))
    return command("python", "-m", "shards.pack", "--layout", corpus, *words, *MORE.get(corpus, []), "--out", packed)


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
