"""What a training batch is made of: the clips of the machines themselves, and beside them clips of the target domain or
of other machines."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import pydantic

from asd.data.manifest import DOMAINS, Manifest
from asd.data.plan import Stream
from asd.data.splits import Splits
from asd.data.subset import NO_CLASS
from asd.errors import UserError

Domain = Literal["source", "target"]


class StreamsConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Rows of every global batch by where they come from; what is not named below are clips of the machines themselves.

    domains: of these rows (empty: all). target: where target-domain clips go. `rows`: target_rows more rows of the
    batch; `pairs`: half of the batch, row by row of the same class as the other half, is of the target domain with
    probability pair_target and of the source domain else (fine-tuning of S5: within and across domains);
    `one_section`: in each step the rows of one section, drawn anew, are its target clips instead (phase 2 of S4).
    outliers: outlier_rows rows are clips of other machine types, or of the other IDs of these types (S3).
    fault_rows: so many of the machines' own rows are known faults, training clips labelled anomaly.
    """

    domains: tuple[Domain, ...] = ()
    target: Literal["none", "rows", "pairs", "one_section"] = "none"
    target_rows: pydantic.NonNegativeInt = 0  # of every batch, where target is rows
    pair_target: float = pydantic.Field(default=0.5, gt=0, le=1)  # chance of the target domain, where target is pairs
    outliers: Literal["none", "other_machines", "other_sections"] = "none"
    outlier_rows: pydantic.NonNegativeInt = 0  # of every batch, where there are outliers
    fault_rows: pydantic.NonNegativeInt = 0  # of every batch, among the machines' own; for task outlier_exposure

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.target == "rows") != (self.target_rows > 0):
            raise ValueError("target=rows and target_rows belong together: give both or neither")
        if (self.outliers != "none") != (self.outlier_rows > 0):
            raise ValueError("outliers and outlier_rows belong together: give both or neither")
        return self

    def shares(self, global_batch: int) -> dict[str, int]:
        """Rows of a global batch by stream; the first one is the machines' own."""
        target = global_batch // 2 if self.target == "pairs" else self.target_rows
        shares = {"own": global_batch - target - self.outlier_rows, "target": target, "outliers": self.outlier_rows}
        return {name: rows for name, rows in shares.items() if name == "own" or rows}


def make_streams(config: StreamsConfig, manifest: Manifest, splits: Splits, global_batch: int) -> list[Stream]:
    """The streams of a training run; UserError where the set has no clips for one of them."""
    domain, class_index = manifest.domain_index, manifest.class_index
    rows = config.shares(global_batch)
    own = splits.train
    if config.domains:
        own = own[np.isin(domain[own], [DOMAINS.index(name) for name in config.domains])]
        _check_empty(own, f"no training clip is of the {' or '.join(config.domains)} domain", manifest)
    streams = [Stream("all", own, rows["own"] - config.fault_rows, class_index[own])]
    if config.target != "none":
        target = splits.train[domain[splits.train] == DOMAINS.index("target")]
        _check_empty(target, "no training clip is of the target domain", manifest)
        if config.target == "pairs":
            for missing in np.setdiff1d(manifest.class_index[own], manifest.class_index[target]).tolist():
                raise UserError(
                    f"class {manifest.classes[missing]} has no training clip of the target domain to pair with"
                )
            streams.append(_partners(config, manifest, splits, rows["target"]))
        else:
            draw: Literal["shuffle", "one_class"] = "shuffle" if config.target == "rows" else "one_class"
            streams.append(Stream("target", target, rows.get("target", 0), class_index[target], draw))
    if config.outliers != "none":
        outliers = _outliers(config, manifest)
        streams.append(Stream("outliers", outliers, rows["outliers"], class_index[outliers]))
    if config.fault_rows:
        faults = manifest.known_faults
        why = (
            "no training clip is labelled anomaly, for data.streams.fault_rows: pack known faults into train, or set 0"
        )
        _check_empty(faults, why, manifest)
        streams.append(Stream("faults", faults, config.fault_rows, class_index[faults], "within"))
    return streams


def unused_faults(config: StreamsConfig, manifest: Manifest) -> str | None:
    """What a run says that leaves known faults out; None where there are none, or it learns from them."""
    if config.fault_rows or not len(manifest.known_faults):
        return None
    return (
        f"{len(manifest.known_faults)} training clips are labelled anomaly and left out: scorer matched_filter "
        "(configs/statistics.yaml) or task.name=outlier_exposure (configs/known_faults.yaml) learns from them"
    )


def _partners(config: StreamsConfig, manifest: Manifest, splits: Splits, rows: int) -> Stream:
    """Clips of either domain, each beside one of its class."""
    of_target = (manifest.domain_index[splits.train] == DOMAINS.index("target")).astype(np.int64)
    classes = manifest.class_index[splits.train]
    return Stream("target", splits.train, rows, classes, "same_class", of_target, config.pair_target)


def _outliers(config: StreamsConfig, manifest: Manifest) -> np.ndarray:
    """Training clips without a class: of other machine types, or of these types."""
    left = manifest.training_clips[manifest.class_index[manifest.training_clips] == NO_CLASS]
    own_types = {c.machine_type for c in manifest.classes}
    of_own_types = np.array([name in own_types for name in manifest.strings("machine_type", left)], dtype=bool)
    found = left[of_own_types] if config.outliers == "other_sections" else left[~of_own_types]
    which, key = ("machine IDs", "machine_ids") if config.outliers == "other_sections" else ("types", "machine_types")
    why = f"there are no other {which} to take outliers from: name the trained ones in data.{key}"
    _check_empty(found, why, manifest)
    return found


def _check_empty(clips: np.ndarray, what: str, manifest: Manifest) -> None:
    if not len(clips):
        raise UserError(f"{manifest.root}: {what}")
