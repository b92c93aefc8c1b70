"""A detector gives the scores of the evaluation, also as ONNX and in a process of its own."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import eval as evaluation
from asd.detector import read_detector
from asd.errors import UserError
from tests.support.clips import SYSTEMS, judged, make_run
from tests.support.inline import score_run
from tests.support.launch import succeed
from tests.support.sets import SAMPLE_RATE


@pytest.mark.parametrize("system", SYSTEMS)
def test_scores_are_those_of_the_evaluation(system: str, uneven_set: Path, tmp_path: Path) -> None:
    """For every scorer and clip, thresholds and decisions too; and nothing of run or set is there any more."""
    shutil.copytree(uneven_set, tmp_path / "set" / "shards")
    run = make_run(tmp_path / "set" / "shards", tmp_path / "set" / "run", system)
    scored = score_run(run, tmp_path / "scored")
    path = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(run), "--out", str(path)]) == 0
    shutil.rmtree(tmp_path / "set")

    rows = list(csv.DictReader((scored / "scores.csv").read_text().splitlines()))
    decided = {
        row["key"]: row["decision"] for row in csv.DictReader((scored / "decisions.csv").read_text().splitlines())
    }
    thresholds = json.loads((scored / "report.json").read_text())["thresholds"]
    scorers = list(rows[0])[6:]
    assert scorers == SYSTEMS[system][0]
    recordings = uneven_set.parent / "recordings"
    for machine in sorted({(row["machine_type"], row["machine_id"]) for row in rows}):
        own = [row for row in rows if (row["machine_type"], row["machine_id"]) == machine]
        places = [recordings / machine[0] / "test" / row["file"] for row in own]
        for scorer in scorers:
            words = ["--detector", path, *places, "--machine", machine[0], "--id", machine[1], "--scorer", scorer]
            found = judged(tmp_path / "out.json", *words)
            scores = [clip["score"] for clip in found["clips"]]
            # Other batches, other rounding of embeddings, which softmax at scale 30 makes 30 times as large.
            np.testing.assert_allclose(scores, [float(row[scorer]) for row in own], rtol=1e-4, atol=1e-6)
            if scorer == scorers[0]:
                # A fit of three parameters makes more of the rounding of other batches than the scores do.
                assert found["threshold"] == pytest.approx(thresholds["/".join(machine)]["value"], rel=2e-3)
                clear = np.abs(np.array(scores) / found["threshold"] - 1) > 2e-3
                parts = [list(clip.get("members", {}).values()) for clip in found["clips"]]
                if scorer == "fused":  # a clip of one window: the score is the members' median
                    np.testing.assert_allclose(np.median(parts, axis=1), scores, rtol=1e-6)
                    assert parts[0] == sorted(parts[0], reverse=True)
                else:
                    assert not any(parts)
                anomalous = np.array([float(decided[row["key"]]) == 1 for row in own])
                assert (np.array([c["decision"] == "anomaly" for c in found["clips"]]) == anomalous)[clear].all()


def test_a_real_process_judges_a_folder(detector: Path, small_set: Path, tmp_path: Path) -> None:
    place = small_set.parent / "recordings" / "pump" / "test"
    done = succeed(
        tmp_path / "log", ["clips", "--detector", str(detector), str(place), "--machine", "pump"], script="eval"
    )
    assert "pump/00, softmax" in done.out[0]
    assert re.search(r"normal_id_00_00000003.wav +1.0 +[\d.e-]+ +(normal|anomaly)", done.out[0]), done.out[0]
    assert done.err[0] == ""


def test_an_export_again_holds_what_is_asked_for(detector: Path, tmp_path: Path) -> None:
    run, out = detector.parent / "run", tmp_path / "small.pt"
    assert (
        evaluation.main(["export", "--run", str(run), "--out", str(out), "--scorer", "knn", "--checkpoint", "2"]) == 0
    )
    file, whole = read_detector(out), read_detector(detector)
    assert [scorer.label for scorer in file.scorers] == ["knn"]
    assert out.stat().st_size < detector.stat().st_size
    assert (file.clip_s, file.longest_s, file.sample_rate) == (1.0, 1.0, SAMPLE_RATE)
    assert file.provenance.fingerprint == whole.provenance.fingerprint
    assert file.provenance.trained.versions["torch"]
    assert {path.name for path in tmp_path.iterdir()} == {"small.pt", "small.md"}  # nothing of the work is left
    for words, said in (
        (["--scorer", "gmn"], "--scorer gmn: the run has softmax"),
        (["--checkpoint", "7"], "kept steps: 2"),
        (["--out", str(tmp_path)], "name a file in a folder that exists"),
        (["--out", str(run / "config.yaml")], "is not a detector"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            evaluation.main(["export", "--run", str(run), "--out", str(out), *words])
