"""The figures build, without warnings, for one and for many machine types, and for clips without labels."""

import io
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from asd.figures import comparison_figure, histogram_figure, roc_figure
from asd.metrics import ClipScores, auc, summarise

SCORERS = ("softmax", "knn", "untrained_knn")


def clips(num_types: int, num_ids: int = 2, unlabelled: tuple[str, ...] = ()) -> ClipScores:
    """20 clips an ID; the second type has a long name with signs that matplotlib could read as mathematics."""
    random = np.random.default_rng(0)
    names = ["fan", "$a_{name$ too long for a panel"] + [f"type{n}" for n in range(num_types)]
    rows = [(t, f"{i:02d}", n % 2) for t in names[:num_types] for i in range(num_ids) for n in range(20)]
    types, ids, labels = zip(*rows, strict=True) if rows else ((), (), ())
    label = np.array([-1 if t in unlabelled else y for t, y in zip(types, labels, strict=True)], dtype=np.int64)
    scores = {
        "softmax": np.exp(random.normal(size=len(label)) * 4 - 20 + 2 * np.array(labels)),
        "knn": random.random(len(label)) + 0.3 * np.array(labels),
        "untrained_knn": np.ones(len(label)),
    }
    keys = [f"clip{n}" for n in range(len(label))]
    return ClipScores(keys, keys, list(types), list(ids), [""] * len(keys), label, scores)


def report_of(own: ClipScores) -> dict:
    return {"baselines": ["untrained_knn"], **summarise(own)}


def shown(figure: Figure) -> list:
    """The figure's panels that show something, once it has been drawn."""
    figure.savefig(io.BytesIO(), format="png")
    return [axes for axes in figure.axes if axes.axison]


@pytest.mark.parametrize("num_types", [1, 7])
def test_roc_has_a_panel_per_type_and_a_line_per_id(num_types):
    own = clips(num_types, num_ids=3)
    panels = shown(roc_figure(own, "knn"))
    assert len(panels) == num_types
    assert [len(axes.lines) for axes in panels] == [1 + 3] * num_types  # chance, and the IDs
    fpr, tpr = next(axes for axes in panels if axes.get_title().startswith("fan")).lines[1].get_data()
    indices = own.groups()["fan"]["00"]
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(own.label[indices], own.scores["knn"][indices]))


@pytest.mark.parametrize("num_types", [1, 7])
@pytest.mark.parametrize("scorer", SCORERS)
def test_histograms_hold_every_clip(num_types, scorer):
    panels = shown(histogram_figure(clips(num_types), scorer))
    assert len(panels) == num_types
    for axes in panels:
        filled = [patch for patch in axes.patches if patch.get_fill()]
        assert [patch.get_label() for patch in filled] == ["normal (20)", "anomaly (20)"]
        assert [patch.get_data().values.sum() for patch in filled] == pytest.approx([1.0, 1.0])


def test_a_score_over_decades_is_shown_by_its_logarithm():
    own = clips(1)
    assert histogram_figure(own, "softmax").get_supxlabel().startswith("log10 of the score")
    assert histogram_figure(own, "knn").get_supxlabel().startswith("score")


@pytest.mark.parametrize("num_types", [1, 7])
def test_comparison_has_a_bar_per_scorer_and_type_and_the_mean(num_types):
    report = report_of(clips(num_types))
    upper, lower = shown(comparison_figure(report))
    assert len(upper.patches) == len(lower.patches) == len(SCORERS) * (num_types + 1)
    assert [text.get_text() for text in lower.get_xticklabels()][-1] == "mean"
    tops = [bar.get_y() + bar.get_height() for bar in upper.containers[2]]
    assert tops[-1] == pytest.approx(100 * report["scorers"]["knn"]["mean"]["auc"])
    assert upper.containers[0].get_label() == "untrained knn"


@pytest.mark.parametrize("unlabelled", [("fan",), ("fan", "type0", "$a_{name$ too long for a panel")])
def test_types_without_labels_say_so(unlabelled):
    own = clips(3, unlabelled=unlabelled)
    titles = [axes.get_title() for axes in shown(roc_figure(own, "knn"))]
    assert "fan\nno ID with both labels" in titles
    labels = [axes.get_legend_handles_labels()[1] for axes in shown(histogram_figure(own, "knn"))]
    assert ["unlabelled (40)"] in labels
    upper, _ = shown(comparison_figure(report_of(own)))
    assert "not scored" in [text.get_text() for text in upper.texts]


def test_many_ids_keep_a_short_legend():
    (axes,) = shown(roc_figure(clips(1, num_ids=15), "knn"))
    assert len(axes.get_legend().get_texts()) == 8
    assert "first 8 of 15" in axes.get_legend().get_title().get_text()


def test_nothing_to_show_is_an_empty_figure():
    own = clips(0)
    assert shown(roc_figure(own, "knn")) == shown(histogram_figure(own, "knn")) == []
    shown(comparison_figure(report_of(own)))
    shown(comparison_figure({"baselines": [], "scorers": {}}))


def test_pyplot_stays_out():
    assert "matplotlib.pyplot" not in sys.modules
