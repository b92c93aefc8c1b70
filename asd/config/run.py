"""The settings of a run: the parts' own config classes in one tree."""

from __future__ import annotations

import difflib
from typing import Literal

import pydantic

from asd.data.config import DataConfig
from asd.distributed.config import DistributedConfig
from asd.evaluate.config import EvaluateConfig
from asd.files.paths import PathText
from asd.loggers import LoggingConfig
from asd.monitor.config import MonitorConfig
from asd.optim.config import OptimConfig
from asd.run_folder.checkpoint import CheckpointConfig
from asd.scorers import reads, reads_all_of_the_embedding, views
from asd.tasks.model import ModelConfig
from asd.tasks.system import System
from asd.train.config import TrainConfig


class RunSection(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where a run lives."""

    dir: PathText = ""  # empty: runs/<name of the config file>


class RunConfig(System, frozen=True):
    """One system, whole."""

    run: RunSection = RunSection()
    data: DataConfig
    model: ModelConfig = ModelConfig()
    optim: OptimConfig | None = None  # required where the task trains
    train: TrainConfig = TrainConfig()
    distributed: DistributedConfig = DistributedConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    monitor: MonitorConfig = MonitorConfig()
    logging: LoggingConfig = LoggingConfig()
    init_from: PathText | None = None  # a run, checkpoint folder or published file whose weights training starts from
    init_checkpoint: Literal["best", "last"] = "best"  # of that run: best by its own evaluate.select, or the newest
    resume: Literal["auto", "never"] = "auto"  # never: the run folder must hold no checkpoint
    debug: bool = False  # a few clips of everything, from the first step to the report, in a folder of its own

    @pydantic.model_validator(mode="after")
    def _length_and_optimiser_of_what_trains(self) -> RunConfig:
        lengths = [self.train.epochs, self.train.steps]
        if not self.task.trains:
            if lengths != [None, None] or self.optim is not None:
                what = "optim" if self.optim is not None else "train.epochs and train.steps"
                raise ValueError(f"task {self.task.name} trains nothing: leave {what} out")
            if self.train.ema is not None:
                raise ValueError(f"task {self.task.name} has no trainable weights: leave train.ema out")
            return self
        if self.optim is None:
            raise ValueError("optim is missing")
        if lengths.count(None) != 1:
            raise ValueError("give train.epochs or train.steps, one of the two (set the other to null)")
        return self

    @pydantic.model_validator(mode="after")
    def _kept_embeddings_stay_true(self) -> RunConfig:
        if self.evaluate.cache_dir is not None and self.task.trains:
            raise ValueError(
                f"evaluate.cache_dir keeps embeddings of what is not trained, task {self.task.name} is: leave it out"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _selection_has_something_to_select_by(self) -> RunConfig:
        if self.evaluate.select != "clean":
            return self
        if not self.task.has_clip_loss:
            raise ValueError(
                f"task {self.task.name} has no loss of held-out clips: set evaluate.select=last (or oracle)"
            )
        if self.data.val_fraction == 0:
            raise ValueError("evaluate.select=clean needs data.val_fraction above 0, or choose evaluate.select=oracle")
        return self

    @pydantic.model_validator(mode="after")
    def _scorers_read_what_the_task_gives(self) -> RunConfig:
        given = self.task.gives()
        for scorer in self.evaluate.scorers:
            if unknown := sorted(reads(scorer) - given):
                fitting = "knn, mahalanobis" + (", reconstruction" if "errors" in given else "")
                raise ValueError(
                    f"evaluate.scorers: {scorer.name} reads {unknown[0]}, which task {self.task.name} does not give: "
                    f"name others, such as {fitting}"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _scorers_read_views_that_there_are(self) -> RunConfig:
        known = self.view_names()
        for scorer in self.evaluate.scorers:
            if self.statistics is not None and reads_all_of_the_embedding(scorer):
                raise ValueError(
                    f"evaluate.scorers: {scorer.name} reads the network's embedding and the statistics beside it as "
                    "one: give it a view, such as network or mean_std"
                )
            if unknown := sorted(views(scorer) - set(known)):
                near = difflib.get_close_matches(unknown[0], known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
                raise ValueError(f"evaluate.scorers: {scorer.name} reads view {unknown[0]} of the backbone: {hint}")
        return self

    @pydantic.model_validator(mode="after")
    def _streams_fit_the_task(self) -> RunConfig:
        streams, name = self.data.streams, self.task.name
        if streams.target not in self.task.target_streams:
            allowed = " or ".join(self.task.target_streams)
            raise ValueError(f"data.streams.target={streams.target} does not fit task {name}: set it to {allowed}")
        if streams.outliers != "none" and not self.task.may_have_outliers:
            raise ValueError(f"task {name} has no use for outliers: set data.streams.outliers=none")
        if streams.fault_rows and not self.task.may_have_faults:
            raise ValueError(f"task {name} does not learn from known faults: use outlier_exposure, or fault_rows=0")
        if streams.target == "pairs" and self.train.global_batch % 2:
            raise ValueError(
                f"data.streams.target=pairs needs an even train.global_batch, not {self.train.global_batch}"
            )
        shares = streams.shares(self.train.global_batch)
        if (own := shares["own"] - streams.fault_rows) < 1:
            batch = self.train.global_batch
            raise ValueError(f"data.streams leaves the machines' own clips {own} of {batch} rows of a batch")
        if len(shares) > 1 and self.mixup is not None:
            raise ValueError("mixup and data.streams cannot be combined: leave one of them out")
        if len(shares) > 1 and self.train.accumulate > 1:
            raise ValueError("train.accumulate and data.streams cannot be combined: set train.accumulate=1")
        return self

    @pydantic.model_validator(mode="after")
    def _pseudo_labels_are_learnt(self) -> RunConfig:
        if self.data.pseudo_labels is not None and not self.task.is_classifier:
            raise ValueError(f"task {self.task.name} tells no classes apart: leave data.pseudo_labels out")
        return self

    @pydantic.model_validator(mode="after")
    def _parts_of_a_batch_suffice(self) -> RunConfig:
        if self.train.accumulate > 1 and self.task.needs_whole_batch:
            raise ValueError(
                f"task {self.task.name} compares all clips of a batch, which train.accumulate={self.train.accumulate} "
                "would split: set it to 1"
            )
        return self
