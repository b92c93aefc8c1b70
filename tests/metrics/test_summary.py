"""The DCASE 2020 rule on constructed cases: per ID, then means; pooled differs; what has no labels is left out."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd.errors import UserError
from asd.metrics import ClipScores
from asd.metrics.summary import count_labels, not_scored, summarise


def clips_of(groups: dict[tuple[str, str], tuple[list[int], list[float]]]) -> ClipScores:
    """ClipScores of one scorer, `knn`, from (machine type, ID) → (labels, scores)."""
    types = [t for (t, _), (labels, _) in groups.items() for _ in labels]
    ids = [i for (_, i), (labels, _) in groups.items() for _ in labels]
    labels = np.array([label for own, _ in groups.values() for label in own], dtype=np.int64)
    scores = np.array([score for _, own in groups.values() for score in own], dtype=np.float64)
    keys = [f"clip{n}" for n in range(len(labels))]
    return ClipScores(keys, [f"{k}.wav" for k in keys], types, ids, [""] * len(keys), labels, {"knn": scores})


def test_per_id_rule_and_pooled_differ():
    # Each ID is separated perfectly, on scales that do not match: pooled, ID 01's normals beat ID 00's anomalies.
    clips = clips_of({("fan", "00"): ([0, 1], [1.0, 2.0]), ("fan", "01"): ([0, 1], [3.0, 4.0])})
    fan = summarise(clips)["knn"].types["fan"]
    assert (fan["auc_mean"], fan["pauc_mean"], fan["auc_min"]) == (1.0, 1.0, 1.0)
    assert fan["auc_pooled"] == 0.75
    assert fan["pauc_pooled"] == pytest.approx(roc_auc_score([0, 1, 0, 1], [1, 2, 3, 4], max_fpr=0.1))


def test_means_by_hand():
    perfect, half, wrong = ([0, 1], [0.0, 1.0]), ([0, 1], [1.0, 1.0]), ([0, 1], [1.0, 0.0])
    clips = clips_of({("fan", "00"): perfect, ("fan", "02"): half, ("pump", "00"): half, ("pump", "01"): wrong})
    scorer = summarise(clips)["knn"]
    eps = float(np.finfo(float).eps)
    assert [scorer.types["fan"][k] for k in ("auc_mean", "auc_min")] == [0.75, 0.5]
    assert scorer.types["fan"]["auc_harmonic"] == pytest.approx(2 / 3)
    assert scorer.types["pump"]["auc_harmonic"] == pytest.approx(2 * eps)
    assert scorer.mean["auc"] == (0.75 + 0.25) / 2
    assert scorer.mean["mauc"] == (0.5 + 0.0) / 2
    assert scorer.mean["auc_harmonic"] == pytest.approx(2 / (1 / 0.75 + 1 / 0.25))  # over the types' means
    assert scorer.mean["auc_pooled"] == (0.75 + 0.25) / 2  # 3 of 4 pairs, 1 of 4 pairs


def test_ids_against_scikit_learn():
    random = np.random.default_rng(3)
    label, score = random.integers(0, 2, 200), random.normal(size=200)
    clips = clips_of({("fan", "00"): (label[:90].tolist(), score[:90].tolist()),
                      ("fan", "01"): (label[90:].tolist(), score[90:].tolist())})  # fmt: skip
    fan = summarise(clips)["knn"].types["fan"]
    for name, own in (("00", slice(90)), ("01", slice(90, None))):
        assert fan.ids[name]["auc"] == pytest.approx(roc_auc_score(label[own], score[own]), abs=1e-12)
        assert fan.ids[name]["pauc"] == pytest.approx(roc_auc_score(label[own], score[own], max_fpr=0.1), abs=1e-12)
    assert fan["auc_pooled"] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert fan["pauc_pooled"] == pytest.approx(roc_auc_score(label, score, max_fpr=0.1), abs=1e-12)


def test_unlabelled_clips_and_ids_are_counted_and_left_out():
    clips = clips_of(
        {
            ("fan", "00"): ([0, 1, -1], [0.0, 1.0, -9.0]),
            ("fan", "01"): ([0, 0], [0.0, 1.0]),
            ("fan", "02"): ([1, -1], [0.0, 1.0]),
            ("pump", "00"): ([-1, -1], [0.0, 1.0]),
        }
    )
    assert count_labels(clips.label).model_dump() == {"clips": 9, "normals": 3, "anomalies": 2, "unlabelled": 4}
    assert [(row.machine_type, row.machine_id, row.reason) for row in not_scored(clips)] == [
        ("fan", "01", "no anomalies"),
        ("fan", "02", "no normals"),
        ("pump", "00", "no labels"),
    ]
    scorer = summarise(clips)["knn"]
    assert scorer.types["fan"].ids["00"].model_dump() == {
        "auc": 1.0, "pauc": 1.0, "normals": 1, "anomalies": 1, "unlabelled": 1,
    }  # fmt: skip
    assert scorer.types["fan"].ids["01"]["auc"] is None
    assert scorer.types["fan"]["auc_mean"] == 1.0
    assert scorer.types["pump"]["auc_mean"] is None
    assert scorer.mean["auc"] == 1.0
    json.dumps(scorer.model_dump(mode="json"), allow_nan=False)


def test_no_label_at_all_gives_nulls():
    mean = summarise(clips_of({("fan", "00"): ([-1], [0.5])}))["knn"].mean
    assert set(mean.values()) == {None}


def test_no_clip_at_all():
    assert summarise(clips_of({}))["knn"].types == {}
    assert not_scored(clips_of({})) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_named(value):
    with pytest.raises(UserError, match=r"scorer knn gave 1 of 2 clips no finite score \(first: clip1\.wav\)"):
        summarise(clips_of({("fan", "00"): ([0, 1], [0.0, value])}))
