"""From the numbers of benchmarks.results to the generated parts of docs/results.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from asd.config import load_config
from benchmarks.results.slices import CONFIGS, FACTORY, SLICES, Slice
from benchmarks.sections import markdown_table

Report = Mapping[str, Any]
PRIMARY = "softmax"
UNTRAINED = {"untrained_knn": "untrained nearest neighbour", "untrained_knn_level": "the same, level-normalised"}
FAMILIES = {"S1": "dcase2020_", "S2": "tastgram_"}  # by the beginning of the config's name
REFERENCE = {"S1": "dcase2020_integrated", "S2": "tastgram_noisy_arcmix"}  # whose untrained numbers are shown
LEVEL = "untrained_knn_level"
# (what, over what): each a row of the page and one of its scorers.
COMPARISONS = (
    (("dcase2020_integrated", PRIMARY), ("dcase2020_integrated", "untrained_knn")),
    (("dcase2020_integrated", PRIMARY), ("dcase2020_integrated", LEVEL)),
    (("dcase2020_integrated", PRIMARY), ("dcase2020_integrated_softmax", PRIMARY)),
    (("dcase2020_integrated", PRIMARY), ("control: softmax on resnet50_ir", PRIMARY)),
    (("tastgram_arcface", PRIMARY), ("tastgram_arcface", "untrained_knn")),
    (("tastgram_arcface", PRIMARY), ("tastgram_arcface", LEVEL)),
    (("tastgram_arcface", PRIMARY), ("dcase2020_integrated_softmax", PRIMARY)),
    (("tastgram_arcface", PRIMARY), ("tastgram_softmax", PRIMARY)),
    (("tastgram_noisy_arcmix", PRIMARY), ("tastgram_noisy_arcmix", "untrained_knn")),
    (("tastgram_noisy_arcmix", PRIMARY), ("tastgram_noisy_arcmix", LEVEL)),
    (("tastgram_noisy_arcmix", PRIMARY), ("dcase2020_integrated_softmax", PRIMARY)),
    (("tastgram_noisy_arcmix", PRIMARY), ("tastgram_softmax", PRIMARY)),
    (("tastgram_noisy_arcmix", PRIMARY), ("tastgram_arcface", PRIMARY)),
    (("tastgram_noisy_arcmix", PRIMARY), ("tastgram_arcmix", PRIMARY)),
    (("tastgram_noisy_arcmix_waveform", PRIMARY), ("tastgram_noisy_arcmix", PRIMARY)),
    (("tastgram_noisy_arcmix_waveform", PRIMARY), ("tastgram_arcface", PRIMARY)),
    (("tastgram_noisy_arcmix_waveform", PRIMARY), ("tastgram_softmax", PRIMARY)),
    (("tastgram_noisy_arcmix_paper", PRIMARY), ("tastgram_noisy_arcmix", PRIMARY)),
    (("tastgram_noisy_arcmix_paper", PRIMARY), ("tastgram_softmax", PRIMARY)),
    (("tastgram_guided", PRIMARY), ("tastgram_arcface", PRIMARY)),
    (("dcase2020_transfer", PRIMARY), ("dcase2020_integrated", PRIMARY)),
    (("dcase2020_integrated", PRIMARY), ("dcase2020_individual", PRIMARY)),
    (("dcase2020_individual", PRIMARY), ("dcase2020_individual", LEVEL)),
    (("dcase2020_transfer", PRIMARY), ("dcase2020_transfer", LEVEL)),
)


def sections(report: Report, published: Mapping[str, Any]) -> dict[str, str]:
    """Name of a part of the page → its Markdown."""
    return {
        "factory": factory_line(report),
        "scores": "\n\n".join(f"### {family}\n\n{scores_table(report, published, family)}" for family in FAMILIES),
        "metrics": "\n".join(f"- {name}: {' '.join(text.split())}." for name, text in published["metrics"].items()),
        "published": "\n\n".join(published_table(own) for own in published["tables"]),
        "differences": differences_table(report),
        "slices": f"{slices_table(report)}\n\n{cost_line(report)}",
    }


def factory_line(report: Report) -> str:
    """What was trained and scored on, and what the seeds are."""
    ids, train, test = 41, FACTORY["train_clips"], FACTORY["test_clips"]
    words = f"--seed {FACTORY['seed']} --clip-s {FACTORY['clip_s']} --train-clips {train} --test-clips {test}"
    return (
        f"One factory for all runs (`python -m shards.synth {words}`): {ids} machine IDs of six types; {train} normal "
        f"training clips and {test} normal + {test} anomalous test clips of {FACTORY['clip_s']} s an ID, together "
        f"{ids * train} and {2 * ids * test} clips. "
        f"Seeds {', '.join(map(str, report['seeds']))} are seeds of training (weights, order, mixup, held-out clips); "
        "the factory is the same for all, so ± says nothing about another factory."
    )


def scores_table(report: Report, published: Mapping[str, Any], family: str) -> str:
    """Baselines, then every config of a family, each with what was published for it."""
    head = ["config", "AUC", "pAUC", "AUC, oracle choice", "centroid AUC", "knn AUC", "AUC pooled", "mAUC"]
    head += ["published dev", "published eval"]
    scores, reference = report["scores"], report["scores"][REFERENCE[family]]
    rows = [
        [
            f"*{label}*",
            pair(own, "auc"),
            pair(own, "pauc"),
            "–",
            "–",
            "–",
            pair(own, "auc_pooled"),
            pair(own, "mauc"),
            "",
            "",
        ]
        for name, label in UNTRAINED.items()
        for own in [reference[name]]
    ]
    for row in members(family):
        if row.name not in scores:
            continue
        own, known = scores[row.name], published["configs"].get(row.name, {})
        cells = [pair(own[PRIMARY], key) for key in ("auc", "pauc", "auc_oracle")]
        cells += [pair(own[name], "auc") for name in ("centroid", "knn")]
        cells += [pair(own[PRIMARY], key) for key in ("auc_pooled", "mauc")]
        rows.append([shown(row), *cells, *(figures(known.get(part)) for part in ("dev", "eval"))])
    return markdown_table(head, rows)


def members(family: str) -> list[Slice]:
    return [row for row in SLICES if row.config.startswith(FAMILIES[family])]


def shown(row: Slice) -> str:
    return f"*{row.name}*" if row.control else row.name


def figures(known: Mapping[str, float] | None) -> str:
    """AUC / pAUC (/ mAUC) as published, a dash where none is at hand."""
    return "–" if known is None else " / ".join(f"{value:.2f}" for value in known.values())


def pair(numbers: Mapping[str, Any], key: str) -> str:
    """Mean ± standard deviation over seeds, in percent with one decimal: more would be noise."""
    mean, spread = numbers[key], numbers[f"{key}_sd"]
    if mean is None:
        return "–"
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def differences_table(report: Report) -> str:
    """AUC of one thing minus another's, seed by seed, and whether all seeds agree."""
    scores = report["scores"]
    head = ["AUC of", "minus AUC of", *(f"seed {seed}" for seed in report["seeds"]), "mean", "seeds say"]
    rows = []
    for what, over in COMPARISONS:
        if what[0] in scores and over[0] in scores:
            values = differences(scores, what, over)
            cells = [f"{100 * value:+.1f}" for value in [*values, statistics.fmean(values)]]
            rows.append([_named(*what), _named(*over), *cells, verdict(values)])
    return markdown_table(head, rows)


def differences(scores: Report, what: tuple[str, str], over: tuple[str, str]) -> list[float]:
    """Paired by seed, fractions of 1."""
    pairs = zip(scores[what[0]][what[1]]["auc_by_seed"], scores[over[0]][over[1]]["auc_by_seed"], strict=True)
    return [one - other for one, other in pairs]


def verdict(values: Sequence[float]) -> str:
    """better or worse only where every seed says so."""
    if all(value > 0 for value in values):
        return "better"
    return "worse" if all(value < 0 for value in values) else "undecided"


def _named(row: str, scorer: str) -> str:
    return row if scorer == PRIMARY else f"its {UNTRAINED[scorer].replace('the same', 'untrained nearest neighbour')}"


def slices_table(report: Report, slices: Sequence[Slice] = SLICES) -> str:
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
    skip = {"train.log_every", "train.precision", "run.dir"}
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


def published_table(own: Mapping[str, Any]) -> str:
    """One report's figures as printed there, under what they are."""
    lines = f"**{own['title']}.** {' '.join(own['note'].split())}."
    if not own["rows"]:
        return lines
    rows = [[name, *(_printed(value) for value in values)] for name, values in own["rows"].items()]
    return f"{lines}\n\n{markdown_table(['', *map(str, own['head'])], rows)}"


def _printed(value: float | str) -> str:
    return value.replace("/", " / ") if isinstance(value, str) else f"{value:.2f}"
