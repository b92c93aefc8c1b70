"""From the numbers of benchmarks.results.domains to the generated parts of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asd.sweep.numbers import Spread
from asd.text.markdown import markdown_table
from benchmarks.results.domain_slices import ENSEMBLES, MEMBERS, SLICES
from benchmarks.results.page import cost_line, difference_cells, pair, slices_table

Report = Mapping[str, Any]
COLUMNS = {"auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC", "score": "official score"}


@dataclass(frozen=True)
class Row:
    """One row of the table: a run's or an ensemble's numbers by one scorer."""

    system: str
    label: str
    name: str
    scorer: str
    grey: bool = False  # for comparison; no system


PHASE_1 = tuple(name.removesuffix(", phase 2") for name in MEMBERS)
LEVEL = Row("–", "untrained nearest neighbour, level-normalised", "autoencoder", "untrained_knn_level", grey=True)
BASELINE = Row("S6", "autoencoder, mean squared error", "autoencoder", "reconstruction")
CLASSIFIER = Row("S3", "sections, other machines as outliers", "cpjku_classification", "softmax")
NO_OUTLIERS = Row("S3", "sections, no outliers", "cpjku_no_outliers", "softmax")
CCSA = Row("S3", "… other machines, then aligned by CCSA", "cpjku_ccsa", "softmax")
PRETRAINED = Row("S5", "VICReg alone, kNN", "vicreg_pretrain", "knn_euclidean")
FINETUNED = Row("S5", "VICReg, fine-tuned, kNN", "vicreg_finetune", "knn_euclidean")
SUBMISSIONS = tuple(Row("S4", f"ensemble after phase 2, {name}", name, "ensemble") for name in ENSEMBLES)
MODELS_1 = tuple(Row("S4", name, name, "knn_k10") for name in PHASE_1)
MODELS_2 = tuple(Row("S4", name, name, "knn_k10") for name in MEMBERS)
ROWS = (
    Row("–", "untrained nearest neighbour", "autoencoder", "untrained_knn", grey=True),
    LEVEL,
    BASELINE,
    Row("S6", "autoencoder, selective Mahalanobis", "autoencoder", "selective_mahalanobis"),
    Row("S6", "MobileNetV2 baseline, log odds", "mobilenet_v2", "log_odds"),
    Row("S6", "WaveNet, frames", "wavenet", "reconstruction"),
    CLASSIFIER,
    NO_OUTLIERS,
    Row("S3", "sections, other sections as outliers", "cpjku_other_sections", "softmax"),
    CCSA,
    *MODELS_1,
    *MODELS_2,
    *SUBMISSIONS,
    PRETRAINED,
    FINETUNED,
)
PAIRS = (
    (CLASSIFIER, NO_OUTLIERS),
    (CCSA, CLASSIFIER),
    *zip(MODELS_2, MODELS_1, strict=True),
    *((row, SUBMISSIONS[0]) for row in SUBMISSIONS[1:]),
    (FINETUNED, PRETRAINED),
)


def sections(report: Report) -> dict[str, str]:
    """Name of a part of the page → its Markdown."""
    return {
        "domain scores": scores_table(report),
        "domain pairs": pairs_table(report),
        "domain slices": f"{slices_table(report, SLICES)}\n\n{cost_line(report)}",
    }


def official(report: Report, row: Row) -> Mapping[str, Spread]:
    """A row's numbers by the rule of 2022, over seeds."""
    found = report["ensembles"] if row in SUBMISSIONS else report["scores"]
    return found[row.name][row.scorer].official


def _known(report: Report, row: Row) -> bool:
    """No numbers, no row: the page can be looked at before all runs are done."""
    return row.name in (report["ensembles"] if row in SUBMISSIONS else report["scores"])


def _difference(report: Report, what: Row, over: Row) -> list[str]:
    return difference_cells(*(official(report, row)["score"].by_seed for row in (what, over)))


def scores_table(report: Report) -> str:
    """Every method by the rule of 2022, and its official score minus the autoencoder's."""
    seeds = [f"seed {seed}" for seed in report["seeds"]]
    head = ["method", "system", *COLUMNS.values(), *(f"− autoencoder, {seed}" for seed in seeds), "mean", "seeds say"]
    rows = []
    for row in (row for row in ROWS if _known(report, row)):
        told = [f"*{row.label}*" if row.grey else row.label, row.system]
        told += [pair(official(report, row)[key]) for key in COLUMNS]
        rows.append([*told, *(_difference(report, row, BASELINE) if row != BASELINE else ["–"] * (len(seeds) + 2))])
    return markdown_table(head, rows)


def pairs_table(report: Report) -> str:
    """What a further step of a system does to its official score."""
    head = ["official score of", "minus that of", *(f"seed {seed}" for seed in report["seeds"]), "mean", "seeds say"]
    pairs = [(one, over) for one, over in PAIRS if _known(report, one) and _known(report, over)]
    return markdown_table(head, [[one.label, over.label, *_difference(report, one, over)] for one, over in pairs])
