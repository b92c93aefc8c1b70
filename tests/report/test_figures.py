"""The figures build, without warnings, for one and for many machine types, and for clips without labels."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from asd.metrics import ClipScores, auc
from asd.report import Header, Report, build_report
from asd.report.figures import (
    angle_figure,
    angles_to,
    compared_angles,
    comparison_figure,
    confusion_figure,
    draw_clips,
    evaluation_figures,
    histogram_figure,
    own_angles,
    roc_figure,
    tsne_figure,
)
from asd.report.figures.flattened import flattened
from asd.report.figures.tsne import MAX_CLIPS, layout
from asd.scorers import EmbeddingTable
from tests.support.embedded import embedded_of

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


def report_of(own: ClipScores) -> Report:
    return build_report(own, Header(baselines=["untrained_knn"]))


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
    indices = own.groups["fan"]["00"]
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
    assert tops[-1] == pytest.approx(100 * report.scorers["knn"].mean["auc"])
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
    shown(comparison_figure(report_of(replace(own, scores={}))))


def test_angles_are_those_of_the_cosines():
    cosines = np.array([[1.0, 0.2], [0.1, 0.5], [0.0, -1.0000001]], dtype=np.float32)
    assert own_angles(30 * cosines, np.array([0, 1, 1]), 30.0) == pytest.approx([0.0, 60.0, 180.0])


def test_angles_to_centres_of_any_length():
    embedding = np.array([[2.0, 0.0], [0.0, 0.1], [-3.0, 0.0]])
    centres = np.array([[5.0, 0.0], [1.0, 1.0]])
    assert angles_to(embedding, centres, np.array([0, 1, 0])) == pytest.approx([0.0, 45.0, 180.0])


def test_runs_are_compared_side_by_side_on_one_axis():
    rng, label = np.random.default_rng(0), np.repeat([0, 1], 30)
    runs = {f"loss {i}": (label, rng.uniform(10.0 * i, 20.0 + 10 * i, 60)) for i in range(4)}
    panels = shown(compared_angles(runs))
    assert [axes.get_title() for axes in panels] == list(runs)
    for axes in panels:
        assert axes.get_xlim() == (0.0, 50.0)
        assert [p.get_data().values.sum() for p in axes.patches if p.get_fill()] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("num_types", [1, 7])
def test_angle_histograms_hold_every_clip_on_one_axis(num_types):
    own = clips(num_types)
    angles = np.random.default_rng(0).uniform(23.0, 88.0, len(own))
    panels = shown(angle_figure(own, angles))
    assert len(panels) == num_types
    for axes in panels:
        assert axes.get_xlim() == (20.0, 90.0)
        filled = [patch for patch in axes.patches if patch.get_fill()]
        assert [patch.get_label().split(",")[0] for patch in filled] == ["normal (20)", "anomaly (20)"]
        assert [patch.get_data().values.sum() for patch in filled] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0])
def test_angles_that_are_all_the_same_are_drawn(angle):
    own = clips(1)
    (axes,) = shown(angle_figure(own, np.full(len(own), angle)))
    assert axes.get_xlim()[0] <= angle <= axes.get_xlim()[1]


CLASSES = [("fan", "00"), ("fan", "02"), ("pump", "section_00"), ("$a_{name$ too long", "00")]


def test_confusion_counts_true_against_predicted():
    figure = confusion_figure(np.array([0, 0, 1, 3]), np.array([0, 1, 1, 2]), CLASSES, "all clips")
    (axes,) = shown(figure)
    written = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (3, 2): "1"}
    share = axes.images[0].get_array()
    assert share[0].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert share[2].tolist() == [0.0] * 4  # a class without clips
    assert len(axes.lines) == 2 * 2  # between three types
    assert figure.get_suptitle() == "Confusion of machines: all clips, 2 of 4 right"


@pytest.mark.parametrize("count", [2, 41, 100])
def test_confusion_of_few_and_many_classes(count):
    classes = [(f"type{n // 7}", f"{n % 7:02d}") for n in range(count)]
    (axes,) = shown(confusion_figure(np.arange(count), np.arange(count), classes, "clips"))
    assert len(axes.texts) == (count if count <= 60 else 0)
    assert [text.get_text() for text in axes.get_xticklabels()] == [i for _, i in classes]


def test_confusion_of_no_clips_says_so():
    nothing = np.array([], dtype=np.int64)
    assert "no clips" in confusion_figure(nothing, nothing, CLASSES, "held out").get_suptitle()


def test_layout_depends_on_seed_and_directions_alone():
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    points = layout(vectors, seed=0)
    assert points.shape == (60, 2)
    assert np.isfinite(points).all()
    assert np.array_equal(points, layout(vectors, seed=0))
    assert np.array_equal(points, layout(vectors * 4.0, seed=0))  # powers of two: no rounding


def test_layout_keeps_groups_together():
    random = np.random.default_rng(0)
    group = np.repeat([0, 1], 40)
    points = layout(np.eye(8)[group * 3] + 0.05 * random.normal(size=(80, 8)), seed=0)
    centres = np.stack([points[group == g].mean(axis=0) for g in (0, 1)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert np.array_equal(nearest, group)


def test_tsne_has_a_panel_each_for_type_id_and_label():
    own = clips(2, num_ids=3, unlabelled=("fan",))
    panels = shown(tsne_figure(own, np.random.default_rng(0).normal(size=(len(own), 4))))
    assert [axes.get_title() for axes in panels] == ["machine type", "machine ID, within its type", "label"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels]
    assert legends[1:] == [["00", "01", "02"], ["unlabelled", "normal", "anomaly"]]
    assert all(len(axes.collections[0].get_offsets()) == len(own) for axes in panels)


@pytest.mark.parametrize("num_ids", [1, 15])
def test_tsne_of_collapsed_embeddings_and_of_many_ids(num_ids):
    own = clips(1, num_ids=num_ids)
    assert len(shown(tsne_figure(own, np.ones((len(own), 4))))) == 3


def test_tsne_of_hardly_any_clips_says_so():
    assert shown(tsne_figure(clips(0), np.zeros((0, 4))))[0].get_title() == "too few clips"


def test_clips_are_drawn_by_seed():
    assert np.array_equal(draw_clips(7, seed=0), np.arange(7))
    chosen = draw_clips(3 * MAX_CLIPS, seed=0)
    assert len(np.unique(chosen)) == MAX_CLIPS
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, draw_clips(3 * MAX_CLIPS, seed=0))
    assert not np.array_equal(chosen, draw_clips(3 * MAX_CLIPS, seed=1))


def embedded(own: ClipScores) -> EmbeddingTable:
    return embedded_of(torch.randn(len(own), 4), logits=torch.rand(len(own), 4))


@pytest.mark.parametrize(("scale", "tsne"), [(None, False), (30.0, False), (30.0, True)])
def test_an_evaluation_has_all_that_can_be_drawn(scale, tsne):
    own = clips(2)
    report = build_report(own, Header(primary="knn", baselines=["untrained_knn"]))
    test = embedded(own)
    names = evaluation_figures(own, report, CLASSES, test.select(torch.zeros(0).long()), test, scale, tsne).keys()
    always = {"roc", "scores", "comparison", "confusion_validation", "confusion_test"}
    assert names == always | ({"angles"} if scale else set()) | ({"tsne"} if tsne else set())


def test_pyplot_stays_out():
    """In a process of its own: other tests may have imported it."""
    parts = "asd.report.figures, asd.commands.angles, torch.utils.tensorboard"
    draw = f"import sys, {parts}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", draw], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_flattened_figure_is_the_same_picture(tmp_path):
    figure, other = (roc_figure(clips(2), "knn") for _ in range(2))  # each drawing lays a figure out a little anew
    flat = flattened(other)
    for name, own in (("figure", figure), ("flat", flat)):
        own.savefig(tmp_path / f"{name}.png")
    assert np.array_equal(*(imread(tmp_path / f"{name}.png") for name in ("figure", "flat")))
    assert not flat.axes
