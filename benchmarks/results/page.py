"""From the numbers of benchmarks.results to the generated parts of docs/results.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from asd.config.load import load_config
from asd.metrics import AUC
from asd.sweep.numbers import Spread
from asd.text.markdown import markdown_table
from benchmarks.results.slices import CONFIGS, SLICES, Slice

Report = Mapping[str, Any]
PRIMARY = "softmax"
UNTRAINED = {"untrained_knn": "untrained nearest neighbour", "untrained_knn_level": "the same, level-normalised"}
FAMILIES = {"S1": "dcase2020_", "S2": "tastgram_"}  # by the beginning of the config's name
REFERENCE = {"S1": "dcase2020_integrated", "S2": "tastgram_noisy_arcmix"}  # whose untrained numbers are shown
LEVEL = "untrained_knn_level"
# What → over what: other rows of the page, or an untrained scorer of its own.
COMPARISONS = {
    "dcase2020_integrated": ("untrained_knn", LEVEL, "dcase2020_integrated_softmax", "control: softmax on resnet50_ir",
                             "dcase2020_individual"),
    "tastgram_arcface": ("untrained_knn", LEVEL, "dcase2020_integrated_softmax", "tastgram_softmax"),
    "tastgram_noisy_arcmix": ("untrained_knn", LEVEL, "dcase2020_integrated_softmax", "tastgram_softmax",
                              "tastgram_arcface", "tastgram_arcmix"),
    "tastgram_noisy_arcmix_waveform": ("tastgram_noisy_arcmix", "tastgram_arcface", "tastgram_softmax"),
    "tastgram_noisy_arcmix_paper": ("tastgram_noisy_arcmix", "tastgram_softmax"),
    "tastgram_guided": ("tastgram_arcface",),
    "dcase2020_transfer": ("dcase2020_integrated", LEVEL),
    "dcase2020_individual": (LEVEL,),
}  # fmt: skip


def sections(report: Report, published: Mapping[str, Any]) -> dict[str, str]:
    """Name of a part of the page → its Markdown."""
    return {
        "scores": "\n\n".join(f"### {family}\n\n{scores_table(report, published, family)}" for family in FAMILIES),
        "differences": differences_table(report),
        "slices": f"{slices_table(report, SLICES)}\n\n{cost_line(report)}",
    }


def scores_table(report: Report, published: Mapping[str, Any], family: str) -> str:
    """Baselines, then every config of a family, each with what was published for it."""
    head = ["config", "AUC", "pAUC", "AUC, oracle choice", "centroid AUC", "knn AUC", "AUC pooled", "mAUC"]
    head += ["published dev", "published eval"]
    scores, reference = report["scores"], report["scores"][REFERENCE[family]]
    rows = []
    for name, label in UNTRAINED.items():
        auc, pauc, pooled, mauc = (pair(reference[name].numbers[key]) for key in ("auc", "pauc", "auc_pooled", "mauc"))
        rows.append([f"*{label}*", auc, pauc, "–", "–", "–", pooled, mauc, "", ""])
    for row in members(family):
        if row.name not in scores:
            continue
        own, known = scores[row.name], published.get(row.name, {})
        cells = [pair(own[PRIMARY].numbers[key]) for key in ("auc", "pauc", "auc_oracle")]
        cells += [pair(own[name].numbers[AUC.key]) for name in ("centroid", "knn")]
        cells += [pair(own[PRIMARY].numbers[key]) for key in ("auc_pooled", "mauc")]
        rows.append([shown(row), *cells, *(figures(known.get(part)) for part in ("dev", "eval"))])
    return markdown_table(head, rows)


def members(family: str) -> list[Slice]:
    return [row for row in SLICES if row.config.startswith(FAMILIES[family])]


def shown(row: Slice) -> str:
    return f"*{row.name}*" if row.control else row.name


def figures(known: Mapping[str, float] | None) -> str:
    """AUC / pAUC (/ mAUC) as published, a dash where none is at hand."""
    return "–" if known is None else " / ".join(f"{value:.2f}" for value in known.values())


def pair(own: Spread) -> str:
    """Mean ± standard deviation over seeds, in percent with one decimal: more would be noise."""
    if own.mean is None:
        return "–"
    return f"{100 * own.mean:.1f}" + ("" if own.sd is None else f" ± {100 * own.sd:.1f}")


def differences_table(report: Report) -> str:
    """AUC of one thing minus another's, seed by seed, and whether all seeds agree."""
    scores = report["scores"]
    head = ["AUC of", "minus AUC of", *(f"seed {seed}" for seed in report["seeds"]), "mean", "seeds say"]
    rows = []
    for row, others in COMPARISONS.items():
        for other in others:
            over = (row, other) if other in UNTRAINED else (other, PRIMARY)
            if row in scores and over[0] in scores:
                columns = (scores[name][scorer].numbers[AUC.key].by_seed for name, scorer in ((row, PRIMARY), over))
                rows.append([row, _named(*over), *difference_cells(*columns)])
    return markdown_table(head, rows)


def difference_cells(ones: Sequence[float], others: Sequence[float]) -> list[str]:
    """Paired by seed, from fractions of 1: percent of each, their mean, better or worse where all say so."""
    values = [one - other for one, other in zip(ones, others, strict=True)]
    result = {(True, False): "better", (False, True): "worse"}.get((min(values) > 0, max(values) < 0), "undecided")
    return [*(f"{100 * value:+.1f}" for value in [*values, statistics.fmean(values)]), result]


def _named(row: str, scorer: str) -> str:
    return row if scorer == PRIMARY else f"its {UNTRAINED[scorer].replace('the same', 'untrained nearest neighbour')}"


def slices_table(report: Report, slices: Sequence[Slice]) -> str:
    """What each row changes in its config, how many updates it made, and how well it learnt the classes."""
    head = ["config", "steps a run", "runs", "validation loss", "accuracy %", "full → slice"]
    rows = []
    for row in slices:
        if (cost := report["cost"].get(row.name)) is not None:
            steps = "–".join(str(n) for n in sorted(set(cost["steps"])))
            loss, accuracy = (cost["validation"][key] for key in ("loss", "accuracy"))
            learnt = ["–" if loss is None else f"{loss:.3f}", "–" if accuracy is None else f"{100 * accuracy:.1f}"]
            rows.append([shown(row), steps, str(cost["runs"]), *learnt, "; ".join(changes(row))])
    return markdown_table(head, rows)


def changes(row: Slice) -> list[str]:
    """`key full → slice` of every setting that the overrides change; a part that is exchanged shows its name alone."""
    path = CONFIGS / f"{row.config}.yaml"
    full, small = (flat(load_config(path, words).model_dump(mode="json")) for words in ((), row.words))
    skip = {"train.log_every", "distributed.precision", "run.dir"}
    exchanged = tuple(key.removesuffix("name") for key in full if key.endswith(".name") and full[key] != small[key])
    return [
        f"{key} {full.get(key)} → {value}"
        for key, value in small.items()
        if value != full.get(key) and key not in skip
        if key.endswith(".name") or not (exchanged and key.startswith(exchanged) and key not in full)
    ]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def cost_line(report: Report) -> str:
    """How long it took, from the runs' own clocks."""
    seconds = sum(cost["seconds"] for cost in report["cost"].values())
    runs = sum(cost["runs"] for cost in report["cost"].values())
    return (
        f"{runs} runs took {seconds / 60:.0f} minutes of one slot together, about "
        f"{seconds / 60 / report['slots']:.0f} minutes with {report['slots']} slots of one core each, on a machine "
        f"that other work shared; trained by commit {', '.join(report['commits'])}. "
        "A run that is done is not done again."
    )
