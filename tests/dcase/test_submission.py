"""Official score files as this project writes them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from asd.dcase import read_submission, write_submission
from asd.errors import UserError
from asd.metrics import ClipScores
from tests.support.official_files import (
    ALL_LAYOUTS,
    Clip,
    Made,
    make,
    make_clips,
    put,
)
from tests.support.score_files import check_read, rows_of


def clip_scores(clips: list[Clip], layout: str) -> ClipScores:
    domain = ["" if layout == "dcase2020" else c.domain for c in clips]
    names, types, sections = ([getattr(c, k) for c in clips] for k in ("name", "machine", "section"))
    keys = [f"{c.machine}_{c.name}" for c in clips]
    scores = np.array([c.score for c in clips]) / 3
    return ClipScores(
        keys, names, types, sections, domain, np.array([c.label for c in clips]), {"knn": scores, "b": -scores}
    )


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_what_is_written_is_read_back_exactly(tmp_path, layout):
    made = make(tmp_path, layout)
    third = dataclasses.replace(made, clips=[dataclasses.replace(c, score=c.score / 3) for c in made.clips])
    new = dataclasses.replace(third, scores=tmp_path / "new" / "submission")
    shuffled = [made.clips[i] for i in np.random.default_rng(1).permutation(len(made.clips))]
    decisions = [c.decision for c in shuffled]
    written = write_submission(new.scores, layout, clip_scores(shuffled, layout), "knn", decisions)
    assert (
        {p.name for p in written} == {p.name for p in made.scores.iterdir()} == {p.name for p in new.scores.iterdir()}
    )
    check_read(read_submission(layout, new.scores, made.truth).evaluation, new)
    for path in written:
        assert rows_of(path) == sorted(rows_of(path))
        assert path.read_bytes().endswith(b"\n")
        assert b"\r" not in path.read_bytes()


def test_the_bytes_of_a_submission(tmp_path):
    clips = [
        Clip("fan", "03", "target", "section_03_0001.wav", -1, 0.3, 1),
        Clip("fan", "03", "source", "section_03_0000.wav", -1, 3e-9, 0),
    ]
    write_submission(tmp_path, "dcase2022", clip_scores(clips, "dcase2022"), "knn", np.array([1, 0]))
    scores, decisions = (tmp_path / f"{kind}_fan_section_03_test.csv" for kind in ("anomaly_score", "decision_result"))
    assert scores.read_bytes() == b"section_03_0000.wav,1e-09\nsection_03_0001.wav,0.09999999999999999\n"
    assert decisions.read_bytes() == b"section_03_0000.wav,0\nsection_03_0001.wav,1\n"
    write_submission(tmp_path / "2020", "dcase2020", clip_scores(clips, "dcase2020"), "b")
    assert [p.name for p in (tmp_path / "2020").iterdir()] == ["anomaly_score_fan_id_03.csv"]


def change(clips: ClipScores, **columns: object) -> ClipScores:
    return dataclasses.replace(clips, **columns)


def test_clips_that_have_no_official_file_are_refused(tmp_path):
    clips = clip_scores(make_clips("dcase2021"), "dcase2021")
    none = ["", *clips.domain[1:]]
    for wrong, layout, complaint in [
        (change(clips, domain=none), "dcase2021", rf"{clips.file_name[0]} of ToyCar has no domain"),
        (change(clips, machine_id=["7"] * len(clips)), "dcase2022", r"ToyCar 7 cannot be named as a dcase2022 file"),
        (change(clips, machine_type=["../x"] * len(clips)), "dcase2022", r"\.\./x 00 cannot be named"),
        (change(clips, file_name=["a.wav"] * len(clips)), "dcase2022", "1 file names have more than one row: a.wav"),
        (change(clips, scores={"knn": np.full(len(clips), np.inf)}), "dcase2022", "no finite score"),
        (clips, "dcase2019", "must be one of dcase2020"),
    ]:
        with pytest.raises(UserError, match=complaint):
            write_submission(tmp_path / "out", layout, wrong, "knn")
        assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no scorer 'lof': there are knn, b"):
        write_submission(tmp_path / "out", "dcase2021", clips, "lof")


@pytest.mark.parametrize("decisions", [[0, 1], 0])
def test_decisions_that_do_not_fit_the_clips_are_the_callers_mistake(tmp_path, decisions):
    clips = clip_scores(make_clips("dcase2022"), "dcase2022")
    with pytest.raises(ValueError, match="must be 0 or 1 for each of"):
        write_submission(tmp_path, "dcase2022", clips, "knn", decisions)
    with pytest.raises(ValueError, match="must be 0 or 1 for each of"):
        write_submission(tmp_path, "dcase2022", clips, "knn", np.full(len(clips), 2))


def test_a_submission_is_replaced_but_never_mixed_with_another(tmp_path):
    made = Made("dcase2022", tmp_path, tmp_path, make_clips("dcase2022"))
    clips = clip_scores(made.clips, "dcase2022")
    write_submission(tmp_path, "dcase2022", clips, "knn", np.zeros(len(clips)))
    write_submission(tmp_path, "dcase2022", clips, "b", np.ones(len(clips)))
    first = min(c.name for c in made.of("fan", "00"))
    assert rows_of(made.score_file(kind="decision_result"))[0] == f"{first},1"
    with pytest.raises(UserError, match=r"holds score files of another submission \(decision_result_ToyCar_section_01"):
        write_submission(tmp_path, "dcase2022", clips, "knn")
    put(made, tmp_path / "other", "anomaly_score", lambda clip: "0", "\n")
    with pytest.raises(UserError, match=r"another submission \(anomaly_score_ToyCar_section_01_test\.csv"):
        write_submission(tmp_path / "other", "dcase2020", clips, "knn")
    assert not list(tmp_path.rglob("*.partial"))
