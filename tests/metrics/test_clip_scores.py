"""scores.csv: an exact round trip, and one clear line for what is wrong with a file."""

import dataclasses

import numpy as np
import pytest

from asd.errors import UserError
from asd.metrics import ClipScores, read_scores, scores_csv


def clips() -> ClipScores:
    return ClipScores(
        key=["a", "b", "c"],
        file_name=['fan/"x", 1.wav', "fan/ü\n.wav", "valve/y.wav"],
        machine_type=["fan", "fan", "valve"],
        machine_id=["00", "01", "00"],
        domain=["", "source", "target"],
        label=np.array([0, 1, -1]),
        scores={"knn": np.array([0.1 + 0.2, 1e-300, -1 / 3]), "softmax": np.array([1.0, 0.0, 5e-324])},
    )


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(scores_csv(clips()), encoding="utf-8", newline="")
    for field in dataclasses.fields(ClipScores):
        before, after = getattr(clips(), field.name), getattr(read_scores(path), field.name)
        np.testing.assert_equal(after, before)


def test_round_trip_of_no_clip(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("key,file,machine_type,machine_id,domain,label,knn\n")
    read = read_scores(path)
    assert (len(read), list(read.scores), read.scores["knn"].shape) == (0, ["knn"], (0,))
    assert scores_csv(read) == path.read_text()


def test_line_ends_of_windows_are_read(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(b"key,file,machine_type,machine_id,domain,label,knn\r\na,a.wav,fan,00,,1,0.5\r\n")
    assert read_scores(path).scores["knn"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "first columns"),
        ("file,score\n", "first columns"),
        ("key,file,machine_type,machine_id,domain,label,knn,knn\n", "two columns of one name"),
        ("key,file,machine_type,machine_id,domain,label,knn\na,a.wav,fan,00,,1,high\n", "row 2: knn is 'high'"),
        ("key,file,machine_type,machine_id,domain,label,knn\na,a.wav,fan,00,,2,0.5\n", "row 2: label is '2'"),
        ("key,file,machine_type,machine_id,domain,label,knn\na,a.wav,fan,00,,1\n", "row 2: 6 fields"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path, text, complaint):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_scores(path)


def test_a_binary_file_is_one_clear_error(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="not a csv text file"):
        read_scores(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"key": ["a"]}, "different lengths"),
        ({"label": np.array([0, 1, 2])}, "label"),
        ({"scores": {"label": np.zeros(3)}}, "cannot be called label"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(clips(), **change)


def test_groups_are_sorted_and_complete():
    groups = clips().groups
    assert {name: {i: own.tolist() for i, own in ids.items()} for name, ids in groups.items()} == {
        "fan": {"00": [0], "01": [1]},
        "valve": {"00": [2]},
    }


def test_recordings_of_clips_stand_after_the_label(tmp_path):
    path, named = tmp_path / "calibration.csv", dataclasses.replace(clips(), recording=["mon", "mon", "ü, 1"])
    path.write_text(scores_csv(named), encoding="utf-8", newline="")
    assert path.read_text(encoding="utf-8").splitlines()[0].endswith("label,recording,knn,softmax")
    read = read_scores(path)
    assert read.recording == named.recording
    np.testing.assert_equal(read.scores, named.scores)
    assert read.select(np.array([2, 0])).recording == ["ü, 1", "mon"]
    assert (read.recordings(np.array([0, 2])), clips().recordings(np.array([0, 1]))) == (["mon", "ü, 1"], None)
    with pytest.raises(ValueError, match="cannot be called recording"):
        dataclasses.replace(clips(), scores={"recording": np.zeros(3)})
