"""A trained run, opened to be scored, exported or watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asd.commands.pseudo_labels import find_clusters
from asd.config.build import embedding_cache, set_up
from asd.config.identity import EVALUATION, RESUMING, differences, in_words
from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.config.saved import saved_config
from asd.data.loader import Loader
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.evaluate.evaluator import Evaluator
from asd.evaluate.history import best_step
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from asd.run_folder.provenance import check_identity


@dataclass(frozen=True)
class Run:
    """A finished or running run, opened for evaluation."""

    folder: RunFolder
    config: RunConfig  # of the run's newest start, or of a checkpoint; the user's words over it
    words: Sequence[str] = ()

    def at(self, step: int) -> Run:
        """The same with the config that a checkpoint was trained with."""
        path = checkpoint.step_path(self.folder.checkpoints, step) / "config.yaml"
        return replace(self, config=_evaluated(path, self.words))


def load_run(root: Path, overrides: Sequence[str] = ()) -> Run:
    """Open a run folder; UserError where it is none, or where words change more than its evaluation."""
    folder = RunFolder(root)
    if (config := config_file(folder)) is None:
        raise UserError(f"{root} is not a run folder: it has no config.yaml")
    return Run(folder, _evaluated(config, overrides), overrides)


def config_file(folder: RunFolder) -> Path | None:
    """The config of a run, or where that is lost the one of its newest complete checkpoint; None where neither is."""
    if folder.config.is_file():
        return folder.config
    kept = (checkpoint.step_path(folder.checkpoints, step) for step in checkpoint.all_steps(folder.checkpoints)[::-1])
    return next((path / "config.yaml" for path in kept if checkpoint.is_complete(path)), None)


def _evaluated(path: Path, words: Sequence[str]) -> RunConfig:
    """A config of a run with words over it, which may change how it is evaluated, and nothing that it has learnt."""
    former = saved_config(path)
    config = load_config(path, words) if words else former
    if found := differences(former, config, EVALUATION):
        raise UserError(
            f"{path} has another {in_words(found)}, which no word of eval.py changes: name evaluate.…, data.shards, "
            "data.threads or distributed.precision alone"
        )
    return config


def choose_step(run: Run, wanted: str) -> int:
    """The step that `best`, `last` or a number names; UserError where there is no such complete checkpoint."""
    steps = checkpoint.complete_steps(run.folder.checkpoints)
    if not steps:
        raise UserError(f"{run.folder.root} has no complete checkpoint yet")
    if wanted == "last":
        return steps[-1]
    step = best_step(run.folder, run.config.evaluate.select) if wanted == "best" else _number(wanted)
    if step is None:
        raise UserError(f"{run.folder.root} holds no evaluation to choose the best checkpoint by: name last or a step")
    if step not in steps:
        raise UserError(f"checkpoint {wanted} (step {step}) does not exist; kept steps: {', '.join(map(str, steps))}")
    return step


def _number(text: str) -> int:
    try:
        return int(text.removeprefix("step_"))
    except ValueError:
        raise UserError(f"--checkpoint {text}: name best, last or a step") from None


class CheckpointEmbedder:
    """Embeds checkpoints of a run: its set, network and reader threads are opened once."""

    def __init__(self, run: Run, ranks: Ranks, test: bool = True) -> None:
        config = run.config
        self.run, self.ranks = run, ranks
        clusters = find_clusters(config, run.folder, ranks)
        self.setup = ranks.run_on_all(lambda: set_up(config, clusters))
        self.task = self.setup.task.to(ranks.device)
        ranks.run_on_all(lambda: run.folder.check(self.setup.identity))
        manifest, splits, untrained = self.setup.data.manifest, self.setup.data.splits, self.setup.data.untrained
        self._loader = Loader(manifest, ranks.device, config.data.threads, config.data.prefetch)
        few = splits if test else replace(splits, test=splits.test[:0])
        seed, cache = config.train.seed, embedding_cache(self.setup.config, ranks.precision)
        self._evaluator = Evaluator(config.evaluate, few, self._loader, ranks, run.folder, seed, cache, untrained)

    def embed(self, step: int, target: Path, show_progress: bool = True) -> None:
        """Embed the clips that scorers and thresholds go by, and the test clips, into target.

        Raises UserError where the checkpoint is damaged, another network's, or gone.
        """
        meta = self.ranks.run_on_all(lambda: self._load(checkpoint.step_path(self.run.folder.checkpoints, step)))
        self._evaluator.embed(self.task, step, meta["epoch"], target, show_progress and self.ranks.is_main)

    def samples(self, clip: int, both: bool = False) -> np.ndarray:
        """(T,) int16 of a clip's (near) microphone, as far as the network hears it (evaluate.first_s).

        both: with the reference microphone, (T, 2).
        """
        manifest, first_s = self._loader.manifest, self.run.config.evaluate.first_s
        length = int(manifest.frames[clip]) if first_s is None else round(first_s * manifest.sample_rate)
        near, reference = np.empty((2, 1, length), np.int16)
        self._loader.reader.read(np.array([clip]), np.zeros(1, np.int64), near, reference if both else None)
        return np.stack([near[0], reference[0]], axis=1) if both else near[0]

    def _load(self, folder: Path) -> dict[str, Any]:
        weights, meta = checkpoint.load_network(folder)
        if found := differences(saved_config(folder / "config.yaml"), self.run.config, RESUMING):
            raise UserError(f"{folder} belongs to a run with another {in_words(found)}")
        check_identity(folder / "meta.json", self.setup.identity)
        try:
            self.task.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{folder} has other weights than its meta.json states") from None
        return meta

    def close(self) -> None:
        self._loader.close()

    def __enter__(self) -> CheckpointEmbedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
