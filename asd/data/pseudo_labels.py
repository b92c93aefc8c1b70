"""Which clips are to be divided by clusters, where nothing says what else to tell apart."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic

from asd.data.manifest import Manifest
from asd.data.proxy import Classes
from asd.files.paths import PathText


class PseudoLabelsConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """The clips of a machine and domain are embedded, projected on their first principal axes, one for every ten
    training clips, and clustered. Clusters are found among training clips alone; held-out ones then join them.

    by: `gmm`, mixtures of 1, 2, … Gaussians of full covariance, of which the one of the least BIC counts: one cluster
    where nothing is seen to be apart; a held-out clip joins the likeliest. `ward`, Ward's hierarchical clustering into
    as many clusters as are allowed, in any case; a held-out clip joins that of the nearest mean.
    """

    # whose best checkpoint embeds the clips; null: the statistics of configs/statistics.yaml, nothing trained
    run: PathText | None = None
    view: str | None = None  # part of the embedding; null: all of it, of the statistics mean_std_level
    by: Literal["gmm", "ward"] = "gmm"
    # of a machine's clips outside the target domain; fewer where clips do not support so many
    max_clusters: pydantic.PositiveInt = 16
    max_target_clusters: pydantic.PositiveInt = 2  # of its clips of the target domain
    max_dimensions: pydantic.PositiveInt = 8  # principal axes, where there are clips for so many
    seed: int = pydantic.Field(0, ge=0, lt=2**32)  # of the fits' start


Group = tuple[int, str]  # machine, by its place in the class table; domain


def groups_to_cluster(manifest: Manifest, classes: Classes) -> dict[Group, np.ndarray]:
    """Machine and domain → its training clips, held-out ones among them, wherever `classes` leaves these together."""
    clips = manifest.select("train")
    told: dict[Group, tuple[list[int], set[str]]] = {}
    columns = (manifest.class_index[clips].tolist(), *(manifest.strings(n, clips) for n in ("domain", "attributes")))
    for clip, machine, domain, attributes in zip(clips.tolist(), *columns, strict=True):
        members, texts = told.setdefault((machine, domain), ([], set()))
        members.append(clip)
        texts.add(attributes)
    return {
        group: np.array(members)
        for group, (members, texts) in sorted(told.items())
        if classes == "machine" or len(texts) == 1
    }
