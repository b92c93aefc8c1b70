"""The runs of a sweep."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.config.load import dump_yaml, load_config
from asd.config.run import RunConfig
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.process.logs import form
from asd.text.shell import write_word

ENTRY = Path(__file__).resolve().parents[2] / "train_ddp.py"
DONE_FILE = "DONE"

Former = Callable[[str, int, str | None], str]  # (config, seed, machine type) → the run to start from


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    name: str  # of the config
    seed: int
    path: Path
    config: RunConfig
    words: tuple[str, ...]  # overrides that make the config
    part: str | None = None  # machine type, where each has a run of its own

    @property
    def label(self) -> str:
        """Names the run beside the others of its sweep."""
        return " ".join([self.name, f"seed {self.seed}", *([self.part] if self.part else [])])

    @property
    def folder(self) -> Path:
        return Path(self.config.run.dir)

    @property
    def done(self) -> bool:
        return self._mark.is_file()

    @property
    def seconds(self) -> float | None:
        """How long the run took, all in all; None before it is done."""
        return json.loads(self._mark.read_text(encoding="utf-8") or "{}").get("seconds") if self.done else None

    def mark_done(self, seconds: float) -> None:
        write_whole(self._mark, json.dumps({"seconds": round(seconds, 1)}))

    def command(self, ranks: int) -> list[str]:
        """What trains it, on one machine."""
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        words = [*(launcher if ranks > 1 else [sys.executable]), str(ENTRY), "--config", str(self.path), *self.words]
        return [*words, *(["--log-format", "json"] if form() == "json" else [])]

    @property
    def _mark(self) -> Path:
        return self.folder / DONE_FILE


def job_of(
    path: Path, seed: int, part: str | None, overrides: Sequence[str], out: Path, former: Former | None = None
) -> Job:
    """The run of a config with words over it. Its folder is named by a digest of all settings, so that a changed config
    never goes on from another one's checkpoints."""
    words = [*overrides, f"train.seed={seed}", *([write_word("data.machine_types", [part])] if part else [])]
    words += [] if former is None else [f"init_from={former(path.stem, seed, part)}"]
    digest = hashlib.sha256(dump_yaml(load_config(path, words)).encode()).hexdigest()
    words.append(f"run.dir={out / path.stem}/seed_{seed}_{part or 'all'}_{digest[:8]}")
    config = load_config(path, words)
    if config.evaluate.by_watcher:
        raise UserError(f"{path}: a sweep waits for the scores of its runs: leave evaluate.by_watcher=true out")
    return Job(path.stem, seed, path, config, tuple(words), part)
