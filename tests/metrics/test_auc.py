"""AUC, pAUC and the ROC against scikit-learn and against cases worked out by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import auc as area_under
from sklearn.metrics import roc_auc_score

from asd.metrics import arithmetic_mean, auc, harmonic_mean, lowest, partial_auc, roc_curve


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """2 to 300 clips with both labels; half of the cases with many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, random.integers(2, 300))
    labels[:2] = 0, 1
    scores = random.normal(size=len(labels)) + 0.7 * labels
    return labels, np.round(scores * 2) if seed % 2 else scores


@pytest.mark.parametrize("seed", range(60))
def test_auc_equals_scikit_learn(seed):
    labels, scores = random_case(seed)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("max_fpr", [0.1, 0.013, 0.5, 1.0])
def test_partial_auc_equals_scikit_learn(seed, max_fpr):
    labels, scores = random_case(seed)
    assert partial_auc(labels, scores, max_fpr) == pytest.approx(
        roc_auc_score(labels, scores, max_fpr=max_fpr), abs=1e-12
    )


def test_auc_counts_pairs_and_half_ties():
    # pairs (anomaly, normal): 3>1, 3>2, 2>1, 2=2 → 3.5 of 4
    assert auc([0, 0, 1, 1], [1.0, 2.0, 3.0, 2.0]) == 3.5 / 4


def test_auc_does_not_round_what_differs_in_the_last_place():
    assert auc([0, 1], [1.0, np.nextafter(1.0, 2.0)]) == 1.0
    assert auc([0, 1], [1.0, np.nextafter(1.0, 0.0)]) == 0.0


def test_auc_of_infinite_scores_is_their_order():
    assert auc([0, 0, 1], [-np.inf, 1.0, np.inf]) == 1.0


@pytest.mark.parametrize(("order", "expected"), [(1, 1.0), (-1, 0.5 * (1 - 0.005 / 0.095))])
def test_partial_auc_of_perfect_and_inverted_scores(order, expected):
    labels = [0] * 20 + [1] * 20
    assert partial_auc(labels, order * np.arange(40.0)) == pytest.approx(expected, abs=1e-15)


def test_partial_auc_of_chance_is_one_half():
    assert partial_auc([0, 1] * 10, np.zeros(20)) == pytest.approx(0.5, abs=1e-15)


def test_partial_auc_by_hand():
    # 10 normals, 2 anomalies; one anomaly above all, the other between the first and the second normal:
    # TPR 0.5 on FPR [0, 0.1], A = 0.05, pAUC = (1 + (0.05 - 0.005) / 0.095) / 2
    scores = [12.0, 10.0, 11.0, *range(9, 0, -1)]
    assert partial_auc([1, 1, *[0] * 10], scores) == pytest.approx((1 + 0.045 / 0.095) / 2, abs=1e-15)


@pytest.mark.parametrize("labels", [[], [0, 0], [1]])
def test_a_group_with_one_label_has_no_roc(labels):
    scores = np.arange(len(labels))
    assert math.isnan(auc(labels, scores))
    assert math.isnan(partial_auc(labels, scores))
    assert [len(axis) for axis in roc_curve(labels, scores)] == [0, 0]


@pytest.mark.parametrize("function", [auc, partial_auc, roc_curve])
def test_bad_input_is_refused(function):
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        function([0, 1], [math.nan, 1.0])
    with pytest.raises(ValueError, match="labels must be 0"):
        function([0, -1], [0.0, 1.0])
    with pytest.raises(ValueError, match="one length"):
        function([0, 1], [0.0])


@pytest.mark.parametrize("max_fpr", [0.0, 1.1, math.nan])
def test_max_fpr_outside_its_range_is_refused(max_fpr):
    with pytest.raises(ValueError, match="max_fpr"):
        partial_auc([0, 1], [0.0, 1.0], max_fpr)


@pytest.mark.parametrize("seed", range(20))
def test_roc_curve_keeps_the_area_and_drops_straight_points(seed):
    labels, scores = random_case(seed)
    fpr, tpr = roc_curve(labels, scores)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert area_under(fpr, tpr) == pytest.approx(auc(labels, scores), abs=1e-12)
    turn = np.diff(fpr)[:-1] * np.diff(tpr)[1:] - np.diff(fpr)[1:] * np.diff(tpr)[:-1]
    assert (np.abs(turn) > 1e-12).all()


def test_roc_curve_by_hand():
    fpr, tpr = roc_curve([1, 1, 0, 0, 1, 0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    np.testing.assert_allclose(fpr, [0, 0, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(tpr, [0, 2 / 3, 2 / 3, 1, 1])


def test_means_leave_nan_out():
    assert arithmetic_mean([0.5, math.nan, 1.0]) == 0.75
    assert harmonic_mean([0.5, math.nan, 1.0]) == pytest.approx(2 / 3)
    assert lowest([0.5, math.nan, 0.25]) == 0.25
    for mean in (arithmetic_mean, harmonic_mean, lowest):
        assert math.isnan(mean([math.nan]))
        assert math.isnan(mean([]))


def test_harmonic_mean_is_floored_at_machine_epsilon():
    eps = float(np.finfo(float).eps)
    assert harmonic_mean([0.0, 1.0]) == pytest.approx(2 / (1 / eps + 1))
