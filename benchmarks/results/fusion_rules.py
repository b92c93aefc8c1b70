"""Rules that make one score of many, on statistics without training: the table in docs/results.md.

python -m benchmarks.results.fusion_rules SHARDS [SHARDS ...]        (packed sets with labelled test clips)

Labels are used to report alone: every rule is the same for all sets, and looks at normal training clips only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.covariance import LedoitWolf

from asd.config.build import set_up
from asd.config.load import load_config
from asd.data.loader import Loader
from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL
from asd.distributed.start import start_ranks
from asd.errors import run_main
from asd.evaluate.embed import embed_clips
from asd.files.paths import user_path
from asd.metrics.auc import auc
from asd.scorers import (
    BandKnnConfig,
    EmbeddingTable,
    GmmConfig,
    KnnConfig,
    LocalKnnConfig,
    MahalanobisConfig,
    PcaResidualConfig,
    build_scorer,
)
from asd.scorers.members import MemberConfig
from asd.text.markdown import markdown_table

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "statistics.yaml"
BACK_ENDS = {
    "knn": KnnConfig(metric="euclidean"),
    "local_knn": LocalKnnConfig(metric="euclidean"),
    "band_knn": BandKnnConfig(),
    "mahalanobis": MahalanobisConfig(space="raw"),
    "gmm": GmmConfig(space="raw"),
    "pca_residual": PcaResidualConfig(),
}
BOTH = ("band_knn", "mahalanobis")
POOLS = {  # name → back ends, and whether views with the level count
    "all six": (tuple(BACK_ENDS), True),
    "all six, level removed": (tuple(BACK_ENDS), False),
    "band_knn": (("band_knn",), True),
    "mahalanobis": (("mahalanobis",), True),
    "band_knn, level removed": (("band_knn",), False),
    "both": (BOTH, True),
    "both, level removed": (BOTH, False),
    **{f"both and {end}": ((*BOTH, end), True) for end in BACK_ENDS if end not in BOTH},
}
Scores = np.ndarray  # (clips, members), in standard deviations above the training clips
Rule = Callable[[Scores, Scores], np.ndarray]  # of left-out training clips and of test clips → (test clips,)


def trimmed(normal: Scores, test: Scores) -> np.ndarray:
    """The mean of the middle half."""
    ascending = np.sort(test, axis=1)
    cut = test.shape[1] // 4
    return np.asarray(ascending[:, cut : test.shape[1] - cut].mean(1))


def upper_third(normal: Scores, test: Scores) -> np.ndarray:
    """The mean of the members that are oddest to a clip."""
    return np.asarray(np.sort(test, axis=1)[:, -max(1, test.shape[1] // 3) :].mean(1))


def rescaled(normal: Scores, test: Scores) -> Scores:
    """Each member on the scale of median and median deviation."""
    middle = np.median(normal, axis=0)
    spread = 1.4826 * np.median(np.abs(normal - middle), axis=0) + 1e-9
    return np.asarray((test - middle) / spread)


def decorrelated(normal: Scores, test: Scores) -> np.ndarray:
    """The mean, weighted by the row sums of the inverse covariance of training clips, none below 0."""
    return np.asarray(test @ LedoitWolf().fit(normal).precision_.sum(1).clip(min=0.0))


def agreement(normal: Scores, test: Scores) -> np.ndarray:
    """The mean, weighted by the squared correlation with the median of the others on training clips."""
    others = [np.median(np.delete(normal, k, 1), axis=1) for k in range(normal.shape[1])]
    weight = [max(np.corrcoef(normal[:, k], other)[0, 1], 0.0) ** 2 for k, other in enumerate(others)]
    return test @ np.array(weight)


RULES: dict[str, Rule] = {
    "mean": lambda normal, test: test.mean(1),
    "median": lambda normal, test: np.median(test, axis=1),
    "minimum": lambda normal, test: test.min(1),
    "maximum": lambda normal, test: test.max(1),
    "middle half": trimmed,
    "upper third": upper_third,
    "mean, rescaled": lambda normal, test: rescaled(normal, test).mean(1),
    "median, rescaled": lambda normal, test: np.median(rescaled(normal, test), axis=1),
    "decorrelated": decorrelated,
    "by agreement": agreement,
}


def embedded(shards: Path) -> tuple[EmbeddingTable, EmbeddingTable, np.ndarray]:
    """Training clips, labelled test clips, and which of these are anomalies."""
    config = load_config(CONFIG, [f"data.shards={shards}"])
    setup = set_up(config)
    manifest, splits = setup.data.manifest, setup.data.splits
    test = splits.test[np.isin(manifest.label[splits.test], (LABEL_NORMAL, LABEL_ANOMALY))]
    with start_ranks("fp32", 600) as ranks:
        loader = Loader(manifest, ranks.device, config.data.threads, config.data.prefetch)
        clips = np.union1d(splits.train, test)
        found = embed_clips(setup.task, loader, ranks, clips, int(config.evaluate.batch_audio_s * manifest.sample_rate))
        loader.close()
    assert found is not None
    tables = [found.of(part)[0] for part in (splits.train, test)]
    return tables[0], tables[1], manifest.label[tables[1].clip_index.numpy()] == LABEL_ANOMALY


def mean_aucs(shards: Path) -> dict[str, float]:
    """Member, or pool and rule → mean AUC in percent over the machine IDs that have both kinds of test clips."""
    train, test, anomalous = embedded(shards)
    names = [(end, view) for end in BACK_ENDS for view in train.views]
    scores = [_scores(BACK_ENDS[end].model_copy(update={"view": view}), train, test) for end, view in names]
    found: dict[str, list[float]] = {}
    for own, rows in test.rows_by_class().items():
        label, its = anomalous[rows].astype(int), train.rows_by_class()[own]
        if label.min() == label.max():
            continue
        normal, z = (np.stack([column[part][which] for column in scores], 1) for part, which in ((0, its), (1, rows)))
        centre, spread = normal.mean(0), normal.std(0, ddof=1)
        normal, z = (normal - centre) / spread, (z - centre) / spread
        for (end, view), column in zip(names, z.T, strict=True):
            found.setdefault(f"{end} {view}", []).append(auc(label, column))
        for pool, (ends, raw) in POOLS.items():
            chosen = [k for k, (end, view) in enumerate(names) if end in ends and (raw or view.endswith("_level"))]
            for name, rule in RULES.items():
                found.setdefault(f"{pool}: {name}", []).append(auc(label, rule(normal[:, chosen], z[:, chosen])))
    return {name: 100 * float(np.mean(aucs)) for name, aucs in found.items()}


def _scores(config: MemberConfig, train: EmbeddingTable, test: EmbeddingTable) -> tuple[np.ndarray, np.ndarray]:
    """Of left-out training clips and of test clips."""
    scorer = build_scorer(config)
    scorer.fit(train)
    return scorer.score_normal(train, train), scorer.score(test)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=user_path, help="packed sets")
    parser.add_argument("--members", action="store_true", help="also every member by itself")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    sets = [mean_aucs(shards) for shards in args.shards]
    head = ["mean AUC in percent", *(str(shards) for shards in args.shards)]
    rows = [[name, *(f"{own[name]:.1f}" for own in sets)] for name in sets[0] if args.members or ": " in name]
    alone = [[value for name, value in own.items() if ": " not in name] for own in sets]
    rows.append(["best member", *(f"{max(own):.1f}" for own in alone)])
    rows.append(["median member", *(f"{np.median(own):.1f}" for own in alone)])
    print(markdown_table(head, rows))


if __name__ == "__main__":
    run_main(main)
